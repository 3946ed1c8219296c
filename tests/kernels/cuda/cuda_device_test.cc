#include "kernels/cuda/cuda_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/api/float_convert.h"
#include "kernels/api/ops.h"
#include "kernels/cuda/cuda_weights.h"
#include "tests/support/simt/emulated_runtime.h"

namespace quire::kernels::cuda {
namespace {

using ::testing::HasSubstr;
using Code = DeviceStatus::Code;

std::unique_ptr<Device> MakeDevice(const simt::EmulatedGpuOptions& options = {}) {
  DeviceStatus status;
  auto device = MakeCudaDevice(simt::MakeTestGpu(options), false, &status);
  EXPECT_NE(device, nullptr) << status.message();
  return device;
}

TEST(CudaDeviceTest, SaysWhatItIs) {
  const auto device = MakeDevice();
  EXPECT_EQ(device->Description(), "cuda, emulated GPU, compute capability 8.0");
  EXPECT_EQ(device->InFlightDepth(), 1);
  EXPECT_TRUE(device->HasOwnMemory());
  EXPECT_EQ(device->DefaultCompute(DType::kF32), DType::kBF16);
}

TEST(CudaDeviceTest, ALackOfMemoryIsAnOutcomeAndPasses) {
  const auto device = MakeDevice({.memory_bytes = 1000});
  DeviceBuffer buffer;
  DeviceBuffer rest;
  const DeviceStatus status = device->Allocate(1001, &buffer);
  EXPECT_EQ(status.code(), Code::kOutOfMemory);
  EXPECT_THAT(status.message(), HasSubstr("1001 bytes"));
  EXPECT_TRUE(device->CheckError().ok());
  EXPECT_TRUE(device->Allocate(600, &buffer).ok());
  EXPECT_EQ(device->AvailableBytes(), 400u);
  EXPECT_EQ(device->Allocate(401, &rest).code(), Code::kOutOfMemory);
  buffer.Reset();
  EXPECT_TRUE(device->Allocate(1000, &rest).ok());
}

// 4.5 million elements: more than the buffers hold through which they travel.
TEST(CudaDeviceTest, StacksAndRoundsWeightsOfEveryType) {
  constexpr int64_t kCols = 1500;
  const auto device = MakeDevice();
  std::vector<float> floats(static_cast<size_t>(1000 * kCols));
  std::vector<uint16_t> halves(floats.size());
  std::vector<uint16_t> bfloats(floats.size());
  for (size_t i = 0; i < floats.size(); ++i) {
    floats[i] = static_cast<float>(i % 977) * 0.37f - 100;
    halves[i] = FloatToF16(floats[i] + 1);
    bfloats[i] = FloatToBf16(floats[i] + 2);
  }
  const HostMatrix parts[] = {{floats.data(), DType::kF32, 1000, kCols},
                              {halves.data(), DType::kF16, 1000, kCols},
                              {bfloats.data(), DType::kBF16, 1000, kCols}};
  std::unique_ptr<PackedWeights> weights;
  ASSERT_TRUE(device->PackLinear(parts, 3, DType::kBF16, WeightFormat::kDense, &weights).ok());
  EXPECT_EQ(weights->rows(), 3000);
  EXPECT_EQ(weights->cols(), kCols);
  std::vector<uint16_t> got(3 * floats.size());
  device->CopyToHost(got.data(), static_cast<const CudaWeights&>(*weights).data(),
                     got.size() * sizeof(uint16_t));
  device->RecordEvent()->Wait();
  size_t wrong = 0;
  for (size_t i = 0; i < floats.size(); ++i) {
    wrong += got[i] != FloatToBf16(floats[i]);
    wrong += got[floats.size() + i] != FloatToBf16(F16ToFloat(halves[i]));
    wrong += got[2 * floats.size() + i] != bfloats[i];
  }
  EXPECT_EQ(wrong, 0u);
}

TEST(CudaDeviceTest, RefusesToComputeInF32AndSaysWhatToDo) {
  const auto device = MakeDevice();
  const std::vector<float> data(64);
  const HostMatrix matrix{data.data(), DType::kF32, 8, 8};
  std::unique_ptr<PackedWeights> weights;
  const DeviceStatus status =
      device->PackLinear(&matrix, 1, DType::kF32, WeightFormat::kDense, &weights);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("--dtype bf16"));
}

TEST(CudaDeviceTest, HeadsBeyondTheSharedMemoryOfTheGpuAreRefusedBeforeAStep) {
  const auto device = MakeDevice({.max_shared_bytes = 99 << 10});
  AttentionLayer layer = {.num_heads = 4, .kv_groups = 2, .head_dim = 256};
  const PrepareParams params = {
      .capacity = {.tokens = 4, .sequences = 2, .table_entries = 8, .logit_rows = 2},
      .attention = &layer,
      .num_attention = 1,
      .vocab = 16};
  const DeviceStatus status = device->ops().Prepare(params);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("heads of 256 elements"));
  layer.head_dim = 128;
  EXPECT_TRUE(device->ops().Prepare(params).ok());
}

