#include "server/metadata_text.h"

#include <algorithm>

namespace quire::server {

bool IsMetadataKey(std::string_view key) {
  const bool legal = std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
  return legal && !key.empty() && !key.starts_with("grpc-") && !key.ends_with("-bin");
}

bool IsMetadataText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace quire::server
