#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/cuda/device/e4m3.h"
#include "kernels/cuda/row_kernels.h"
#include "tests/kernels/cuda/test_gpu.h"

namespace quire::kernels::cuda {
namespace {

constexpr double kTheta = 10000;
constexpr float kEps = 1e-6f;
constexpr size_t kLayerOffset = 768;  // another layer comes first
constexpr int32_t kSpareTokens = 3;

// One layer's shape, and the tokens of a step: of each sequence the last q_len of kv_len.
struct Shape {
  int32_t heads = 1;
  int32_t groups = 1;
  int32_t head_dim = 16;
  int32_t block_tokens = 16;
  int32_t rotary_dim = 16;
  DType act = DType::kBF16;
  bool norms = false;
  bool fp8 = false;

  int64_t width() const { return int64_t{heads + 2 * groups} * head_dim; }
  int64_t q_width() const { return int64_t{heads} * head_dim; }
  int64_t tile() const { return int64_t{block_tokens} * head_dim; }
  size_t TileBytes() const { return static_cast<size_t>(tile()) * (fp8 ? 1 : 2); }
  size_t ScaleOffset() const { return 2 * static_cast<size_t>(groups) * TileBytes(); }
};

struct Part {
  int32_t q_len;
  int32_t kv_len;
};

// What a step left: Q as written, and K and V of every token read back out of the blocks, each
// [tokens, heads or groups, head_dim].
struct Outcome {
  MatrixF q;
  MatrixF k;
  MatrixF v;
};

class RopeKernelTest : public testing::Test {
 protected:
  std::mt19937_64 Random(uint64_t seed) {
    RecordProperty("seed", std::to_string(seed));
    seed_ = seed;
    return std::mt19937_64(seed);
  }

  struct Input {
    std::vector<Part> parts;
    MatrixF qkv;
    std::vector<float> q_norm;
    std::vector<float> k_norm;
  };

  static Input MakeInput(std::mt19937_64& random, const Shape& shape,
                         const std::vector<Part>& parts) {
    Input input{parts, {}, {}, {}};
    int64_t tokens = 0;
    for (const Part& part : parts) tokens += part.q_len;
    input.qkv = RandomMatrix(random, tokens, shape.width(), 2, DType::kF32);
    input.q_norm = RandomMatrix(random, 1, shape.head_dim, 1, DType::kF32).data;
    input.k_norm = RandomMatrix(random, 1, shape.head_dim, 1, DType::kF32).data;
    return input;
  }

  static std::vector<float> CosSin(const Shape& shape, int32_t positions) {
    std::vector<float> table;
    const int32_t half = shape.rotary_dim / 2;
    for (int32_t p = 0; p < positions; ++p) {
      for (int32_t i = 0; i < 2 * half; ++i) {
        const double angle = p * std::pow(kTheta, -2.0 * (i % half) / shape.rotary_dim);
        table.push_back(static_cast<float>(i < half ? std::cos(angle) : std::sin(angle)));
      }
    }
    return table;
  }

  // A step's batch and an arena in which every sequence has the blocks its kv_len needs, in random
  // order; all of it poison.
  struct Step {
    std::vector<BatchCounts> counts;  // one
    std::vector<int32_t> positions;
    std::vector<int32_t> q_start = {0};
    std::vector<int32_t> table_start = {0};
    std::vector<uint32_t> offsets;
    std::vector<std::byte> arena;
  };

  static Step MakeStep(std::mt19937_64& random, const Shape& shape,
                       const std::vector<Part>& parts) {
    Step step;
    for (const Part& part : parts) {
      for (int32_t i = 0; i < part.q_len; ++i) {
        step.positions.push_back(part.kv_len - part.q_len + i);
      }
      step.q_start.push_back(step.q_start.back() + part.q_len);
      step.table_start.push_back(step.table_start.back() +
                                 BlocksFor(part.kv_len, shape.block_tokens));
    }
    step.counts = {{step.q_start.back(), static_cast<int32_t>(parts.size()), 0}};
    const size_t scales = 8 * static_cast<size_t>(shape.groups * shape.block_tokens);
    const size_t block = (kLayerOffset + shape.ScaleOffset() + scales) / kKvOffsetUnit + 1;
    for (int32_t i = 0; i < step.table_start.back(); ++i) {
      step.offsets.push_back(static_cast<uint32_t>(static_cast<size_t>(i) * block));
    }
    std::shuffle(step.offsets.begin(), step.offsets.end(), random);
    step.arena =
        Poisoned<std::byte>(static_cast<int64_t>(step.offsets.size() * block * kKvOffsetUnit));
    return step;
  }

