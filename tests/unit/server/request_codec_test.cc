#include "server/rpc/request_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "core/base/refusal.h"
#include "tests/unit/server/byte_tokenizer.h"

namespace quire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int32_t kContext = 100;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

class RequestCodecTest : public ::testing::Test {
 protected:
  RequestCodecTest() {
    model_.name = "demo";
    model_.vocab_size = 300;
    model_.default_temperature = 0.7f;
    model_.default_top_p = 0.9f;
    model_.default_top_k = 40;
    model_.default_repetition_penalty = 1.1f;
    limits_.prompt_bytes = 90;
    limits_.default_max_tokens = 20;
    limits_.max_tokens = 60;
    limits_.sampling = {.max_stop_strings = 2, .max_stop_string_bytes = 4, .max_stop_token_ids = 3};
  }

  RequestCodec Codec() const { return RequestCodec(&model_, &tokenizer_, kContext, limits_); }
  absl::StatusOr<Request> Decode(const v1::GenerateRequest& message) const {
    absl::StatusOr<GenerateCall> call = Codec().DecodeGenerate(message, caller_, now_, kNoDeadline);
    if (!call.ok()) return call.status();
    return call->request;
  }
  static v1::GenerateRequest Text(const std::string& text) {
    v1::GenerateRequest message;
    message.set_text(text);
    return message;
  }

  ByteTokenizer tokenizer_;
  ModelConfig model_;
  RequestLimits limits_;
  Caller caller_;
  TimePoint now_ = TimePoint(std::chrono::seconds(1000));
};

TEST_F(RequestCodecTest, FieldsLeftOutTakeTheModelsDefaults) {
  const absl::StatusOr<Request> request = Decode(Text("ab"));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->prompt, ElementsAre(ByteTokenizer::kEnd, 'a', 'b'));
  const SamplingParams& sampling = request->sampling;
  EXPECT_EQ(sampling.temperature, 0.7f);
  EXPECT_EQ(sampling.top_p, 0.9f);
  EXPECT_EQ(sampling.top_k, 40);
  EXPECT_EQ(sampling.min_p, 0.f);
  EXPECT_EQ(sampling.repetition_penalty, 1.1f);
  EXPECT_EQ(sampling.max_tokens, 20);
  EXPECT_FALSE(sampling.ignore_eos);
  EXPECT_FALSE(sampling.logprobs);
  EXPECT_EQ(request->arrival, now_);
  EXPECT_EQ(request->deadline, kNoDeadline);
}

TEST_F(RequestCodecTest, GivenFieldsWinEvenAtZero) {
  v1::GenerateRequest message = Text("ab");
  message.set_model("demo");
  message.set_temperature(0);
  message.set_top_p(0.5f);
  message.set_top_k(0);
  message.set_min_p(0.25f);
  message.set_seed(0);
  message.set_repetition_penalty(1);
  message.set_max_tokens(60);
  message.set_ignore_eos(true);
  message.set_logprobs(true);
  message.set_add_special_tokens(false);
  message.add_stop("END");
  message.add_stop_token_ids(299);
  message.set_request_id("mine");
  message.set_cache_salt(std::string("sa\0lt", 5));
  const absl::StatusOr<Request> request = Decode(message);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->prompt, ElementsAre('a', 'b'));
  EXPECT_EQ(request->cache_salt, std::string("sa\0lt", 5));
  const SamplingParams& sampling = request->sampling;
  EXPECT_EQ(sampling.temperature, 0.f);
  EXPECT_EQ(sampling.top_p, 0.5f);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.min_p, 0.25f);
  EXPECT_EQ(sampling.seed, 0u);
  EXPECT_EQ(sampling.repetition_penalty, 1.f);
  EXPECT_EQ(sampling.max_tokens, 60);
  EXPECT_TRUE(sampling.ignore_eos);
  EXPECT_TRUE(sampling.logprobs);
  EXPECT_THAT(sampling.stop, ElementsAre("END"));
  EXPECT_THAT(sampling.stop_token_ids, ElementsAre(299));
}

