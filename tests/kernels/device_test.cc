#include <gtest/gtest.h>

#include <limits>

#include "tests/kernels/kernel_fixture.h"

namespace quire::kernels {
namespace {

using Code = DeviceStatus::Code;

class DeviceTest : public KernelTest {};

TEST_P(DeviceTest, SaysWhatItIs) {
  const std::string description = device_->Description();
  EXPECT_NE(description.find(IsaTierName(GetParam().tier)), std::string::npos) << description;
  EXPECT_NE(description.find(std::to_string(GetParam().threads) + " thread"), std::string::npos)
      << description;
  EXPECT_EQ(device_->InFlightDepth(), 0);
  EXPECT_GT(device_->AvailableBytes(), 0u);
}

TEST_P(DeviceTest, MemoryIsAlignedPoisonedAndHoldsWhatIsCopied) {
  for (size_t bytes : {size_t{1}, size_t{4000}, size_t{5} << 20}) {
    DeviceBuffer buffer = NewBuffer(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 256, 0u);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(Download<uint8_t>(buffer, bytes), std::vector<uint8_t>(bytes, 0xff));
    const std::vector<uint8_t> data(bytes, 0x5a);
    device_->CopyToDevice(buffer.data(), data.data(), bytes);
    EXPECT_EQ(Download<uint8_t>(buffer, bytes), data);
  }
}

TEST_P(DeviceTest, WorkIsDoneWhenTheCallReturns) {
  const auto event = device_->RecordEvent();
  EXPECT_TRUE(event->Done());
  event->Wait();
  EXPECT_TRUE(device_->CheckError().ok());
}

TEST_P(DeviceTest, WhatDoesNotFitIsOutOfMemoryWithTheSize) {
  DeviceBuffer buffer;
  const DeviceStatus status = device_->Allocate(size_t{1} << 60, &buffer);
  EXPECT_EQ(status.code(), Code::kOutOfMemory);
  EXPECT_NE(status.message().find(std::to_string(size_t{1} << 60)), std::string::npos);
  EXPECT_EQ(device_->Allocate(std::numeric_limits<size_t>::max(), &buffer).code(),
            Code::kOutOfMemory);
  EXPECT_EQ(buffer.data(), nullptr);
}

TEST_P(DeviceTest, RefusesWeightsThatMakeNoMatrix) {
  const std::vector<float> data(64);
  const HostMatrix good{data.data(), DType::kF32, 8, 8};
  const HostMatrix narrow{data.data(), DType::kF32, 8, 4};
  const HostMatrix empty{data.data(), DType::kF32, 0, 8};
  const HostMatrix missing{nullptr, DType::kF32, 8, 8};
  const HostMatrix fp8{data.data(), DType::kF8E4M3, 8, 8};
  const HostMatrix huge{data.data(), DType::kF32, int64_t{1} << 40, 8};
  std::unique_ptr<PackedWeights> weights;
  const auto code = [&](std::vector<HostMatrix> parts, DType compute) {
    return device_
        ->PackLinear(parts.data(), static_cast<int>(parts.size()), compute, WeightFormat::kDense,
                     &weights)
        .code();
  };
  EXPECT_EQ(code({good, narrow}, DType::kF32), Code::kInvalidArgument);
  EXPECT_EQ(code({good, empty}, DType::kF32), Code::kInvalidArgument);
  EXPECT_EQ(code({missing}, DType::kF32), Code::kInvalidArgument);
  EXPECT_EQ(code({good, fp8}, DType::kF32), Code::kInvalidArgument);
  EXPECT_EQ(code({good}, DType::kF8E4M3), Code::kInvalidArgument);
  EXPECT_EQ(code({huge}, DType::kF32), Code::kInvalidArgument);
  EXPECT_EQ(code({}, DType::kF32), Code::kInvalidArgument);
  EXPECT_EQ(code({good}, DType::kF16), Code::kInvalidArgument);
  EXPECT_EQ(weights, nullptr);
  EXPECT_EQ(code({good, good}, DType::kBF16), Code::kOk);
  EXPECT_EQ(weights->rows(), 16);
  EXPECT_EQ(weights->cols(), 8);
  EXPECT_GE(weights->bytes(), 16u * 8 * 2);
}

INSTANTIATE_TEST_SUITE_P(Cpu, DeviceTest, testing::ValuesIn(AllDevices()), DeviceParamName);

TEST(MakeCpuDeviceTest, DefaultsToTheBestTierAndTheUsableCores) {
  DeviceStatus status;
  const auto device = MakeCpuDevice({}, &status);
  ASSERT_NE(device, nullptr) << status.message();
  EXPECT_NE(device->Description().find(IsaTierName(BestIsaTier())), std::string::npos);
}

TEST(MakeCpuDeviceTest, RefusesThreadCountsOutOfRange) {
  for (int threads : {-1, 5000}) {
    DeviceStatus status;
    EXPECT_EQ(MakeCpuDevice({threads, {}, false}, &status), nullptr);
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
  }
}

TEST(IsaTierTest, ThePortableTierIsAlwaysThere) {
  EXPECT_TRUE(IsaTierSupported(IsaTier::kPortable));
  EXPECT_TRUE(IsaTierSupported(BestIsaTier()));
}

TEST(IsaTierTest, NoTierBehindTheBestIsSupported) {
  for (IsaTier tier : kIsaTiers) {
    EXPECT_TRUE(tier <= BestIsaTier() || !IsaTierSupported(tier)) << IsaTierName(tier);
  }
}

}  // namespace
}  // namespace quire::kernels