  Outcome Run(std::mt19937_64& random, const Shape& shape, const Input& input) {
    Step step = MakeStep(random, shape, input.parts);
    const auto tokens = static_cast<int32_t>(input.qkv.rows);
    const int32_t longest = *std::max_element(step.positions.begin(), step.positions.end()) + 1;
    const std::vector<float> table = CosSin(shape, longest);
    std::vector<uint16_t> q_out = Poisoned<uint16_t>((tokens + kSpareTokens) * shape.q_width());
    const RopeWriteKvArgs args = {.counts = step.counts.data(),
                                  .positions = step.positions.data(),
                                  .q_start = step.q_start.data(),
                                  .tables = {step.table_start.data(), step.offsets.data()},
                                  .qkv = input.qkv.data.data(),
                                  .q_norm = shape.norms ? input.q_norm.data() : nullptr,
                                  .k_norm = shape.norms ? input.k_norm.data() : nullptr,
                                  .norm_eps = kEps,
                                  .rotary_dim = shape.rotary_dim,
                                  .cos_sin = table.data(),
                                  .num_heads = shape.heads,
                                  .kv = {step.arena.data(), kLayerOffset, 0, shape.block_tokens,
                                         shape.groups, shape.head_dim, shape.act},
                                  .scale_offset = static_cast<uint32_t>(shape.ScaleOffset()),
                                  .q_out = q_out.data()};
    Launch(GpuUnderTest().table.rope_write_kv(shape.act, shape.fp8),
           RopeWriteKvShape({tokens + kSpareTokens, 1, 1, 0}, shape.heads, shape.groups), args,
           ++seed_);
    for (size_t i = static_cast<size_t>(tokens * shape.q_width()); i < q_out.size(); ++i) {
      EXPECT_TRUE(IsPoison(q_out[i])) << "Q of a token that is none";
    }
    Outcome outcome{FromHalves(q_out, tokens, shape.q_width(), shape.act), {}, {}};
    outcome.k = ReadBack(shape, step, false);
    outcome.v = ReadBack(shape, step, true);
    ExpectTheRestIsPoison(shape, step);
    return outcome;
  }

  // Reads K or V of every token of the step and leaves poison in their place.
  static MatrixF ReadBack(const Shape& shape, Step& step, bool is_v) {
    const int32_t tokens = step.counts[0].tokens;
    MatrixF out(tokens, int64_t{shape.groups} * shape.head_dim);
    for (int32_t t = 0; t < tokens; ++t) {
      int32_t sequence = 0;
      while (step.q_start[static_cast<size_t>(sequence) + 1] <= t) ++sequence;
      const int32_t position = step.positions[static_cast<size_t>(t)];
      const int32_t entry =
          step.table_start[static_cast<size_t>(sequence)] + position / shape.block_tokens;
      std::byte* const layer = step.arena.data() +
                               step.offsets[static_cast<size_t>(entry)] * kKvOffsetUnit +
                               kLayerOffset;
      for (int32_t g = 0; g < shape.groups; ++g) {
        const int32_t tile = (is_v ? shape.groups : 0) + g;
        const int32_t slot = position % shape.block_tokens;
        float scale = 1;
        if (shape.fp8) {
          auto* const scales = reinterpret_cast<float*>(layer + shape.ScaleOffset());
          scale = std::exchange(scales[tile * shape.block_tokens + slot], Poisoned<float>(1)[0]);
        }
        for (int32_t d = 0; d < shape.head_dim; ++d) {
          std::byte* const at =
              layer + static_cast<size_t>(tile) * shape.TileBytes() +
              static_cast<size_t>(slot * shape.head_dim + d) * (shape.fp8 ? 1 : 2);
          uint16_t bits = 0;
          std::memcpy(&bits, at, shape.fp8 ? 1 : 2);
          std::memset(at, 0xff, shape.fp8 ? 1 : 2);
          out.at(t, g * shape.head_dim + d) =
              shape.fp8 ? simt::Fp8ToFloat(bits) * scale : HalfToFloat(bits, shape.act);
        }
      }
    }
    return out;
  }

