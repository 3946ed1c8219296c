#include "kernels/cpu/process_limits.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "kernels/api/device_factory.h"

namespace quire::kernels {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

class ProcessLimitsTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    mount_ = std::filesystem::path(testing::TempDir()) / (std::string("cgroup_") + info->name());
    std::filesystem::remove_all(mount_);
  }
  void TearDown() override { std::filesystem::remove_all(mount_); }

  void Write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((mount_ / file).parent_path());
    std::ofstream(mount_ / file) << text;
  }
  int64_t Cores(const std::string& membership) {
    return CpuQuotaCores(CgroupFolders(membership, mount_, "cpu"));
  }
  int64_t Room(const std::string& membership) {
    return MemoryRoom(CgroupFolders(membership, mount_, "memory"));
  }
  std::filesystem::path mount_;
};

TEST_F(ProcessLimitsTest, TheTightestQuotaUpToTheRootCountsInWholeCores) {
  Write("a/cpu.max", "350000 100000\n");
  Write("a/b/cpu.max", "max 100000\n");
  Write("a/c/cpu.max", "50000 100000\n");
  EXPECT_EQ(Cores("0::/a/b\n"), 3);
  EXPECT_EQ(Cores("0::/a/c\n"), 1);
  EXPECT_EQ(Cores("0::/elsewhere\n"), kNoLimit);
  EXPECT_EQ(Cores("0::/\n"), kNoLimit);
}

TEST_F(ProcessLimitsTest, VersionOneHierarchiesCountToo) {
  Write("cpu/box/cpu.cfs_quota_us", "200000\n");
  Write("cpu/box/cpu.cfs_period_us", "100000\n");
  Write("cpu/free/cpu.cfs_quota_us", "-1\n");
  Write("cpu/free/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Cores("5:memory:/box\n4:cpu,cpuacct:/box\n"), 2);
  EXPECT_EQ(Cores("4:cpu,cpuacct:/free\n"), kNoLimit);
  EXPECT_EQ(Cores("7:cpuset:/box\n"), kNoLimit);
}

TEST_F(ProcessLimitsTest, MemoryRoomIsLimitMinusUse) {
  Write("a/memory.max", "1000\n");
  Write("a/memory.current", "400\n");
  Write("a/b/memory.max", "max\n");
  Write("memory/box/memory.limit_in_bytes", "500\n");
  Write("memory/box/memory.usage_in_bytes", "600\n");
  EXPECT_EQ(Room("0::/a/b\n"), 600);
  EXPECT_EQ(Room("3:memory:/box\n"), 0);
  EXPECT_EQ(Room("0::/\n"), kNoLimit);
}

TEST_F(ProcessLimitsTest, GarbageIsNoLimit) {
  Write("a/cpu.max", "lots of cores\n");
  Write("a/memory.max", "");
  EXPECT_EQ(Cores("0::/a\nno colons\n:\n"), kNoLimit);
  EXPECT_EQ(Room("0::/a\n"), kNoLimit);
}

TEST(ThisProcessTest, HasACoreAndSomeMemory) {
  EXPECT_GE(UsableCores(), 1);
  EXPECT_GT(AvailableMemory(), size_t{1} << 20);
}

}  // namespace
}  // namespace quire::kernels
