#include <cstddef>
#include <iostream>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/model_harness.h"

// What no peer promises by default: a request's tokens, logprobs and KV bytes are the same, bit for
// bit, alone and in a crowd, however its prompt is cut into chunks, on any number of threads, and
// whether the beginning of its prompt is computed or found.

namespace quire::testing {
namespace {

constexpr uint64_t kSeed = 20260101;
constexpr int32_t kPromptTokens = 300;
constexpr int32_t kMaxTokens = 40;

struct Setting {
  const char* name;
  int others;
  int32_t chunk;  // query tokens a step
  int32_t threads;
  int32_t block_tokens;
  size_t known = 0;  // tokens of the prompt that another request has begun with
};

std::vector<TokenId> RandomPrompt(std::mt19937_64* rng, size_t length, int32_t vocab) {
  std::vector<TokenId> prompt(length);
  for (TokenId& id : prompt) id = std::uniform_int_distribution<TokenId>(1, vocab - 1)(*rng);
  return prompt;
}

struct Answer {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  std::vector<std::byte> kv;
};

Answer Serve(const Setting& setting, float temperature) {
  ModelHarness::Options options;
  options.model_dir = QUIRE_SOURCE_DIR "/deploy/models/quire-demo";
  options.threads = setting.threads;
  options.block_tokens = setting.block_tokens;
  options.prefix_cache = setting.known > 0;
  options.engine.max_running_requests = std::min(32, setting.chunk);
  options.engine.max_step_tokens = setting.chunk;
  options.engine.max_context_tokens = 1024;
  ModelHarness harness(options);

  std::mt19937_64 rng(kSeed);
  const int32_t vocab = harness.config().vocab_size;
  Request request = harness.MakeRequest(RandomPrompt(&rng, kPromptTokens, vocab), kMaxTokens);
  request.sampling.temperature = temperature;
  request.sampling.seed = 7;
  request.sampling.repetition_penalty = 1.1f;
  request.sampling.ignore_eos = true;
  const RequestId id = request.id;
  if (setting.known > 0) {
    std::vector<TokenId> prompt = request.prompt;
    prompt.resize(setting.known);
    prompt.push_back(1);
    Request first = harness.MakeRequest(std::move(prompt), 5);
    const RequestId first_id = first.id;
    EXPECT_TRUE(harness.engine().Submit(std::move(first)).ok());
    harness.RunToEnd(first_id);
  }
  // Half of the crowd is there before, half arrives with the request.
  for (int i = 0; i < setting.others; ++i) {
    const size_t length = std::uniform_int_distribution<size_t>(1, 400)(rng);
    Request other = harness.MakeRequest(RandomPrompt(&rng, length, vocab), 200);
    other.sampling.seed = rng();
    EXPECT_TRUE(harness.engine().Submit(std::move(other)).ok());
    if (i == setting.others / 2) {
      for (int step = 0; step < 5; ++step) harness.engine().Step();
    }
  }
  EXPECT_TRUE(harness.engine().Submit(std::move(request)).ok());
  Answer answer;
  answer.kv = harness.RunToEnd(id);
  const auto block_tokens = static_cast<size_t>(setting.block_tokens);
  EXPECT_EQ(harness.sink().of(id).finish->cached_tokens,
            static_cast<int32_t>(setting.known / block_tokens * block_tokens));
  answer.tokens = harness.sink().of(id).tokens;
  answer.logprobs = harness.sink().of(id).logprobs;
  return answer;
}

class BatchInvariance : public ::testing::TestWithParam<Setting> {};

TEST_P(BatchInvariance, TokensLogprobsAndKvBytesAreThoseOfTheLoneRequest) {
  std::cout << "seed " << kSeed << "\n";
  const Setting& setting = GetParam();
  const Setting alone = {"alone", 0, 512, 1, setting.block_tokens};
  for (float temperature : {0.0f, 0.9f}) {
    const Answer expected = Serve(alone, temperature);
    const Answer answer = Serve(setting, temperature);
    EXPECT_EQ(expected.tokens.size(), static_cast<size_t>(kMaxTokens));
    EXPECT_EQ(answer.tokens, expected.tokens);
    EXPECT_EQ(answer.logprobs, expected.logprobs);
    const size_t full_blocks = (kPromptTokens + kMaxTokens - 2) / setting.block_tokens;
    EXPECT_GE(expected.kv.size(), full_blocks * 1024);
    EXPECT_TRUE(answer.kv == expected.kv);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Settings, BatchInvariance,
    ::testing::Values(Setting{"among31", 31, 512, 1, 16}, Setting{"chunk16", 0, 16, 1, 16},
                      Setting{"threads2", 0, 512, 2, 16},
                      Setting{"among31_chunk16_threads2", 31, 16, 2, 16},
                      Setting{"among31_chunk64_threads2", 31, 64, 2, 16},
                      Setting{"among31_chunk48_threads2_blocks64", 31, 48, 2, 64},
                      Setting{"found", 0, 512, 1, 16, 299},
                      Setting{"found_among31_chunk48_threads2", 31, 48, 2, 16, 150},
                      Setting{"found_chunk16_blocks64", 0, 16, 1, 64, 200}),
    [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace quire::testing
