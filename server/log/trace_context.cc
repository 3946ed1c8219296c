#include "server/log/trace_context.h"

#include <algorithm>

namespace quire::server {
namespace {

// VERSION-TRACE_ID-PARENT_ID-FLAGS
constexpr size_t kVersionBytes = 2;
constexpr size_t kTraceIdPlace = 3, kTraceIdBytes = 32;
constexpr size_t kParentIdPlace = 36, kParentIdBytes = 16;
constexpr size_t kFlagsPlace = 53, kFlagsBytes = 2;
constexpr size_t kBytes = 55;

bool IsHex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsId(std::string_view text) {
  return IsHex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

std::optional<std::string_view> TraceIdOf(std::string_view traceparent) {
  if (traceparent.size() < kBytes) return std::nullopt;
  const std::string_view version = traceparent.substr(0, kVersionBytes);
  const std::string_view trace_id = traceparent.substr(kTraceIdPlace, kTraceIdBytes);
  // Later versions may say more, behind another dash.
  const bool ends = traceparent.size() == kBytes || (version != "00" && traceparent[kBytes] == '-');
  const bool dashes = traceparent[kTraceIdPlace - 1] == '-' &&
                      traceparent[kParentIdPlace - 1] == '-' && traceparent[kFlagsPlace - 1] == '-';
  const bool well_formed = ends && dashes && IsHex(version) && version != "ff" && IsId(trace_id) &&
                           IsId(traceparent.substr(kParentIdPlace, kParentIdBytes)) &&
                           IsHex(traceparent.substr(kFlagsPlace, kFlagsBytes));
  return well_formed ? std::optional(trace_id) : std::nullopt;
}

}  // namespace quire::server