TEST_F(RequestCodecTest, WithoutASeedTwoRequestsGetDifferentOnes) {
  EXPECT_NE(Decode(Text("a"))->sampling.seed, Decode(Text("a"))->sampling.seed);
}

TEST_F(RequestCodecTest, SpecialTokensInTextAreReadUnlessTurnedOff) {
  v1::GenerateRequest message = Text("<end>");
  message.set_add_special_tokens(false);
  EXPECT_THAT(Decode(message)->prompt, ElementsAre(ByteTokenizer::kEnd));
  message.set_parse_special_tokens(false);
  EXPECT_THAT(Decode(message)->prompt, ElementsAre('<', 'e', 'n', 'd', '>'));
}

TEST_F(RequestCodecTest, TokenIdsAreUsedAsTheyAre) {
  v1::GenerateRequest message;
  message.mutable_token_ids()->add_ids(0);
  message.mutable_token_ids()->add_ids(299);
  EXPECT_THAT(Decode(message)->prompt, ElementsAre(0, 299));
}

TEST_F(RequestCodecTest, DefaultMaxTokensShrinksToTheRoomLeft) {
  limits_.prompt_bytes = 1000;
  EXPECT_EQ(Decode(Text(std::string(kContext - 1 - 7, 'x')))->sampling.max_tokens, 7);
  EXPECT_EQ(Decode(Text(std::string(kContext - 1 - 1, 'x')))->sampling.max_tokens, 1);
}

TEST_F(RequestCodecTest, WithoutALimitOnlyTheContextBoundsMaxTokens) {
  limits_.max_tokens = 0;
  v1::GenerateRequest message = Text("x");
  message.set_max_tokens(kContext - 2);
  EXPECT_TRUE(Decode(message).ok());
  message.set_max_tokens(kContext - 1);
  EXPECT_EQ(Decode(message).status().code(), absl::StatusCode::kInvalidArgument);
}

struct BadRequest {
  const char* name;
  std::function<void(v1::GenerateRequest*)> spoil;
  std::vector<const char*> says;  // all of these
};

std::vector<BadRequest> BadRequests() {
  using M = v1::GenerateRequest*;
  return {
      {"no prompt", [](M m) { m->clear_prompt(); }, {"prompt", "set text, token_ids or chat"}},
      {"no ids", [](M m) { m->mutable_token_ids(); }, {"prompt is empty"}},
      {"id too large",
       [](M m) { m->mutable_token_ids()->add_ids(300); },
       {"token_ids", "300", "299"}},
      {"id beyond int", [](M m) { m->mutable_token_ids()->add_ids(4294967295u); }, {"4294967295"}},
      {"text too long", [](M m) { m->set_text(std::string(91, 'x')); }, {"text", "91", "90"}},
      {"empty text",
       [](M m) {
         m->set_text("");
         m->set_add_special_tokens(false);
       },
       {"prompt is empty"}},
      {"prompt fills context",
       [](M m) {
         for (int i = 0; i < kContext; ++i) m->mutable_token_ids()->add_ids(1);
       },
       {"prompt has 100 tokens", "no room"}},
      {"max_tokens 0", [](M m) { m->set_max_tokens(0); }, {"max_tokens is 0", "1 to 60"}},
      {"max_tokens over limit", [](M m) { m->set_max_tokens(61); }, {"max_tokens is 61", "60"}},
      {"max_tokens beyond int", [](M m) { m->set_max_tokens(4294967295u); }, {"4294967295"}},
      {"max_tokens over room",
       [](M m) {
         m->set_text(std::string(60, 'x'));
         m->set_max_tokens(40);
       },
       {"max_tokens is 40", "61 tokens", "room for 39"}},
      {"temperature < 0", [](M m) { m->set_temperature(-0.5f); }, {"temperature", "-0.5"}},
      {"temperature nan", [](M m) { m->set_temperature(kNan); }, {"temperature"}},
      {"temperature inf", [](M m) { m->set_temperature(kInf); }, {"temperature"}},
      {"top_p 0", [](M m) { m->set_top_p(0); }, {"top_p is 0"}},
      {"top_p > 1", [](M m) { m->set_top_p(1.5f); }, {"top_p is 1.5"}},
      {"top_p nan", [](M m) { m->set_top_p(kNan); }, {"top_p"}},
      {"top_k beyond int", [](M m) { m->set_top_k(2147483648u); }, {"top_k is 2147483648"}},
      {"min_p < 0", [](M m) { m->set_min_p(-0.1f); }, {"min_p"}},
      {"min_p nan", [](M m) { m->set_min_p(kNan); }, {"min_p"}},
      {"penalty 0", [](M m) { m->set_repetition_penalty(0); }, {"repetition_penalty is 0"}},
      {"penalty inf", [](M m) { m->set_repetition_penalty(kInf); }, {"repetition_penalty"}},
      {"empty stop", [](M m) { m->add_stop(""); }, {"stop", "0 bytes"}},
      {"long stop", [](M m) { m->add_stop("12345"); }, {"stop", "5 bytes", "4"}},
      {"many stops",
       [](M m) {
         for (int i = 0; i < 3; ++i) m->add_stop(std::string(1, 'x'));
       },
       {"stop has 3", "2"}},
      {"stop id too large", [](M m) { m->add_stop_token_ids(300); }, {"stop_token_ids", "300"}},
      {"many stop ids",
       [](M m) {
         for (int i = 0; i < 4; ++i) m->add_stop_token_ids(1);
       },
       {"stop_token_ids has 4", "3"}},
      {"long cache_salt", [](M m) { m->set_cache_salt(std::string(129, 's')); }, {"129", "128"}},
      {"empty request_id", [](M m) { m->set_request_id(""); }, {"request_id"}},
      {"long request_id", [](M m) { m->set_request_id(std::string(129, 'x')); }, {"129", "128"}},
      {"request_id with a newline", [](M m) { m->set_request_id("a\nb"); }, {R"("a\nb")"}},
  };
}

