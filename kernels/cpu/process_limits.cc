#include "kernels/cpu/process_limits.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <sstream>
#include <thread>

#include "kernels/api/device_factory.h"

namespace quire::kernels {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
constexpr char kCgroupMount[] = "/sys/fs/cgroup";

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Nothing when there is no such file or it says "max".
std::optional<int64_t> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

// So that one name of a comma-separated list can be found as a whole.
std::string BetweenCommas(const std::string& list) {
  std::string result(1, ',');
  result += list;
  result += ',';
  return result;
}

int64_t CoresAt(const std::string& folder) {
  int64_t quota = 0;
  int64_t period = 0;
  std::ifstream v2(folder + "/cpu.max");
  if (!(v2 >> quota >> period)) {
    quota = ReadNumber(folder + "/cpu.cfs_quota_us").value_or(0);
    period = ReadNumber(folder + "/cpu.cfs_period_us").value_or(0);
  }
  if (quota <= 0 || period <= 0) return kNoLimit;
  return std::max<int64_t>(1, quota / period);  // a started core would be throttled
}

int64_t RoomAt(const std::string& folder) {
  auto limit = ReadNumber(folder + "/memory.max");
  auto used = ReadNumber(folder + "/memory.current");
  if (!limit) {
    limit = ReadNumber(folder + "/memory.limit_in_bytes");
    used = ReadNumber(folder + "/memory.usage_in_bytes");
  }
  return limit ? std::max<int64_t>(0, *limit - used.value_or(0)) : kNoLimit;
}

int64_t MachineMemory() {
  std::istringstream lines(ReadAll("/proc/meminfo"));
  for (std::string line; std::getline(lines, line);) {
    int64_t kib = 0;
    if (line.rfind("MemAvailable:", 0) == 0 && std::istringstream(line.substr(13)) >> kib) {
      return kib * 1024;
    }
  }
  return kNoLimit;
}

int64_t AffinityCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return std::thread::hardware_concurrency();
}

}  // namespace

std::vector<std::string> CgroupFolders(const std::string& membership, const std::string& mount,
                                       const std::string& controller) {
  const std::string wanted = BetweenCommas(controller);
  std::vector<std::string> folders;
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // "hierarchy:controllers:path"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = BetweenCommas(line.substr(first + 1, second - first - 1));
    const bool v2 = controllers == ",,";
    if (!v2 && controllers.find(wanted) == std::string::npos) continue;
    std::string root = mount;
    if (!v2) root.append("/").append(controller);
    std::string path = line.substr(second + 1);
    while (true) {
      folders.push_back(root + path);
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return folders;
}

int64_t CpuQuotaCores(const std::vector<std::string>& folders) {
  int64_t least = kNoLimit;
  for (const std::string& folder : folders) least = std::min(least, CoresAt(folder));
  return least;
}

int64_t MemoryRoom(const std::vector<std::string>& folders) {
  int64_t least = kNoLimit;
  for (const std::string& folder : folders) least = std::min(least, RoomAt(folder));
  return least;
}

int UsableCores() {
  const auto folders = CgroupFolders(ReadAll("/proc/self/cgroup"), kCgroupMount, "cpu");
  const int64_t cores = std::min(AffinityCores(), CpuQuotaCores(folders));
  return static_cast<int>(std::max<int64_t>(1, cores));
}

size_t AvailableMemory() {
  const auto folders = CgroupFolders(ReadAll("/proc/self/cgroup"), kCgroupMount, "memory");
  return static_cast<size_t>(std::min(MachineMemory(), MemoryRoom(folders)));
}

}  // namespace quire::kernels
