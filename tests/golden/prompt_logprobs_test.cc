#include <cmath>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/model_harness.h"

// Logprobs of a prompt on the demo model: the same, bit for bit, however the prompt is cut and
// whatever runs beside it, and the same as when its tokens were generated.

namespace quire::testing {
namespace {

constexpr uint64_t kSeed = 20260102;
constexpr int32_t kAlternatives = 4;

struct Setting {
  const char* name;
  int others;
  int32_t step_tokens;
  int32_t scored_tokens;
  int32_t threads;
};

std::vector<TokenId> RandomPrompt(std::mt19937_64* rng, size_t length, int32_t vocab) {
  std::vector<TokenId> prompt(length);
  for (TokenId& id : prompt) id = std::uniform_int_distribution<TokenId>(1, vocab - 1)(*rng);
  return prompt;
}

class Server {
 public:
  explicit Server(const Setting& setting) : harness_(Options(setting)), rng_(kSeed) {
    for (int i = 0; i < setting.others; ++i) {
      Request other = harness_.MakeRequest(Prompt(50), 100);
      other.sampling.seed = static_cast<uint64_t>(i);
      if (i % 2 == 0) other.sampling.prompt_logprobs = 1;
      EXPECT_TRUE(harness_.engine().Submit(std::move(other)).ok());
    }
  }
  std::vector<TokenId> Prompt(size_t length) {
    return RandomPrompt(&rng_, length, harness_.config().vocab_size);
  }
  const RecordingSink::Record& Run(std::vector<TokenId> prompt, const SamplingParams& sampling) {
    Request request = harness_.MakeRequest(std::move(prompt), sampling.max_tokens);
    request.sampling = sampling;
    const RequestId id = request.id;
    EXPECT_TRUE(harness_.engine().Submit(std::move(request)).ok());
    harness_.RunToEnd(id);
    return harness_.sink().of(id);
  }

 private:
  static ModelHarness::Options Options(const Setting& setting) {
    ModelHarness::Options options;
    options.model_dir = QUIRE_SOURCE_DIR "/deploy/models/quire-demo";
    options.threads = setting.threads;
    options.engine.max_running_requests = std::min(12, setting.step_tokens);
    options.engine.max_step_tokens = setting.step_tokens;
    options.engine.max_scored_tokens = setting.scored_tokens;
    options.engine.max_context_tokens = 1024;
    return options;
  }

  ModelHarness harness_;
  std::mt19937_64 rng_;
};

SamplingParams Scoring() {
  SamplingParams sampling;
  sampling.max_tokens = 1;
  sampling.prompt_logprobs = kAlternatives;
  return sampling;
}

constexpr Setting kAlone = {"alone", 0, 512, 512, 1};

class PromptLogprobs : public ::testing::TestWithParam<Setting> {};

TEST_P(PromptLogprobs, AreTheSameWhateverTheChunksAndTheBatch) {
  Server alone(kAlone), server(GetParam());
  const std::vector<TokenId> prompt = alone.Prompt(301);
  const auto& expected = alone.Run(prompt, Scoring());
  const auto& record = server.Run(prompt, Scoring());
  ASSERT_EQ(expected.prompt_logprobs.size(), 300u) << "seed " << kSeed;
  EXPECT_EQ(record.prompt_logprobs, expected.prompt_logprobs);
  EXPECT_EQ(record.prompt_alternatives, expected.prompt_alternatives);
  EXPECT_TRUE(record.scores_in_order);
  EXPECT_EQ(record.tokens, expected.tokens);
}

INSTANTIATE_TEST_SUITE_P(
    Settings, PromptLogprobs,
    ::testing::Values(Setting{"rows1", 0, 512, 1, 1}, Setting{"rows64", 0, 512, 64, 1},
                      Setting{"chunk16", 0, 16, 512, 1},
                      Setting{"among10_chunk48_rows20_threads2", 10, 48, 20, 2}),
    [](const auto& p) { return p.param.name; });

TEST(PromptLogprobsTest, ScoreGeneratedTokensAsTheyWereDrawn) {
  Server server(kAlone);
  std::vector<TokenId> text = server.Prompt(40);
  SamplingParams sampling;
  sampling.max_tokens = 60;
  sampling.temperature = 1;
  sampling.seed = 5;
  sampling.ignore_eos = true;
  sampling.logprobs = true;
  sampling.top_logprobs = kAlternatives;
  sampling.repetition_penalty = 1.3f;  // what rules do to a draw is not reported
  const auto& drawn = server.Run(text, sampling);
  ASSERT_EQ(drawn.tokens.size(), 60u);
  text.insert(text.end(), drawn.tokens.begin(), drawn.tokens.end());
  const auto& scored = server.Run(text, Scoring());
  ASSERT_EQ(scored.prompt_logprobs.size(), 99u);
  EXPECT_TRUE(std::equal(drawn.logprobs.begin(), drawn.logprobs.end(),
                         scored.prompt_logprobs.begin() + 39));
  EXPECT_TRUE(std::equal(drawn.alternatives.begin(), drawn.alternatives.end(),
                         scored.prompt_alternatives.begin() + 39));
  for (const auto& alternatives : scored.prompt_alternatives) {
    ASSERT_EQ(alternatives.size(), static_cast<size_t>(kAlternatives));
    double sum = 0;
    for (const TokenAlternative& a : alternatives) sum += std::exp(a.logprob);
    EXPECT_LE(sum, 1.0001);
    EXPECT_TRUE(std::is_sorted(alternatives.begin(), alternatives.end(),
                               [](const auto& a, const auto& b) { return a.logprob > b.logprob; }));
  }
}

}  // namespace
}  // namespace quire::testing
