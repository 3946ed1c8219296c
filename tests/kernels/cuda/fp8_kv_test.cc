#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/api/float_convert.h"
#include "kernels/api/ops.h"
#include "kernels/cuda/cuda_device.h"
#include "tests/support/simt/emulated_runtime.h"
#include "tests/support/simt/float_codec.h"

// KV in fp8 through the device's operations: what one writes the other finds.

namespace quire::kernels::cuda {
namespace {

constexpr int32_t kHeads = 4, kGroups = 2, kDim = 80, kTokens = 37, kBlockTokens = 16;
constexpr int32_t kBlocks = 3;
constexpr size_t kLayerOffset = 512;  // another layer comes first

std::unique_ptr<Device> MakeDevice(const simt::EmulatedGpuOptions& options = {}) {
  DeviceStatus status;
  auto device = MakeCudaDevice(simt::MakeTestGpu(options), false, &status);
  EXPECT_NE(device, nullptr) << status.message();
  return device;
}

// One sequence of kTokens tokens, all of them new, in blocks that lie in no order.
class Fp8KvTest : public ::testing::Test {
 protected:
  Fp8KvTest() : device_(MakeDevice()) {
    kv_ = {.layer_offset = kLayerOffset,
           .block_tokens = kBlockTokens,
           .kv_groups = kGroups,
           .head_dim = kDim,
           .dtype = DType::kF8E4M3};
    const size_t block_units =
        (kLayerOffset + kv_.LayerBytes() + kKvOffsetUnit - 1) / kKvOffsetUnit;
    for (const uint32_t block : {2u, 0u, 1u}) {
      table_.push_back(static_cast<uint32_t>(block * block_units));
    }
    EXPECT_TRUE(device_->Allocate(kBlocks * block_units * kKvOffsetUnit, &arena_).ok());
    std::memset(arena_.data(), 0xff, arena_.bytes());
    kv_.base = arena_.data();
    for (int32_t t = 0; t < kTokens; ++t) positions_.push_back(t);
    batch_.capacity = {kTokens, 1, kBlocks, 1};
    batch_.counts = &counts_;
    batch_.positions = positions_.data();
    batch_.q_start = q_start_.data();
    batch_.kv_len = kv_len_.data();
    batch_.tables[0] = {table_start_.data(), table_.data()};
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (float& x : qkv_) x = normal(random);
  }

  void Run() {
    const AttentionLayer layer = {
        .num_heads = kHeads, .kv_groups = kGroups, .head_dim = kDim, .kv = kv_.dtype};
    ASSERT_TRUE(device_->ops().Prepare({batch_.capacity, &layer, 1, 0}).ok());
    device_->ops().BeginStep(batch_, {q_start_, kv_len_});
    device_->ops().RopeWriteKv(
        {.batch = &batch_, .qkv = qkv_.data(), .num_heads = kHeads, .kv = kv_, .q_out = q_.data()});
    device_->ops().PagedAttention({.batch = &batch_,
                                   .q = q_.data(),
                                   .num_heads = kHeads,
                                   .scale = 0.1f,
                                   .kv = kv_,
                                   .out = out_.data()});
    device_->RecordEvent()->Wait();
    ASSERT_TRUE(device_->CheckError().ok());
  }

  // Element i of a token's K or V as it was given.
  float Given(bool is_v, int32_t group, int32_t token, int32_t i) const {
    const int32_t head = kHeads + (is_v ? kGroups : 0) + group;
    return qkv_[static_cast<size_t>((token * (kHeads + 2 * kGroups) + head) * kDim + i)];
  }
  float GivenScale(bool is_v, int32_t group, int32_t token) const {
    float largest = 0;
    for (int32_t i = 0; i < kDim; ++i) {
      largest = std::max(largest, std::fabs(Given(is_v, group, token, i)));
    }
    return largest / 448;
  }
  // What is left of it in the arena.
  float Stored(bool is_v, int32_t group, int32_t token, int32_t i) const {
    const uint32_t block = table_[static_cast<size_t>(token / kBlockTokens)];
    const std::byte* tile = is_v ? kv_.VTile(block, group) : kv_.KTile(block, group);
    const auto code = static_cast<uint8_t>(tile[token % kBlockTokens * kDim + i]);
    return simt::Fp8ToFloat(code) * StoredScale(is_v, group, token);
  }
  float StoredScale(bool is_v, int32_t group, int32_t token) const {
    const uint32_t block = table_[static_cast<size_t>(token / kBlockTokens)];
    const int32_t row = ((is_v ? kGroups : 0) + group) * kBlockTokens + token % kBlockTokens;
    float scale = 0;
    std::memcpy(&scale, kv_.KTile(block, 0) + kv_.ScaleOffset() + row * sizeof(float),
                sizeof(scale));
    return scale;
  }

