#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/base/ids.h"

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
    int32_t blocks_before = 0;
    int64_t filled_after = 0;
  };

  explicit KvReservation(KvCacheManager* manager) : manager_(manager) {}

  KvCacheManager* manager_;
  std::vector<Growth> growth_;
};

}  // namespace quire