  static void ExpectTheRestIsPoison(const Shape& shape, const Step& step) {
    const size_t dirty =
        static_cast<size_t>(std::count_if(step.arena.begin(), step.arena.end(),
                                          [](std::byte byte) { return byte != std::byte{0xff}; }));
    EXPECT_EQ(dirty, 0u) << "bytes of other slots or layers, head_dim " << shape.head_dim;
  }

  uint64_t seed_ = 0;
};

template <typename Real>
reference::Matrix<Real> HeadsOf(const reference::Matrix<Real>& qkv, int64_t head_dim,
                                int64_t first_head, int64_t heads) {
  reference::Matrix<Real> out(qkv.rows, heads * head_dim);
  for (int64_t r = 0; r < qkv.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) out.at(r, c) = qkv.at(r, first_head * head_dim + c);
  }
  return out;
}

// Every head is a row of its own to the norm; then it rotates in part.
template <typename Real>
reference::Matrix<Real> NormAndRotate(reference::Matrix<Real> x, const Shape& shape,
                                      const std::vector<float>& weight,
                                      const std::vector<int32_t>& positions) {
  const int64_t dim = shape.head_dim;
  for (int64_t head = 0; shape.norms && head < x.cols / dim; ++head) {
    const reference::Matrix<Real> one = reference::RmsNorm<Real>(
        HeadsOf(x, dim, head, 1), std::vector<Real>(weight.begin(), weight.end()), kEps);
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < dim; ++c) x.at(r, head * dim + c) = one.at(r, c);
    }
  }
  if (shape.rotary_dim == 0) return x;
  return reference::Rope<Real>(x, shape.head_dim, shape.rotary_dim, positions, kTheta);
}

std::vector<int32_t> PositionsOf(const std::vector<Part>& parts) {
  std::vector<int32_t> positions;
  for (const Part& part : parts) {
    for (int32_t i = 0; i < part.q_len; ++i) positions.push_back(part.kv_len - part.q_len + i);
  }
  return positions;
}

const std::vector<Part> kParts = {{3, 20}, {0, 7}, {1, 33}, {17, 17}};

TEST_F(RopeKernelTest, NormalisesAndRotatesHeadsAndWritesThemWhereTheyBelong) {
  auto random = Random(1);
  for (DType act : kGpuActTypes) {
    for (int32_t head_dim : {16, 48, 64, 80, 128, 256}) {
      for (int32_t rotary_dim : {0, 2, 8, 10, head_dim - 4, head_dim}) {
        for (bool norms : {false, true}) {
          const Shape shape{5, 2, head_dim, 16, rotary_dim, act, norms, false};
          const Input input = MakeInput(random, shape, kParts);
          const Outcome got = Run(random, shape, input);
          const std::vector<int32_t> positions = PositionsOf(kParts);
          SCOPED_TRACE(std::string(DTypeName(act)) + " head_dim " + std::to_string(head_dim) +
                       " rotary " + std::to_string(rotary_dim) + (norms ? " norms" : ""));
          const auto check = [&](const MatrixF& result, int64_t first, int64_t heads,
                                 const std::vector<float>& weight) {
            const MatrixF x = HeadsOf(input.qkv, head_dim, first, heads);
            EXPECT_TRUE(
                IsClose(result, NormAndRotate<double>(Cast<double>(x), shape, weight, positions),
                        RoundedToHalf(NormAndRotate<float>(x, shape, weight, positions), act)));
          };
          check(got.q, 0, 5, input.q_norm);
          check(got.k, 5, 2, input.k_norm);
          EXPECT_TRUE(SameBits(got.v, RoundedToHalf(HeadsOf(input.qkv, head_dim, 7, 2), act)));
        }
      }
    }
  }
}

TEST_F(RopeKernelTest, FindsTheSequenceAmongManyOfWhichSomeHaveNoTokens) {
  auto random = Random(2);
  for (size_t sequences : {1, 2, 31, 32, 33, 100, 1100}) {
    const Shape shape{2, 1, 16, 16, 0, DType::kBF16, false, false};
    std::vector<Part> parts(sequences);
    for (Part& part : parts) {
      part.q_len = static_cast<int32_t>(random() % 3);
      part.kv_len = part.q_len + static_cast<int32_t>(random() % 20);
    }
    parts.back() = {1, 1};
    const Input input = MakeInput(random, shape, parts);
    const Outcome got = Run(random, shape, input);
    EXPECT_TRUE(SameBits(got.k, RoundedToHalf(HeadsOf(input.qkv, 16, 2, 1), shape.act)));
    EXPECT_TRUE(SameBits(got.v, RoundedToHalf(HeadsOf(input.qkv, 16, 3, 1), shape.act)));
  }
}

