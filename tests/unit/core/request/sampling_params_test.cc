#include "core/request/sampling_params.h"

#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kVocab = 1000;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr SamplingLimits kLimits{.max_stop_strings = 3,
                                 .max_stop_string_bytes = 5,
                                 .max_stop_token_ids = 2,
                                 .max_logit_biases = 2,
                                 .max_allowed_token_ids = 3,
                                 .max_bad_words = 2,
                                 .max_bad_word_tokens = 4,
                                 .max_top_logprobs = 5};

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
      {"repetition_penalty", [](SamplingParams* p) { p->repetition_penalty = 1e-3f; }},
      {"repetition_penalty", [](SamplingParams* p) { p->repetition_penalty = 100; }},
      {"frequency_penalty", [](SamplingParams* p) { p->frequency_penalty = -2; }},
      {"frequency_penalty", [](SamplingParams* p) { p->frequency_penalty = 2; }},
      {"presence_penalty", [](SamplingParams* p) { p->presence_penalty = -2; }},
      {"presence_penalty", [](SamplingParams* p) { p->presence_penalty = 2; }},
      {"logit_bias",
       [](SamplingParams* p) {
         p->logit_bias = {{0, -100}, {kVocab - 1, 100}};
       }},
      {"allowed_token_ids",
       [](SamplingParams* p) {
         p->allowed_token_ids = {0, 0, kVocab - 1};
       }},
      {"bad_words",
       [](SamplingParams* p) {
         p->bad_words = {{0}, {1, 2, 3, kVocab - 1}};
       }},
      {"min_tokens", [](SamplingParams* p) { p->min_tokens = 0; }},
      {"min_tokens", [](SamplingParams* p) { p->min_tokens = 10; }},
      {"top_logprobs", [](SamplingParams* p) { p->top_logprobs = 5; }},
      {"prompt_logprobs", [](SamplingParams* p) { p->prompt_logprobs = 0; }},
      {"prompt_logprobs", [](SamplingParams* p) { p->prompt_logprobs = 5; }},
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
      {"repetition_penalty is 0.0009", [](SamplingParams* p) { p->repetition_penalty = 9e-4f; }},
      {"repetition_penalty is 100.", [](SamplingParams* p) { p->repetition_penalty = 100.1f; }},
      {"repetition_penalty is nan", [](SamplingParams* p) { p->repetition_penalty = kNaN; }},
      {"frequency_penalty is 2.", [](SamplingParams* p) { p->frequency_penalty = 2.001f; }},
      {"frequency_penalty is -2.", [](SamplingParams* p) { p->frequency_penalty = -2.001f; }},
      {"frequency_penalty is nan", [](SamplingParams* p) { p->frequency_penalty = kNaN; }},
      {"presence_penalty is 2.", [](SamplingParams* p) { p->presence_penalty = 2.001f; }},
      {"presence_penalty is -inf", [](SamplingParams* p) { p->presence_penalty = -kInf; }},
      {"presence_penalty is nan", [](SamplingParams* p) { p->presence_penalty = kNaN; }},
      {"logit_bias has 3 entries",
       [](SamplingParams* p) {
         p->logit_bias = {{1, 1}, {2, 1}, {3, 1}};
       }},
      {"logit_bias holds -1",
       [](SamplingParams* p) {
         p->logit_bias = {{-1, 1}};
       }},
      {"logit_bias holds 1000",
       [](SamplingParams* p) {
         p->logit_bias = {{kVocab, 1}};
       }},
      {"logit_bias[7] is 100.",
       [](SamplingParams* p) {
         p->logit_bias = {{7, 100.5f}};
       }},
      {"logit_bias[7] is -100.",
       [](SamplingParams* p) {
         p->logit_bias = {{7, -100.5f}};
       }},
      {"logit_bias[7] is nan",
       [](SamplingParams* p) {
         p->logit_bias = {{7, kNaN}};
       }},
      {"allowed_token_ids has 4 ids",
       [](SamplingParams* p) {
         p->allowed_token_ids = {1, 2, 3, 4};
       }},
      {"allowed_token_ids holds 1000", [](SamplingParams* p) { p->allowed_token_ids = {kVocab}; }},
      {"bad_words has 3 token sequences",
       [](SamplingParams* p) {
         p->bad_words = {{1}, {2}, {3}};
       }},
      {"bad_words holds an empty one",
       [](SamplingParams* p) {
         p->bad_words = {{1}, {}};
       }},
      {"bad_words has 5 ids",
       [](SamplingParams* p) {
         p->bad_words = {{1, 2, 3, 4, 5}};
       }},
      {"bad_words holds 1000",
       [](SamplingParams* p) {
         p->bad_words = {{1, kVocab}};
       }},
      {"min_tokens is -1", [](SamplingParams* p) { p->min_tokens = -1; }},
      {"min_tokens is 11; it must be from 0 to max_tokens, which is 10",
       [](SamplingParams* p) { p->min_tokens = 11; }},
      {"top_logprobs is 6; it must be from 0 to 5", [](SamplingParams* p) { p->top_logprobs = 6; }},
      {"top_logprobs is -1", [](SamplingParams* p) { p->top_logprobs = -1; }},
      {"prompt_logprobs is 6", [](SamplingParams* p) { p->prompt_logprobs = 6; }},
      {"prompt_logprobs is -2", [](SamplingParams* p) { p->prompt_logprobs = -2; }},
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

TEST(SamplingParamsTest, EveryAnswerToAPromptHasASeedOfItsOwn) {
  EXPECT_EQ(SeedOfAnswer(42, 0), 42u);
  std::set<uint64_t> seeds;
  for (uint64_t seed : {uint64_t{0}, uint64_t{42}, UINT64_MAX}) {
    for (int32_t index = 0; index < 1000; ++index) seeds.insert(SeedOfAnswer(seed, index));
  }
  EXPECT_EQ(seeds.size(), 3000u);
}

}  // namespace
}  // namespace quire
