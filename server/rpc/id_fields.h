#pragma once

#include <google/protobuf/repeated_field.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/ids.h"

namespace quire::server {

// Checks and converts ids; `field` is for the message of the InvalidArgument.
absl::StatusOr<std::vector<TokenId>> DecodeIds(absl::string_view field,
                                               const google::protobuf::RepeatedField<uint32_t>& ids,
                                               int32_t vocab_size);

// Reads a count that must be in [low, high].
absl::StatusOr<int32_t> DecodeCount(absl::string_view field, uint32_t value, int32_t low,
                                    int32_t high);

}  // namespace quire::server