  // Over what is stored, of element i.
  double ExactOut(int32_t token, int32_t head, int32_t i) const {
    const int32_t group = head / (kHeads / kGroups);
    double sum = 0, out = 0;
    for (int32_t t = 0; t <= token; ++t) {
      double score = 0;
      for (int32_t d = 0; d < kDim; ++d) {
        const auto at = static_cast<size_t>((token * kHeads + head) * kDim + d);
        score += double{Bf16ToFloat(q_[at])} * Stored(false, group, t, d);
      }
      const double p = std::exp(0.1f * score);
      sum += p;
      out += p * Stored(true, group, t, i);
    }
    return out / sum;
  }

  std::unique_ptr<Device> device_;
  DeviceBuffer arena_;
  KvLayerView kv_;
  const BatchCounts counts_ = {kTokens, 1, 1};
  const std::vector<int32_t> q_start_ = {0, kTokens}, kv_len_ = {kTokens};
  const std::vector<int32_t> table_start_ = {0, kBlocks};
  std::vector<int32_t> positions_;
  std::vector<uint32_t> table_;
  std::vector<float> qkv_ = std::vector<float>(kTokens * (kHeads + 2 * kGroups) * kDim);
  std::vector<uint16_t> q_ = std::vector<uint16_t>(kTokens * kHeads * kDim, 0xffff);
  std::vector<uint16_t> out_ = std::vector<uint16_t>(kTokens * kHeads * kDim, 0xffff);
  BatchView batch_;
};

TEST_F(Fp8KvTest, RowsLieInTheirTilesAndTheirScalesBehindThem) {
  Run();
  for (const bool is_v : {false, true}) {
    for (int32_t group = 0; group < kGroups; ++group) {
      for (int32_t token = 0; token < kTokens; ++token) {
        const float scale = GivenScale(is_v, group, token);
        ASSERT_FLOAT_EQ(StoredScale(is_v, group, token), scale);
        for (int32_t i = 0; i < kDim; ++i) {
          const float given = Given(is_v, group, token, i);
          // Three bits of fraction, and steps of 2^-9 below 2^-6.
          const float error = std::max(std::fabs(given) / 16, scale * 0x1p-10f) * 1.001f;
          ASSERT_NEAR(Stored(is_v, group, token, i), given, error) << "token " << token;
        }
      }
    }
  }
}

TEST_F(Fp8KvTest, AttentionReadsWhatWasWritten) {
  Run();
  for (const int32_t token : {0, 15, 16, kTokens - 1}) {
    for (int32_t head = 0; head < kHeads; ++head) {
      for (const int32_t i : {0, 1, 47, kDim - 1}) {
        const auto at = static_cast<size_t>((token * kHeads + head) * kDim + i);
        ASSERT_NEAR(Bf16ToFloat(out_[at]), ExactOut(token, head, i), 0.02)
            << "token " << token << " head " << head << " element " << i;
      }
    }
  }
}

// Tiles of fp8 are half as large, which is also what the plan asks the GPU about.
TEST(Fp8KvDeviceTest, AGpuWithTooLittleSharedMemoryForBf16MayHaveEnoughForFp8) {
  const auto device = MakeDevice({.max_shared_bytes = 60 << 10});
  EXPECT_EQ(device->NarrowKv(), DType::kF8E4M3);
  AttentionLayer layer = {.num_heads = 4, .kv_groups = 2, .head_dim = 128};
  EXPECT_FALSE(device->ops().Prepare({{4, 2, 8, 2}, &layer, 1, 0}).ok());
  layer.kv = DType::kF8E4M3;
  EXPECT_TRUE(device->ops().Prepare({{4, 2, 8, 2}, &layer, 1, 0}).ok());
}

}  // namespace
}  // namespace quire::kernels::cuda
