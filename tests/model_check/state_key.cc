#include "tests/model_check/state_key.h"

#include "absl/hash/hash.h"

namespace quire::testing {

StateKey::Digest StateKey::digest() const {
  return {absl::HashOf(values_, 0), absl::HashOf(1, values_)};
}

}  // namespace quire::testing