// Whose steps would otherwise use memory that the second one's have freed.
TEST(CudaDeviceTest, ASecondModelIsRefusedAndLeavesTheFirstItsMemory) {
  const auto device = MakeDevice();
  const AttentionLayer layer = {.num_heads = 4, .kv_groups = 2, .head_dim = 64};
  const PrepareParams params = {{4, 2, 8, 2}, &layer, 1, 16};
  const size_t before = device->AvailableBytes();
  ASSERT_TRUE(device->ops().Prepare(params).ok());
  const size_t available = device->AvailableBytes();
  EXPECT_EQ(device->ops().WorkBytes(), before - available);
  const DeviceStatus status = device->ops().Prepare(params);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("another device"));
  EXPECT_EQ(device->AvailableBytes(), available);
}

// One token after 319, of which the first 64 have a value of 1 and all the same score.
TEST(CudaDeviceTest, LayersThatSeeFurtherThanOthersHaveAPlanOfTheirOwn) {
  constexpr int32_t kBlocks = 20;
  constexpr int32_t kWindow = 100;
  const std::vector<BatchCounts> counts = {{1, 1, 1}};
  const std::vector<int32_t> q_start = {0, 1}, kv_len = {16 * kBlocks}, table_start = {0, kBlocks};
  const AttentionLayer layers[] = {
      {.num_heads = 2, .kv_groups = 1, .head_dim = 64, .window = kWindow},
      {.num_heads = 2, .kv_groups = 1, .head_dim = 64}};
  const auto device = MakeDevice();
  KvLayerView kv = {.block_tokens = 16, .kv_groups = 1, .head_dim = 64};
  DeviceBuffer arena;
  ASSERT_TRUE(device->Allocate(kBlocks * 2 * kv.TileBytes(), &arena).ok());
  std::memset(arena.data(), 0, arena.bytes());
  kv.base = arena.data();
  std::vector<uint32_t> table;
  for (size_t i = 0; i < kBlocks; ++i) {
    table.push_back(static_cast<uint32_t>(i * 2 * kv.TileBytes() / kKvOffsetUnit));
    auto* const values = reinterpret_cast<uint16_t*>(kv.VTile(table.back(), 0));
    if (i < 4) std::fill_n(values, 16 * 64, FloatToBf16(1));
  }
  BatchView batch;
  batch.capacity = {1, 1, kBlocks, 1};
  batch.counts = counts.data();
  batch.q_start = q_start.data();
  batch.kv_len = kv_len.data();
  batch.tables[0] = {table_start.data(), table.data()};
  ASSERT_TRUE(device->ops().Prepare({batch.capacity, layers, 2, 0}).ok());
  device->ops().BeginStep(batch, {q_start, kv_len});
  const std::vector<uint16_t> q(2 * 64);
  for (int32_t window : {kWindow, 0}) {
    std::vector<uint16_t> out(q.size());
    device->ops().PagedAttention({.batch = &batch,
                                  .q = q.data(),
                                  .num_heads = 2,
                                  .scale = 1,
                                  .window = window,
                                  .kv = kv,
                                  .out = out.data()});
    device->RecordEvent()->Wait();
    const uint16_t expected = FloatToBf16(window > 0 ? 0 : 64.0f / (16 * kBlocks));
    EXPECT_EQ(out, std::vector<uint16_t>(q.size(), expected)) << "window " << window;
  }
}

TEST(CudaDeviceTest, PartialResultsHaveTheRoomThatTheLargestLayerNeeds) {
  const auto used = [](int32_t first, int32_t second) {
    const auto device = MakeDevice();
    const size_t before = device->AvailableBytes();
    const AttentionLayer layers[] = {{.num_heads = 4, .kv_groups = 2, .head_dim = first},
                                     {.num_heads = 4, .kv_groups = 2, .head_dim = second}};
    EXPECT_TRUE(device->ops().Prepare({{4, 2, 8, 2}, layers, 2, 0}).ok());
    return before - device->AvailableBytes();
  };
  EXPECT_EQ(used(256, 64), used(64, 256));
  EXPECT_GT(used(64, 256), used(64, 128));
}

