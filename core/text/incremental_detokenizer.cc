#include "core/text/incremental_detokenizer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/base/check.h"
#include "core/text/utf8.h"

namespace quire {

void IncrementalDetokenizer::Append(TokenId id) {
  if (start_.is_over) {
    pending_ += tokenizer_.TokenBytes(id);
    return;
  }
  const std::string_view bytes = tokenizer_.BytesAtStart(id, start_);
  dropped_ += tokenizer_.TokenBytes(id).size() - bytes.size();
  pending_ += bytes;
}

std::string IncrementalDetokenizer::TakeText(size_t hold_back_bytes) {
  if (hold_back_bytes >= pending_.size()) return "";
  const std::string_view shown(pending_.data(), pending_.size() - hold_back_bytes);
  const size_t complete = CompletePrefixLength(shown);
  std::string text = ReplaceInvalidUtf8(shown.substr(0, complete), tokenizer_.ill_formed());
  pending_.erase(0, complete);
  if (complete > 0) dropped_ = 0;
  return text;
}

std::string IncrementalDetokenizer::Finish(size_t trim_bytes) {
  QUIRE_CHECK(trim_bytes <= pending_.size() + dropped_)
      << trim_bytes << " bytes to trim, but all except " << pending_.size() << " were shown";
  const std::string rest = std::exchange(pending_, {});
  return ReplaceInvalidUtf8(
      std::string_view(rest).substr(0, rest.size() - std::min(trim_bytes, rest.size())),
      tokenizer_.ill_formed());
}

}  // namespace quire
