#include "server/cli/load/openai_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/cli/load/sse_parser.h"

namespace quire::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Events(const std::vector<std::string>& pieces) {
  SseParser parser;
  std::vector<std::string> events;
  for (const std::string& piece : pieces) {
    EXPECT_TRUE(parser.Feed(piece, [&](std::string_view data) { events.emplace_back(data); }).ok());
  }
  return events;
}

TEST(SseParserTest, EventsComeOutWhereverTheBodyIsCut) {
  const std::string body = "data: {\"a\": 1}\n\ndata:two\r\ndata: lines\r\n\r\ndata: [DONE]\n\n";
  const auto expected = ElementsAre("{\"a\": 1}", "two\nlines", "[DONE]");
  EXPECT_THAT(Events({body}), expected);
  for (size_t cut = 0; cut <= body.size(); ++cut) {
    EXPECT_THAT(Events({body.substr(0, cut), body.substr(cut)}), expected) << cut;
  }
}

TEST(SseParserTest, CommentsOtherFieldsAndUnfinishedEventsAreNoEvents) {
  EXPECT_THAT(Events({": ping\n\nevent: x\nid: 4\n\ndata: a\n\ndata: cut off\n"}),
              ElementsAre("a"));
}

TEST(SseParserTest, AnEndlessEventIsAnError) {
  SseParser parser;
  const auto ignore = [](std::string_view) {};
  EXPECT_TRUE(parser.Feed(std::string(1 << 20, 'x'), ignore).ok());
  EXPECT_FALSE(parser.Feed("x", ignore).ok());
}

TEST(OpenAiMessagesTest, ARequestHasTheIdsAndOnlyTheExtensionsThatAreWanted) {
  ClientOptions options;
  options.priorities = {std::nullopt, 7};
  const auto body = nlohmann::json::parse(MakeCompletionBody(options, "m", {0, {5, 6}, 9}));
  EXPECT_EQ(body, nlohmann::json::parse(
                      R"({"model": "m", "prompt": [5, 6], "max_tokens": 9, "temperature": 0.0,
                          "stream": true, "stream_options": {"include_usage": true},
                          "ignore_eos": true})"));
  options.ignore_eos = false;
  const auto other = nlohmann::json::parse(MakeCompletionBody(options, "m", {1, {5}, 9}));
  EXPECT_FALSE(other.contains("ignore_eos"));
  EXPECT_EQ(other["priority"], 7);
}

TEST(OpenAiMessagesTest, AnEventIsATokenAnEndUsageOrAnError) {
  const struct {
    const char* data;
    bool has_token;
    bool is_end;
  } kCases[] = {
      {R"({"choices": [{"text": "a", "finish_reason": null}]})", true, false},
      {R"({"choices": [{"text": "", "finish_reason": null}]})", true, false},
      {R"({"choices": [{"text": "a", "finish_reason": "length"}]})", true, true},
      {R"({"choices": [{"text": "", "finish_reason": "stop"}]})", false, true},
      {R"({"choices": []})", false, false},
      {"[DONE]", false, true},
  };
  for (const auto& example : kCases) {
    const auto event = ReadCompletionEvent(example.data);
    ASSERT_TRUE(event.ok()) << example.data;
    EXPECT_EQ(event->has_token, example.has_token) << example.data;
    EXPECT_EQ(event->is_end, example.is_end) << example.data;
    EXPECT_FALSE(event->completion_tokens.has_value());
  }
  EXPECT_EQ(ReadCompletionEvent(R"({"choices": [], "usage": {"completion_tokens": 12}})")
                ->completion_tokens,
            12);
  EXPECT_EQ(ReadCompletionEvent(R"({"error": {"message": "no room"}})")->error, "no room");
  EXPECT_EQ(ReadCompletionEvent(R"({"error": "no room"})")->error, "\"no room\"");
}

TEST(OpenAiMessagesTest, WhatIsNoEventIsAnError) {
  for (const char* data : {"", "hello", "[1]", "{", "\xff"}) {
    EXPECT_FALSE(ReadCompletionEvent(data).ok()) << data;
  }
}

TEST(OpenAiMessagesTest, AModelIsFoundByItsNameAndTellsItsContext) {
  const char* body = R"({"data": [{"id": "a"}, {"id": "b", "max_model_len": 4096}]})";
  EXPECT_EQ(ReadModels(body, "")->model, "a");
  EXPECT_EQ(ReadModels(body, "")->context_tokens, 0);
  EXPECT_EQ(ReadModels(body, "b")->context_tokens, 4096);
  EXPECT_THAT(std::string(ReadModels(body, "c").status().message()), HasSubstr("'c'"));
  EXPECT_FALSE(ReadModels(R"({"data": []})", "").ok());
  EXPECT_FALSE(ReadModels("<html>", "").ok());
}

}  // namespace
}  // namespace quire::cli
