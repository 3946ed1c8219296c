#include "core/model/json_fields.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST(ParseJson, ReadsAnObject) {
  const auto parsed = ParseJson(R"({"a": [1, "x"], "b": {"a": null}})", "f");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ((*parsed)["a"][1], "x");
}

TEST(ParseJson, RefusesWhatIsNotJsonAndSaysWhere) {
  for (const char* text : {"", "{", "{\"a\": 1,}", "nan", "{\"a\": 1e999}", "\"\xff\"", "{} {}",
                           "// no\n{}", "{\"a\": 01}"}) {
    const auto parsed = ParseJson(text, "config.json");
    EXPECT_TRUE(absl::IsInvalidArgument(parsed.status())) << text;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("config.json: not valid JSON"));
  }
}

TEST(ParseJson, RefusesNestingBeyondTheLimit) {
  const std::string fits = std::string(32, '[') + std::string(32, ']');
  EXPECT_TRUE(ParseJson(fits, "f", 32).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(ParseJson("[" + fits + "]", "f", 32).status()));
  const std::string bomb(1 << 20, '[');
  EXPECT_TRUE(absl::IsInvalidArgument(ParseJson(bomb, "f", 32).status()));
}

TEST(ParseJson, DoesNotCountBracketsInsideStrings) {
  EXPECT_TRUE(ParseJson(R"({"a": "[[[[[[[[\"[[[["})", "f", 2).ok());
}

TEST(ParseJson, RefusesTheSameKeyTwiceInOneObject) {
  const auto twice = ParseJson(R"({"a": 1, "b": {"k": 1, "k": 2}})", "f");
  EXPECT_THAT(std::string(twice.status().message()), HasSubstr("the key 'k' appears twice"));
  EXPECT_TRUE(ParseJson(R"({"a": {"k": 1}, "b": {"k": 2}, "k": [{"k": 1}, {"k": 1}]})", "f").ok());
}

TEST(ParseJson, KeepsErrorMessagesShort) {
  const auto parsed = ParseJson("{\"" + std::string(100000, 'x') + "\": }", "f");
  EXPECT_LT(parsed.status().message().size(), 500u);
}

TEST(JsonFields, TellsTheFieldTheRangeAndWhatWasFound) {
  const json object = {{"n", 7}};
  const auto value = JsonFields(object, "config.json").Int("n", 1, 5);
  EXPECT_EQ(std::string(value.status().message()),
            "config.json: field 'n' must be an integer in [1, 5], found 7");
}

TEST(JsonFields, RefusesNumbersThatAreNotTheIntegerAskedFor) {
  const json object = json::parse(
      R"({"float": 2.0, "text": "2", "huge": 18446744073709551615, "low": -1, "bool": true})");
  const JsonFields fields(object, "f");
  for (const char* name : {"float", "text", "huge", "low", "bool", "absent"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(fields.Int(name, 0, INT64_MAX).status())) << name;
  }
  EXPECT_EQ(*fields.Int("low", -1, 0), -1);
}

TEST(JsonFields, TakesAnIntegerWhereANumberIsAskedFor) {
  const json object = {{"n", 1}, {"text", "1"}};
  const JsonFields fields(object, "f");
  EXPECT_EQ(*fields.Number("n", 0, 2), 1.0);
  EXPECT_FALSE(fields.Number("n", 2, 3).ok());
  EXPECT_FALSE(fields.NumberOr("text", 1, 0, 2).ok());
}

TEST(JsonFields, TreatsNullAsAbsent) {
  const json object = {{"n", nullptr}};
  const JsonFields fields(object, "f");
  EXPECT_FALSE(fields.Has("n"));
  EXPECT_EQ(*fields.IntOr("n", 3, 0, 5), 3);
  EXPECT_EQ(*fields.BoolOr("n", true), true);
  EXPECT_EQ(*fields.StringOr("n", "d"), "d");
  EXPECT_TRUE(absl::IsInvalidArgument(fields.Int("n", 0, 5).status()));
}

}  // namespace
}  // namespace quire
