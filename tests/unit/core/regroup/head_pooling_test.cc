#include "core/regroup/head_pooling.h"

#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/random_seeds.h"
#include "tests/unit/core/regroup/naive_pooling.h"

namespace quire {
namespace {

using kernels::DType;
using testing::Element;
using testing::NaiveMean;
using testing::NaiveRound;
using testing::RandomSeeds;

constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

std::string RandomElements(uint64_t seed, DType dtype, size_t count) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, 0.02);
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes += NaiveRound(normal(random), dtype);
  return bytes;
}

HeadTensor Heads(const std::string& bytes, DType dtype, int32_t heads, uint64_t id = 0) {
  return {.data = std::as_bytes(std::span(bytes)), .dtype = dtype, .heads = heads, .id = id};
}

std::string Pooled(const HeadTensor& tensor, int32_t groups, PoolMethod method, uint64_t seed = 0) {
  std::string result;
  const absl::Status status =
      PoolHeads(tensor, groups, method, seed, [&](std::span<const std::byte> bytes) {
        result.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  return result;
}

TEST(StoreRounded, RoundsOnceToTheNearestOfAllValues) {
  for (const uint64_t seed : RandomSeeds(3)) {
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<double> fraction(1, 2);
    for (const DType dtype : kTypes) {
      const int lowest = dtype == DType::kF16 ? -28 : -140;  // subnormals too
      const int highest = dtype == DType::kF16 ? 14 : 126;
      std::uniform_int_distribution<int> exponent(lowest, highest);
      for (int i = 0; i < 20000; ++i) {
        double value = std::ldexp(fraction(random), exponent(random)) * (i % 2 == 0 ? 1 : -1);
        // Some a hair beside the middle of two values, where rounding twice goes wrong.
        if (i % 4 >= 2) {
          const auto middle = std::ldexp(std::floor(std::ldexp(value, 60)), -60);
          value = std::nextafter(middle, i % 8 < 4 ? INFINITY : -INFINITY);
        }
        std::string stored(kernels::DTypeBytes(dtype), '\0');
        StoreRounded(value, dtype, reinterpret_cast<std::byte*>(stored.data()));
        ASSERT_EQ(stored, NaiveRound(value, dtype))
            << value << " as " << kernels::DTypeName(dtype) << ", QUIRE_TEST_SEED=" << seed;
      }
    }
  }
}

TEST(StoreRounded, DoesNotRoundTwice) {
  const auto stored = [](double value, DType dtype) {
    uint16_t bits = 0;
    StoreRounded(value, dtype, reinterpret_cast<std::byte*>(&bits));
    return bits;
  };
  // Just above the middle between 1 and the next value; as a float it is that middle.
  EXPECT_EQ(stored(1 + 0x1p-8 + 0x1p-40, DType::kBF16), 0x3f81);
  EXPECT_EQ(stored(1 + 0x1p-8, DType::kBF16), 0x3f80);
  EXPECT_EQ(stored(1 + 3 * 0x1p-8 - 0x1p-40, DType::kBF16), 0x3f81);
  EXPECT_EQ(stored(1 + 3 * 0x1p-8, DType::kBF16), 0x3f82);
  EXPECT_EQ(stored(-(1 + 0x1p-11 + 0x1p-40), DType::kF16), 0xbc01);
  EXPECT_EQ(stored(1 + 0x1p-11, DType::kF16), 0x3c00);
  EXPECT_EQ(stored(65519.9999999, DType::kF16), 0x7bff);  // the largest
  EXPECT_EQ(stored(65520, DType::kF16), 0x7c00);          // infinity
  EXPECT_EQ(stored(-0.0, DType::kF16), 0x8000);
  EXPECT_EQ(stored(NAN, DType::kBF16) & 0x7fc0, 0x7fc0);
}

TEST(PoolHeads, TakesTheMeanAsOneWouldWriteItDown) {
  constexpr size_t kHeadElements = 48;
  for (const uint64_t seed : RandomSeeds(4)) {
    for (const DType dtype : kTypes) {
      const std::string heads = RandomElements(seed, dtype, 12 * kHeadElements);
      for (const int32_t groups : {1, 2, 3, 4, 6, 12}) {
        EXPECT_TRUE(Pooled(Heads(heads, dtype, 12), groups, PoolMethod::kMean) ==
                    NaiveMean(heads, dtype, kHeadElements, static_cast<size_t>(groups)))
            << groups << " groups of " << kernels::DTypeName(dtype) << ", QUIRE_TEST_SEED=" << seed;
      }
    }
  }
}

// Longer than what is computed at once, and at an odd address.
TEST(PoolHeads, TakesTheMeanOfLongHeadsThatAreNotAligned) {
  constexpr size_t kHeadElements = (size_t{1} << 16) + 3;
  const std::string heads = RandomElements(1, DType::kBF16, 2 * kHeadElements);
  const std::string shifted = "x" + heads;
  HeadTensor tensor = Heads(shifted, DType::kBF16, 2);
  tensor.data = tensor.data.subspan(1);
  EXPECT_TRUE(Pooled(tensor, 1, PoolMethod::kMean) ==
              NaiveMean(heads, DType::kBF16, kHeadElements, 1));
}

TEST(PoolHeads, KeepsWhatIsEqualBitForBit) {
  for (const DType dtype : kTypes) {
    std::string head = RandomElements(7, dtype, 29);
    for (const double value : {0.0, -0.0, 0x1p-24, -0x1p-24}) head += NaiveRound(value, dtype);
    for (const size_t merged : {2u, 3u, 7u, 32u}) {
      std::string heads;
      for (size_t i = 0; i < merged; ++i) heads += head;
      EXPECT_TRUE(Pooled(Heads(heads, dtype, static_cast<int32_t>(merged)), 1, PoolMethod::kMean) ==
                  head)
          << merged << " heads of " << kernels::DTypeName(dtype);
    }
  }
}

TEST(PoolHeads, TakesTheFirstOfEachGroup) {
  EXPECT_EQ(Pooled(Heads("aabbccddeeff", DType::kF16, 6), 2, PoolMethod::kFirst), "aadd");
  EXPECT_EQ(Pooled(Heads("aabbccddeeff", DType::kF16, 6), 6, PoolMethod::kFirst), "aabbccddeeff");
}

TEST(PoolHeads, DrawsNormalWeightsAsWidelySpreadAsTheOriginals) {
  constexpr size_t kCount = 40000;
  for (const uint64_t seed : RandomSeeds(3)) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal(5, 0.25);  // far from 0, as biases may be
    std::string heads;
    for (size_t i = 0; i < kCount; ++i) heads += NaiveRound(normal(random), DType::kF32);
    const std::string drawn = Pooled(Heads(heads, DType::kF32, 4), 2, PoolMethod::kRandom, seed);
    ASSERT_EQ(drawn.size(), heads.size() / 2);
    double sum = 0, squares = 0, within = 0;
    for (size_t i = 0; i < kCount / 2; ++i) {
      const double value = Element(drawn, i, DType::kF32) / 0.25;
      sum += value;
      squares += value * value;
      within += std::fabs(value) < 1 ? 1 : 0;
    }
    const double n = kCount / 2;
    // Five standard errors; 68.27 % of a normal distribution is within one deviation.
    EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n)) << "QUIRE_TEST_SEED=" << seed;
    EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2 / n) + 0.02) << "QUIRE_TEST_SEED=" << seed;
    EXPECT_NEAR(within / n, 0.6827, 5 * std::sqrt(0.25 / n)) << "QUIRE_TEST_SEED=" << seed;
  }
}