TEST_F(RequestCodecTest, TheTenantAndThePriorityGoWithTheRequest) {
  caller_.tenant = TenantId(4);
  v1::GenerateRequest message = Text("ab");
  EXPECT_EQ(Decode(message)->tenant, TenantId(4));
  const std::pair<uint32_t, int32_t> cases[] = {
      {0, 0}, {2, 2}, {2147483647u, INT32_MAX}, {4294967295u, INT32_MAX}};
  EXPECT_EQ(Decode(message)->priority, 0);
  for (const auto& [asked, given] : cases) {
    message.set_priority(asked);
    EXPECT_EQ(Decode(message)->priority, given) << asked;
  }
}

TEST_F(RequestCodecTest, ATenantsLimitsHoldWhereTheyAreTighter) {
  v1::GenerateRequest message = Text("abcd");  // 5 tokens
  caller_.max_output_tokens = 10;
  EXPECT_EQ(Decode(message)->sampling.max_tokens, 10);
  caller_.max_output_tokens = 1000;
  EXPECT_EQ(Decode(message)->sampling.max_tokens, 20);
  message.set_max_tokens(61);
  EXPECT_THAT(Decode(message).status().ToString(), HasSubstr("from 1 to 60"));
  caller_.max_output_tokens = 10;
  message.set_max_tokens(11);
  EXPECT_THAT(Decode(message).status().ToString(), HasSubstr("from 1 to 10 for this tenant"));
  message.set_max_tokens(10);
  EXPECT_EQ(Decode(message)->sampling.max_tokens, 10);

  caller_.max_context_tokens = 14;
  EXPECT_THAT(Decode(message).status().ToString(),
              HasSubstr("after a prompt of 5 tokens this tenant's context of 14 has room for 9"));
  EXPECT_EQ(RefusalOf(Decode(message).status())->reason, "TOO_LONG");
  caller_.max_context_tokens = 15;
  EXPECT_TRUE(Decode(message).ok());
  caller_.max_context_tokens = 5;
  EXPECT_THAT(Decode(message).status().ToString(),
              HasSubstr("prompt has 5 tokens; this tenant's context of 5 leaves no room"));
  EXPECT_EQ(RefusalOf(Decode(message).status())->reason, "TOO_LONG");
  caller_.max_context_tokens = 1000;
  EXPECT_TRUE(Decode(message).ok());
}

