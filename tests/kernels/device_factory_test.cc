#include "kernels/api/device_factory.h"

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_device.h"

namespace quire::kernels {
namespace {

DeviceStatus Create(const std::string& cpu_tier, std::unique_ptr<Device>* device) {
  return CreateDevice({.kind = "cpu", .threads = 1, .cpu_tier = cpu_tier}, device);
}

TEST(CreateDeviceTest, TheTierIsTheOneThatIsNamedAndAutoIsTheBest) {
  for (IsaTier tier : kIsaTiers) {
    if (!IsaTierSupported(tier)) continue;
    std::unique_ptr<Device> device;
    const DeviceStatus status = Create(IsaTierName(tier), &device);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(device->Description(), std::string("cpu, ") + IsaTierName(tier) + ", 1 thread");
  }
  std::unique_ptr<Device> device;
  ASSERT_TRUE(Create("auto", &device).ok());
  EXPECT_NE(device->Description().find(IsaTierName(BestIsaTier())), std::string::npos);
}

TEST(CreateDeviceTest, AnUnknownTierIsRefusedWithThoseThereAre) {
  for (const char* name : {"", "sse9", "AVX2", "avx2 "}) {
    std::unique_ptr<Device> device;
    const DeviceStatus status = Create(name, &device);
    EXPECT_EQ(status.code(), DeviceStatus::Code::kInvalidArgument);
    EXPECT_EQ(device, nullptr);
    EXPECT_EQ(status.message(), std::string("unknown CPU tier '") + name +
                                    "'; use one of auto, portable, avx2, avx512_bf16, amx");
  }
}

TEST(CreateDeviceTest, ATierThatTheProcessorLacksIsRefusedWithWhatToUse) {
  int lacking = 0;
  for (IsaTier tier : kIsaTiers) {
    if (IsaTierSupported(tier)) continue;
    ++lacking;
    std::unique_ptr<Device> device;
    const DeviceStatus status = Create(IsaTierName(tier), &device);
    EXPECT_EQ(status.code(), DeviceStatus::Code::kInvalidArgument);
    EXPECT_EQ(device, nullptr);
    for (const char* part : {IsaTierName(tier), IsaTierName(BestIsaTier())}) {
      EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    }
  }
  if (lacking == 0) GTEST_SKIP() << "this processor has every tier";
}

}  // namespace
}  // namespace quire::kernels
