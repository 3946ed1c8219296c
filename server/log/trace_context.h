#pragma once

#include <optional>
#include <string_view>

namespace quire::server {

// The trace id, 32 hexadecimal digits, of a `traceparent` header (W3C Trace Context); nullopt where
// the header is not well formed. A part of what was given.
std::optional<std::string_view> TraceIdOf(std::string_view traceparent);

}  // namespace quire::server