TEST_F(RequestCodecTest, ABadFieldIsRefusedWithItsNameValueAndRange) {
  for (const BadRequest& bad : BadRequests()) {
    v1::GenerateRequest message = Text("ok");
    ASSERT_TRUE(Decode(message).ok());
    bad.spoil(&message);
    const absl::Status status = Decode(message).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.name;
    for (const char* part : bad.says) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(part)) << bad.name;
    }
  }
}

TEST_F(RequestCodecTest, ATokenizerThatKnowsMoreThanTheModelIsNotTrusted) {
  model_.vocab_size = 200;
  v1::GenerateRequest message = Text("\xC3\xA4");
  message.set_add_special_tokens(false);
  EXPECT_EQ(Decode(message).status().code(), absl::StatusCode::kOk);
  model_.vocab_size = 195;
  EXPECT_THAT(std::string(Decode(message).status().message()), HasSubstr("195"));
}

TEST_F(RequestCodecTest, AnUnknownModelIsNotFoundAndTheLoadedOneIsNamed) {
  v1::GenerateRequest message = Text("a");
  message.set_model(std::string(5000, 'm'));
  const absl::Status status = Decode(message).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(R"("demo")"));
  EXPECT_LT(status.message().size(), 200u);
  v1::TokenizeRequest tokenize;
  tokenize.set_model("other");
  EXPECT_EQ(Codec().DecodeTokenize(tokenize).status().code(), absl::StatusCode::kNotFound);
  v1::DetokenizeRequest detokenize;
  detokenize.set_model("other");
  EXPECT_EQ(Codec().DecodeDetokenize(detokenize).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(RequestCodecTest, TheDeadlineIsTheCallsOwnTheDefaultOrTheCap) {
  using std::chrono::seconds;
  struct Case {
    Duration fallback, cap;
    TimePoint client, expected;
  };
  const TimePoint t = now_;
  for (const Case& c :
       {Case{{}, {}, kNoDeadline, kNoDeadline}, Case{{}, {}, t + seconds(9), t + seconds(9)},
        Case{seconds(5), {}, kNoDeadline, t + seconds(5)},
        Case{seconds(5), {}, t + seconds(9), t + seconds(9)},
        Case{{}, seconds(7), kNoDeadline, t + seconds(7)},
        Case{{}, seconds(7), t + seconds(9), t + seconds(7)},
        Case{seconds(5), seconds(7), t + seconds(2), t + seconds(2)}}) {
    limits_.default_deadline = c.fallback;
    limits_.max_deadline = c.cap;
    EXPECT_EQ(Codec().DecodeGenerate(Text("a"), caller_, now_, c.client)->request.deadline,
              c.expected);
  }
}

TEST_F(RequestCodecTest, TokenizeIsBoundedAndFollowsItsSwitches) {
  v1::TokenizeRequest message;
  message.set_text("a<end>");
  EXPECT_THAT(*Codec().DecodeTokenize(message),
              ElementsAre(ByteTokenizer::kEnd, 'a', ByteTokenizer::kEnd));
  message.set_add_special_tokens(false);
  message.set_parse_special_tokens(false);
  EXPECT_EQ(Codec().DecodeTokenize(message)->size(), 6u);
  message.set_text(std::string(91, 'x'));
  EXPECT_EQ(Codec().DecodeTokenize(message).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(RequestCodecTest, DetokenizeIsBoundedAndChecksItsIds) {
  v1::DetokenizeRequest message;
  message.add_token_ids('a');
  message.add_token_ids(ByteTokenizer::kEnd);
  EXPECT_EQ(*Codec().DecodeDetokenize(message), "a");
  message.set_skip_special_tokens(false);
  EXPECT_EQ(*Codec().DecodeDetokenize(message), "a<end>");
  message.add_token_ids(300);
  EXPECT_THAT(std::string(Codec().DecodeDetokenize(message).status().message()),
              HasSubstr("token_ids[2] is 300"));
  message.clear_token_ids();
  for (int i = 0; i <= kContext; ++i) message.add_token_ids(1);
  EXPECT_EQ(Codec().DecodeDetokenize(message).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quire::server
