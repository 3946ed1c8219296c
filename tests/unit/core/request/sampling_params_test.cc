#include "core/request/sampling_params.h"

#include <cmath>
#include <functional>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kVocab = 1000;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr SamplingLimits kLimits{
    .max_stop_strings = 3, .max_stop_string_bytes = 5, .max_stop_token_ids = 2};

struct Case {
  const char* field;  // named by the message
  std::function<void(SamplingParams*)> change;
};

absl::Status Validate(const Case& c) {
  SamplingParams params;
  params.max_tokens = 10;
  c.change(&params);
  return ValidateSamplingParams(params, kLimits, kVocab);
}

TEST(SamplingParamsTest, TheEdgesOfEveryFieldAreAccepted) {
  const Case cases[] = {
      {"defaults", [](SamplingParams*) {}},
      {"temperature", [](SamplingParams* p) { p->temperature = 0; }},
      {"temperature", [](SamplingParams* p) { p->temperature = 100; }},
      {"top_p", [](SamplingParams* p) { p->top_p = std::nextafter(0.0f, 1.0f); }},
      {"top_p", [](SamplingParams* p) { p->top_p = 1; }},
      {"min_p", [](SamplingParams* p) { p->min_p = 0; }},
      {"min_p", [](SamplingParams* p) { p->min_p = 1; }},
      {"top_k", [](SamplingParams* p) { p->top_k = 0; }},
      {"top_k", [](SamplingParams* p) { p->top_k = INT32_MAX; }},
      {"repetition_penalty", [](SamplingParams* p) { p->repetition_penalty = 1e-30f; }},
      {"repetition_penalty", [](SamplingParams* p) { p->repetition_penalty = 100; }},
      {"seed", [](SamplingParams* p) { p->seed = UINT64_MAX; }},
      {"max_tokens", [](SamplingParams* p) { p->max_tokens = 1; }},
      {"max_tokens", [](SamplingParams* p) { p->max_tokens = INT32_MAX; }},
      {"stop",
       [](SamplingParams* p) {
         p->stop = {"a", "12345", std::string(1, '\0')};
       }},
      {"stop_token_ids",
       [](SamplingParams* p) {
         p->stop_token_ids = {0, kVocab - 1};
       }},
  };
  for (const Case& c : cases) EXPECT_TRUE(Validate(c).ok()) << c.field << ": " << Validate(c);
}

TEST(SamplingParamsTest, WhatLiesBeyondAnEdgeIsRefusedWithTheFieldsName) {
  const Case cases[] = {
      {"temperature is -", [](SamplingParams* p) { p->temperature = -1e-6f; }},
      {"temperature is 100.", [](SamplingParams* p) { p->temperature = 100.001f; }},
      {"temperature is nan", [](SamplingParams* p) { p->temperature = kNaN; }},
      {"temperature is inf", [](SamplingParams* p) { p->temperature = kInf; }},
      {"top_p is 0", [](SamplingParams* p) { p->top_p = 0; }},
      {"top_p is -0.5", [](SamplingParams* p) { p->top_p = -0.5f; }},
      {"top_p is 1.", [](SamplingParams* p) { p->top_p = 1.0001f; }},
      {"top_p is nan", [](SamplingParams* p) { p->top_p = kNaN; }},
      {"min_p is -", [](SamplingParams* p) { p->min_p = -1e-6f; }},
      {"min_p is 1.", [](SamplingParams* p) { p->min_p = 1.0001f; }},
      {"min_p is nan", [](SamplingParams* p) { p->min_p = kNaN; }},
      {"top_k is -1", [](SamplingParams* p) { p->top_k = -1; }},
      {"repetition_penalty is 0", [](SamplingParams* p) { p->repetition_penalty = 0; }},
      {"repetition_penalty is 100.", [](SamplingParams* p) { p->repetition_penalty = 100.1f; }},
      {"repetition_penalty is nan", [](SamplingParams* p) { p->repetition_penalty = kNaN; }},
      {"max_tokens is 0", [](SamplingParams* p) { p->max_tokens = 0; }},
      {"max_tokens is -", [](SamplingParams* p) { p->max_tokens = INT32_MIN; }},
      {"stop has 4 strings",
       [](SamplingParams* p) {
         p->stop = {"a", "b", "c", "d"};
       }},
      {"stop holds a string of 0 bytes",
       [](SamplingParams* p) {
         p->stop = {"a", ""};
       }},
      {"stop holds a string of 6 bytes", [](SamplingParams* p) { p->stop = {"123456"}; }},
      {"stop_token_ids has 3 ids",
       [](SamplingParams* p) {
         p->stop_token_ids = {1, 2, 3};
       }},
      {"stop_token_ids holds -1",
       [](SamplingParams* p) {
         p->stop_token_ids = {1, -1};
       }},
      {"stop_token_ids holds 1000", [](SamplingParams* p) { p->stop_token_ids = {kVocab}; }},
  };
  for (const Case& c : cases) {
    const absl::Status status = Validate(c);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.field));
  }
}

TEST(SamplingParamsTest, TheMessageSaysWhatIsAllowed) {
  const struct {
    const char* allowed;
    std::function<void(SamplingParams*)> change;
  } cases[] = {
      {"from 0 (greedy) to 100", [](SamplingParams* p) { p->temperature = -1; }},
      {"above 0 and at most 1", [](SamplingParams* p) { p->top_p = 2; }},
      {"at most 3 are allowed",
       [](SamplingParams* p) {
         p->stop = {"a", "b", "c", "d"};
       }},
      {"1 to 5", [](SamplingParams* p) { p->stop = {""}; }},
      {"at most 2 are allowed",
       [](SamplingParams* p) {
         p->stop_token_ids = {1, 2, 3};
       }},
      {"from 0 to 999", [](SamplingParams* p) { p->stop_token_ids = {kVocab}; }},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(std::string(Validate({"", c.change}).message()), HasSubstr(c.allowed));
  }
}

}  // namespace
}  // namespace quire
