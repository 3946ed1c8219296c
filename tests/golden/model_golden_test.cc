#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"
#include "tests/golden/golden_logits.h"
#include "tests/support/model_fixture.h"

// The whole model against Hugging Face transformers: each checkpoint under tests/golden/data/models
// differs in a way that a reader could get wrong, and the demo model is a trained one.

namespace quire::testing {
namespace {

using kernels::DType;

constexpr float kRelativeError = 1e-4f;  // of float32 against float32, to the largest logit

ModelFixture::Options FixtureOptions(const std::string& model, DType compute) {
  return {.model_dir = GoldenModelDir(model), .compute = compute, .threads = 2};
}

std::vector<float> LogitsOf(const std::string& model, DType compute,
                            const std::vector<TokenId>& prompt) {
  ModelFixture fixture(FixtureOptions(model, compute));
  return fixture.Step({{.sequence = 0, .tokens = prompt}});
}

float MaxAbs(const std::vector<float>& a) {
  float max = 0;
  for (const float x : a) max = std::max(max, std::fabs(x));
  return max;
}

// Infinite where the sizes differ or there is a NaN, which std::max would overlook.
float MaxError(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  float max = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const float error = std::fabs(a[i] - b[i]);
    if (std::isnan(error)) return INFINITY;
    max = std::max(max, error);
  }
  return max;
}

class ModelGoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  const std::vector<GoldenPrompt> prompts_ = ReadGoldenPrompts(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Models, ModelGoldenTest, ::testing::ValuesIn(GoldenModels()),
                         [](const auto& suite) {
                           std::string name = suite.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(ModelGoldenTest, LogitsInF32EqualThoseOfTransformers) {
  float worst = 0;
  for (const GoldenPrompt& prompt : prompts_) {
    const std::vector<float> logits = LogitsOf(GetParam(), DType::kF32, prompt.ids);
    const float error = MaxError(logits, prompt.logits) / MaxAbs(prompt.logits);
    EXPECT_LE(error, kRelativeError) << prompt.ids.size() << " tokens";
    worst = std::max(worst, error);
  }
  RecordProperty("relative_error", std::to_string(worst * 1e6f) + "e-6");
}

// Twice the error that BF16 arithmetic has in transformers itself is what rounding may cost.
TEST_P(ModelGoldenTest, LogitsInBf16AreAsCloseAsBf16Allows) {
  float worst = 0;
  for (const GoldenPrompt& prompt : prompts_) {
    const std::vector<float> logits = LogitsOf(GetParam(), DType::kBF16, prompt.ids);
    const float error = MaxError(logits, prompt.logits_bf16_weights);
    const float naive = MaxError(prompt.logits_bf16, prompt.logits_bf16_weights);
    EXPECT_LE(error, 2 * naive + 1e-5f) << prompt.ids.size() << " tokens";
    worst = std::max(worst, error / naive);
  }
  RecordProperty("error_to_naive_error", std::to_string(worst));
}

// Once a choice differs, what follows is another text. It may differ only where the two best logits
// are closer than the error that either side may have.
TEST_P(ModelGoldenTest, GreedyContinuationEqualsThatOfTransformers) {
  size_t compared = 0;
  for (const GoldenPrompt& prompt : prompts_) {
    ModelFixture fixture(FixtureOptions(GetParam(), DType::kF32));
    const auto count = static_cast<int32_t>(prompt.greedy.size());
    const std::vector<TokenId> greedy = fixture.Greedy(prompt.ids, count);
    const auto differs = std::mismatch(greedy.begin(), greedy.end(), prompt.greedy.begin());
    const auto equal = static_cast<size_t>(differs.first - greedy.begin());
    compared += equal;
    if (equal == greedy.size()) continue;
    EXPECT_LE(prompt.margin[equal], 2 * kRelativeError * MaxAbs(prompt.logits))
        << "token " << equal << " after a prompt of " << prompt.ids.size();
  }
  EXPECT_GE(compared, prompts_.size() * 32);
  RecordProperty("tokens_compared", static_cast<int>(compared));
}

}  // namespace
}  // namespace quire::testing
