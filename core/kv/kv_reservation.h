#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/base/ids.h"
#include "kernels/api/views.h"

namespace quire {

class KvCacheManager;

// The blocks taken for one planned step. Commit() once the step has been launched; a reservation
// that dies without it gives every block back and leaves the tables as they were. Move-only.
class KvReservation {
 public:
  KvReservation(KvReservation&& other) noexcept
      : manager_(std::exchange(other.manager_, nullptr)), growth_(std::move(other.growth_)) {}
  KvReservation& operator=(KvReservation&&) = delete;
  ~KvReservation();

  void Commit();

 private:
  friend class KvCacheManager;
  struct Growth {
    SequenceId sequence;
    std::array<size_t, kernels::kMaxCacheClasses> entries_before{};
    int64_t filled_after = 0;
  };

  explicit KvReservation(KvCacheManager* manager) : manager_(manager) {}

  KvCacheManager* manager_;
  std::vector<Growth> growth_;
};

}  // namespace quire