TEST(PoolHeads, DrawsTheSameForASeedAndOthersForOtherSeedsAndTensors) {
  const std::string heads = RandomElements(3, DType::kF32, 4 * 33);
  const auto draw = [&](uint64_t seed, uint64_t id) {
    return Pooled(Heads(heads, DType::kF32, 4, id), 1, PoolMethod::kRandom, seed);
  };
  EXPECT_EQ(draw(1, 0), draw(1, 0));
  EXPECT_NE(draw(1, 0), draw(2, 0));
  // Not even shifted.
  std::set<double> seen;
  for (const uint64_t id : {0, 1, 2, 4095}) {
    const std::string drawn = draw(1, id);
    for (size_t i = 0; i < 33; ++i) {
      EXPECT_TRUE(seen.insert(Element(drawn, i, DType::kF32)).second) << id << " at " << i;
    }
  }
  const std::string constant(64, '\0');
  EXPECT_EQ(
      Element(Pooled(Heads(constant, DType::kF32, 4), 1, PoolMethod::kRandom), 3, DType::kF32), 0);
}

TEST(PoolHeads, StopsAtTheSinksError) {
  const std::string heads = RandomElements(3, DType::kF16, 64);
  for (const PoolMethod method : {PoolMethod::kMean, PoolMethod::kFirst, PoolMethod::kRandom}) {
    int calls = 0;
    const absl::Status status = PoolHeads(Heads(heads, DType::kF16, 8), 4, method, 0, [&](auto) {
      ++calls;
      return absl::ResourceExhaustedError("full");
    });
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_EQ(calls, 1);
  }
}

}  // namespace
}  // namespace quire