TEST_F(RopeKernelTest, ATokensBitsDoNotDependOnTheBatchOrTheBlockSize) {
  auto random = Random(3);
  Shape shape{7, 3, 96, 16, 96, DType::kBF16, true, false};
  const Input input = MakeInput(random, shape, kParts);
  const Outcome all = Run(random, shape, input);
  shape.block_tokens = 64;
  const Outcome wide = Run(random, shape, input);
  EXPECT_TRUE(SameBits(all.q, wide.q));
  EXPECT_TRUE(SameBits(all.k, wide.k));
  const std::vector<int32_t> positions = PositionsOf(kParts);
  for (size_t t : {size_t{0}, size_t{3}, positions.size() - 1}) {
    const auto row = static_cast<int64_t>(t);
    Input one = input;
    one.parts = {{1, positions[t] + 1}};
    one.qkv = RowsOf(input.qkv, row, row + 1);
    const Outcome alone = Run(random, shape, one);
    EXPECT_TRUE(SameBits(alone.q, RowsOf(all.q, row, row + 1)));
    EXPECT_TRUE(SameBits(alone.k, RowsOf(all.k, row, row + 1)));
    EXPECT_TRUE(SameBits(alone.v, RowsOf(all.v, row, row + 1)));
  }
}

TEST_F(RopeKernelTest, Fp8RowsAreScaledToTheirLargestElement) {
  auto random = Random(4);
  for (DType act : kGpuActTypes) {
    for (int32_t head_dim : {16, 80, 128, 256}) {
      const Shape shape{3, 2, head_dim, 32, head_dim, act, false, true};
      Input input = MakeInput(random, shape, kParts);
      for (float& x : input.qkv.data) x *= 100;
      for (int64_t c = 0; c < input.qkv.cols; ++c) input.qkv.at(0, c) = 0;
      const Outcome got = Run(random, shape, input);
      const MatrixF k =
          NormAndRotate<float>(HeadsOf(input.qkv, head_dim, 3, 2), shape, {}, PositionsOf(kParts));
      const MatrixF v = HeadsOf(input.qkv, head_dim, 5, 2);
      for (const auto& [exact, result] : {std::pair{&k, &got.k}, {&v, &got.v}}) {
        for (int64_t r = 0; r < exact->rows; ++r) {
          for (int64_t c = 0; c < exact->cols; ++c) {
            float largest = 0;
            for (int64_t d = 0; d < head_dim; ++d) {
              largest = std::max(largest, std::abs(exact->at(r, c / head_dim * head_dim + d)));
            }
            // Half a step of three bits, or of the smallest numbers.
            const float x = exact->at(r, c);
            ASSERT_NEAR(result->at(r, c), x, std::abs(x) / 15.9f + largest / 448 / 1000)
                << "row " << r << " column " << c << " head_dim " << head_dim;
          }
        }
      }
    }
  }
}

TEST(E4m3Test, RoundsAsTheEmulatorDoesAndReadsBackEveryNumber) {
  for (uint32_t code = 0; code < 256; ++code) {
    const float x = simt::Fp8ToFloat(code);
    if (std::isnan(x)) continue;
    EXPECT_EQ(ToE4m3(x), code);
  }
  std::mt19937_64 random(5);
  for (int i = 0; i < 20000; ++i) {
    const float x = std::ldexp(static_cast<float>(static_cast<int32_t>(random())),
                               static_cast<int>(random() % 24) - 43);
    EXPECT_EQ(ToE4m3(x), simt::FloatToFp8(x)) << x;
  }
  for (float tie : {17.0f, 19.0f, 0x1.1p-9f, 0x1p-10f, 0x3p-10f, 447.0f, 464.0f, 1e9f}) {
    EXPECT_EQ(ToE4m3(tie), simt::FloatToFp8(tie)) << tie;
  }
  EXPECT_EQ(ToE4m3(NAN) & 0x7f, 0x7fu);
}

}  // namespace
}  // namespace quire::kernels::cuda
