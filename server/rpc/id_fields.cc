#include "server/rpc/id_fields.h"

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"

namespace quire::server {

absl::StatusOr<std::vector<TokenId>> DecodeIds(absl::string_view field,
                                               const google::protobuf::RepeatedField<uint32_t>& ids,
                                               int32_t vocab_size) {
  std::vector<TokenId> result;
  result.reserve(static_cast<size_t>(ids.size()));
  for (int i = 0; i < ids.size(); ++i) {
    if (ids[i] >= static_cast<uint32_t>(vocab_size)) {
      return InvalidField(
          field, absl::StrCat("[", i, "] is ", ids[i], "; ids of this model run from 0 to ",
                              vocab_size - 1));
    }
    result.push_back(static_cast<TokenId>(ids[i]));
  }
  return result;
}

absl::StatusOr<int32_t> DecodeCount(absl::string_view field, uint32_t value, int32_t low,
                                    int32_t high) {
  const int64_t count = value;
  if (count >= low && count <= high) return static_cast<int32_t>(count);
  return InvalidField(field, absl::StrCat(" is ", value, "; it must be from ", low, " to ", high));
}

}  // namespace quire::server
