#include "core/engine/swap_setup.h"

#include <algorithm>

#include "core/base/status_macros.h"
#include "core/model/device_memory.h"

namespace quire {
namespace {

absl::StatusOr<double> MeasureLink(kernels::Device* device, std::span<std::byte> arena,
                                   const Clock& clock) {
  constexpr int kRounds = 3;  // the first also wakes the link up
  const size_t bytes = std::min(arena.size(), size_t{32} << 20);
  kernels::HostBuffer host;
  QUIRE_RETURN_IF_ERROR(
      FromDevice(device->AllocateHost(bytes, &host), "measuring the link to the host"));
  kernels::TransferQueue& transfers = *device->transfers();
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const TimePoint begin = clock.Now();
    transfers.CopyToDevice(arena.data(), host.data(), bytes);
    transfers.CopyToHost(host.data(), arena.data(), bytes);
    transfers.RecordEvent()->Wait();
    const double seconds = ToSeconds(clock.Now() - begin);
    best = round == 0 ? seconds : std::min(best, seconds);
  }
  QUIRE_RETURN_IF_ERROR(FromDevice(device->CheckError(), "measuring the link to the host"));
  return best / static_cast<double>(bytes);
}

absl::StatusOr<Swapping> SetUp(kernels::Device* device, std::span<std::byte> arena,
                               const KvLayouts& classes, size_t bytes, const Clock& clock) {
  Swapping swapping;
  QUIRE_ASSIGN_OR_RETURN(swapping.swapper,
                         BlockSwapper::Create(device, arena.data(), classes,
                                              {.host_bytes = std::min(bytes, arena.size())}));
  QUIRE_ASSIGN_OR_RETURN(swapping.seconds_per_byte, MeasureLink(device, arena, clock));
  return swapping;
}

}  // namespace

absl::StatusOr<Swapping> SetUpSwap(kernels::Device* device, std::span<std::byte> arena,
                                   const KvLayouts& classes, std::optional<int64_t> bytes,
                                   const Clock& clock) {
  if (bytes == 0) return Swapping();
  const auto wanted = static_cast<size_t>(bytes.value_or(kDefaultSwapBytes));
  absl::StatusOr<Swapping> swapping = SetUp(device, arena, classes, wanted, clock);
  if (!swapping.ok() && !bytes.has_value()) return Swapping();
  return swapping;
}

}  // namespace quire
