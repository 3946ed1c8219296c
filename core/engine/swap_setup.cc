#include "core/engine/swap_setup.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/device_memory.h"

namespace quire {

absl::StatusOr<std::unique_ptr<BlockSwapper>> MakeSwapper(kernels::Device* device, std::byte* arena,
                                                          size_t arena_bytes,
                                                          const KvLayouts& classes,
                                                          std::optional<int64_t> bytes) {
  if (bytes == 0) return nullptr;
  if (device->transfers() == nullptr && !bytes.has_value()) return nullptr;
  const auto wanted = static_cast<size_t>(bytes.value_or(kDefaultSwapBytes));
  auto swapper =
      BlockSwapper::Create(device, arena, classes, {.host_bytes = std::min(wanted, arena_bytes)});
  if (!swapper.ok() && !bytes.has_value() && absl::IsResourceExhausted(swapper.status())) {
    return nullptr;
  }
  return swapper;
}

absl::StatusOr<double> MeasureSwapCost(kernels::Device* device, std::byte* arena,
                                       size_t arena_bytes, const Clock& clock) {
  constexpr int kRounds = 3;  // the first also wakes the link up
  const size_t bytes = std::min(arena_bytes, size_t{32} << 20);
  kernels::HostBuffer host;
  QUIRE_RETURN_IF_ERROR(
      FromDevice(device->AllocateHost(bytes, &host), "measuring the link to the host"));
  kernels::TransferQueue& transfers = *device->transfers();
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const TimePoint begin = clock.Now();
    transfers.CopyToDevice(arena, host.data(), bytes);
    transfers.CopyToHost(host.data(), arena, bytes);
    transfers.RecordEvent()->Wait();
    const double seconds = ToSeconds(clock.Now() - begin);
    best = round == 0 ? seconds : std::min(best, seconds);
  }
  QUIRE_RETURN_IF_ERROR(FromDevice(device->CheckError(), "measuring the link to the host"));
  return best / static_cast<double>(bytes);
}

}  // namespace quire
