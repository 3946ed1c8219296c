#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// What the system lets this process have: its affinity mask, the machine's memory and the control
// groups (version 2 or 1) it is in. UsableCores() is in kernels/api/device_factory.h.

namespace quire::kernels {

// Memory that could still be allocated: what the machine has available, at most what the memory
// limits of the control groups leave.
size_t AvailableMemory();

// The folders whose limits bind a process, from its own group up to the root, for a process whose
// /proc/self/cgroup reads `membership` and with control groups mounted at `mount`. `controller` is
// "cpu" or "memory".
std::vector<std::string> CgroupFolders(const std::string& membership, const std::string& mount,
                                       const std::string& controller);
// The least that any folder allows; the largest value where none sets a limit.
int64_t CpuQuotaCores(const std::vector<std::string>& folders);
int64_t MemoryRoom(const std::vector<std::string>& folders);

}  // namespace quire::kernels
