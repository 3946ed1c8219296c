#include "core/text/incremental_detokenizer.h"

#include <string_view>
#include <utility>

#include "core/base/check.h"
#include "core/text/utf8.h"

namespace quire {

std::string IncrementalDetokenizer::TakeText(size_t hold_back_bytes) {
  if (hold_back_bytes >= pending_.size()) return "";
  const std::string_view shown(pending_.data(), pending_.size() - hold_back_bytes);
  const size_t complete = CompletePrefixLength(shown);
  std::string text = ReplaceInvalidUtf8(shown.substr(0, complete));
  pending_.erase(0, complete);
  return text;
}

std::string IncrementalDetokenizer::Finish(size_t trim_bytes) {
  QUIRE_CHECK(trim_bytes <= pending_.size())
      << trim_bytes << " bytes to trim, but all except " << pending_.size() << " were shown";
  const std::string rest = std::exchange(pending_, {});
  return ReplaceInvalidUtf8(std::string_view(rest).substr(0, rest.size() - trim_bytes));
}

}  // namespace quire