using simt::QueueOrder;

// A buffer on the device that compute fills with 1 and then with 2, and what transfers read of it.
struct TwoQueues {
  static constexpr size_t kBytes = 64;

  explicit TwoQueues(QueueOrder order) : device(MakeDevice({.order = order})) {
    EXPECT_TRUE(device->Allocate(kBytes, &buffer).ok());
    EXPECT_TRUE(device->AllocateHost(kBytes, &out).ok());
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(device->AllocateHost(kBytes, &values[i]).ok());
      std::memset(values[i].data(), i, kBytes);
    }
  }
  std::vector<uint8_t> Out() const { return {out.as<uint8_t>(), out.as<uint8_t>() + kBytes}; }
  static std::vector<uint8_t> Filled(uint8_t value) { return std::vector<uint8_t>(kBytes, value); }

  std::unique_ptr<Device> device;
  DeviceBuffer buffer;
  HostBuffer out;
  HostBuffer values[3];
};

class CudaTransferOrderTest : public testing::TestWithParam<QueueOrder> {};

INSTANTIATE_TEST_SUITE_P(Orders, CudaTransferOrderTest,
                         testing::Values(QueueOrder::kAsNeeded, QueueOrder::kTransfersFirst,
                                         QueueOrder::kComputeFirst, QueueOrder::kRandom));

TEST_P(CudaTransferOrderTest, EachQueueWaitsForTheEventsThatItIsGiven) {
  TwoQueues q(GetParam());
  TransferQueue& transfers = *q.device->transfers();
  for (int turn = 0; turn < 8; ++turn) {
    const uint8_t value = turn % 3;
    q.device->CopyToDevice(q.buffer.data(), q.values[value].data(), q.kBytes);
    transfers.WaitFor(*q.device->RecordEvent());
    transfers.CopyToHost(q.out.data(), q.buffer.data(), q.kBytes);
    const auto read = transfers.RecordEvent();
    q.device->WaitFor(*read);
    q.device->CopyToDevice(q.buffer.data(), q.values[(turn + 1) % 3].data(), q.kBytes);
    const auto written = q.device->RecordEvent();
    (turn % 2 == 0 ? read : written)->Wait();
    EXPECT_EQ(q.Out(), q.Filled(value)) << turn;
    written->Wait();
  }
}

// Or no test of the order would prove anything.
TEST(CudaTransferTest, WithoutAWaitEitherQueueMayGetAhead) {
  const auto read = [](QueueOrder order) {
    TwoQueues q(order);
    q.device->CopyToDevice(q.buffer.data(), q.values[1].data(), q.kBytes);
    q.device->RecordEvent()->Wait();
    q.device->CopyToDevice(q.buffer.data(), q.values[2].data(), q.kBytes);
    q.device->transfers()->CopyToHost(q.out.data(), q.buffer.data(), q.kBytes);
    q.device->transfers()->RecordEvent()->Wait();
    return q.Out();
  };
  EXPECT_EQ(read(QueueOrder::kAsNeeded), TwoQueues::Filled(1));
  EXPECT_EQ(read(QueueOrder::kTransfersFirst), TwoQueues::Filled(1));
  EXPECT_EQ(read(QueueOrder::kComputeFirst), TwoQueues::Filled(2));
}

TEST_P(CudaTransferOrderTest, ALostDeviceLeavesNobodyWaiting) {
  const auto device = MakeDevice({.order = GetParam(), .lost_after_copies = 1});
  HostBuffer host;
  DeviceBuffer buffer;
  ASSERT_TRUE(device->AllocateHost(64, &host).ok());
  ASSERT_TRUE(device->Allocate(64, &buffer).ok());
  device->CopyToDevice(buffer.data(), host.data(), 64);
  device->transfers()->CopyToHost(host.data(), buffer.data(), 64);
  const auto transferred = device->transfers()->RecordEvent();
  device->WaitFor(*transferred);
  device->RecordEvent()->Wait();
  EXPECT_TRUE(transferred->Done());
  EXPECT_EQ(device->CheckError().code(), Code::kDeviceLost);
}

TEST(CudaTransferDeathTest, AGraphHoldsNoWait) {
  const auto device = MakeDevice();
  const auto event = device->transfers()->RecordEvent();
  device->BeginCapture();
  EXPECT_DEATH(device->WaitFor(*event), "capturing_");
  device->EndCapture();
}

}  // namespace
}  // namespace quire::kernels::cuda
