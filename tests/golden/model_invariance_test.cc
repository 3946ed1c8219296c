#include <cstring>
#include <random>

#include "gtest/gtest.h"
#include "kernels/api/ops.h"
#include "tests/golden/golden_logits.h"
#include "tests/support/model_fixture.h"

// A sequence's logits and KV bytes are the same, bit for bit, however its tokens are cut into
// steps, whatever runs beside it, wherever its blocks lie and on any number of threads.

namespace quire::testing {
namespace {

using kernels::DType;
using kernels::WeightFormat;
using Chunk = ModelFixture::Chunk;

constexpr uint32_t kSeed = 20240607;

struct Outcome {
  std::vector<float> logits;  // [tokens, vocab]
  std::vector<std::byte> kv;
};

// By bytes: a NaN equals itself and zeros of different sign differ.
bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void ExpectSame(const Outcome& a, const Outcome& b) {
  EXPECT_TRUE(SameBits(a.logits, b.logits));
  EXPECT_TRUE(a.kv == b.kv);
}

struct Arithmetic {
  DType compute;
  WeightFormat weights;
  DType kv;
};

class ModelInvarianceTest : public ::testing::TestWithParam<std::tuple<std::string, Arithmetic>> {
 protected:
  ModelFixture::Options Options() const {
    return {.model_dir = GoldenModelDir(std::get<0>(GetParam())),
            .compute = std::get<1>(GetParam()).compute,
            .weights = std::get<1>(GetParam()).weights,
            .kv = std::get<1>(GetParam()).kv};
  }
  static std::vector<TokenId> Prompt(uint32_t seed, size_t length, const ModelConfig& config) {
    std::mt19937 random(kSeed + seed);
    std::vector<TokenId> prompt(length);
    for (TokenId& id : prompt) {
      id = static_cast<TokenId>(random() % static_cast<uint32_t>(config.vocab_size));
    }
    return prompt;
  }
  // Sequence 0 alone, `chunk` tokens a step.
  static Outcome RunAlone(const ModelFixture::Options& options, size_t length, size_t chunk) {
    ModelFixture fixture(options);
    const std::vector<TokenId> prompt = Prompt(0, length, fixture.config());
    Outcome outcome;
    for (size_t start = 0; start < length; start += chunk) {
      const size_t end = std::min(start + chunk, length);
      const auto logits =
          fixture.Step({{.sequence = 0,
                         .tokens = {prompt.begin() + static_cast<ptrdiff_t>(start),
                                    prompt.begin() + static_cast<ptrdiff_t>(end)}}});
      outcome.logits.insert(outcome.logits.end(), logits.begin(), logits.end());
    }
    outcome.kv = fixture.KvBytes(0);
    return outcome;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Models, ModelInvarianceTest,
    ::testing::Combine(
        ::testing::ValuesIn(GoldenModels()),
        ::testing::Values(Arithmetic{DType::kF32, WeightFormat::kDense, DType::kF32},
                          Arithmetic{DType::kF32, WeightFormat::kDense, DType::kInt8},
                          Arithmetic{DType::kBF16, WeightFormat::kDense, DType::kBF16},
                          Arithmetic{DType::kBF16, WeightFormat::kInt8, DType::kBF16},
                          Arithmetic{DType::kBF16, WeightFormat::kInt4, DType::kInt8})),
    [](const auto& suite) {
      const Arithmetic& arithmetic = std::get<1>(suite.param);
      std::string name = std::get<0>(suite.param);
      name += std::string("_") + DTypeName(arithmetic.compute);
      if (arithmetic.weights != WeightFormat::kDense) {
        name += std::string("_") + WeightFormatName(arithmetic.weights);
      }
      if (arithmetic.kv != arithmetic.compute) {
        name += std::string("_kv_") + DTypeName(arithmetic.kv);
      }
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST_P(ModelInvarianceTest, ChunksOfAPromptGiveWhatTheWholePromptGives) {
  constexpr size_t kLength = 75;
  const Outcome whole = RunAlone(Options(), kLength, kLength);
  for (const size_t chunk : {1, 7, 16, 33, 74}) {
    SCOPED_TRACE(chunk);
    ExpectSame(RunAlone(Options(), kLength, chunk), whole);
  }
}

TEST_P(ModelInvarianceTest, ThreadsAndPlacesOfBlocksChangeNothing) {
  constexpr size_t kLength = 75;
  const Outcome outcome = RunAlone(Options(), kLength, kLength);
  ModelFixture::Options threads = Options();
  threads.threads = 2;
  ExpectSame(RunAlone(threads, kLength, kLength), outcome);
  ModelFixture::Options places = Options();
  places.placement = 7;
  ExpectSame(RunAlone(places, kLength, kLength), outcome);
}

TEST_P(ModelInvarianceTest, TheBlockSizeDoesNotChangeLogits) {
  constexpr size_t kLength = 75;
  const Outcome outcome = RunAlone(Options(), kLength, kLength);
  for (const int32_t block_tokens : {32, 64, 128}) {
    ModelFixture::Options options = Options();
    options.block_tokens = block_tokens;
    EXPECT_TRUE(SameBits(RunAlone(options, kLength, kLength).logits, outcome.logits))
        << block_tokens;
  }
}

// A prefill, a chunk behind some context and two decodes in one step, on two threads.
TEST_P(ModelInvarianceTest, NeighboursInABatchChangeNothing) {
  const size_t earlier[] = {0, 20, 31, 64};  // tokens before the common step
  const size_t together[] = {50, 13, 1, 1};
  ModelFixture::Options options = Options();
  options.sequences = 4;
  options.threads = 2;
  ModelFixture batch(options);
  std::vector<std::vector<TokenId>> prompts;
  std::vector<Chunk> chunks;
  for (uint32_t s = 0; s < 4; ++s) {
    prompts.push_back(Prompt(s, earlier[s] + together[s], batch.config()));
    const auto middle = prompts[s].begin() + static_cast<ptrdiff_t>(earlier[s]);
    if (earlier[s] > 0) batch.Step({{static_cast<int32_t>(s), {prompts[s].begin(), middle}}});
    chunks.push_back({static_cast<int32_t>(s), {middle, prompts[s].end()}});
  }
  const std::vector<float> logits = batch.Step(chunks);

  const auto vocab = static_cast<size_t>(batch.config().vocab_size);
  size_t row = 0;
  for (uint32_t s = 0; s < 4; ++s) {
    SCOPED_TRACE(s);
    ModelFixture alone(Options());
    const std::vector<float> all = alone.Step({{0, prompts[s]}});
    const std::vector<float> expected(all.begin() + static_cast<ptrdiff_t>(earlier[s] * vocab),
                                      all.end());
    const auto begin = logits.begin() + static_cast<ptrdiff_t>(row * vocab);
    const std::vector<float> actual(begin, begin + static_cast<ptrdiff_t>(expected.size()));
    ExpectSame({actual, batch.KvBytes(static_cast<int32_t>(s))}, {expected, alone.KvBytes(0)});
    row += together[s];
  }
}

// Long enough that attention restarts and merges its running softmax.
TEST(LongContextInvarianceTest, ChunksThatCrossTheAttentionSplitChangeNothing) {
  for (const DType kv : {DType::kF32, DType::kBF16, DType::kInt8}) {
    SCOPED_TRACE(kernels::DTypeName(kv));
    ModelFixture::Options options = {.model_dir = GoldenModelDir("quire-demo"),
                                     .compute = kv == DType::kF32 ? DType::kF32 : DType::kBF16,
                                     .kv = kv,
                                     .max_context = 576};
    constexpr size_t kLength = kernels::kAttentionSplit + 40;
    std::vector<Outcome> outcomes;
    for (const size_t chunk : {kLength, size_t{100}, size_t{511}}) {
      ModelFixture fixture(options);
      std::mt19937 random(kSeed);
      Outcome outcome;
      for (size_t start = 0; start < kLength; start += chunk) {
        std::vector<TokenId> tokens(std::min(chunk, kLength - start));
        for (TokenId& id : tokens) id = static_cast<TokenId>(random() % 768);
        const auto logits = fixture.Step({{0, tokens}});
        outcome.logits.insert(outcome.logits.end(), logits.begin(), logits.end());
      }
      outcome.kv = fixture.KvBytes(0);
      outcomes.push_back(std::move(outcome));
    }
    ExpectSame(outcomes[1], outcomes[0]);
    ExpectSame(outcomes[2], outcomes[0]);
  }
}

}  // namespace
}  // namespace quire::testing
