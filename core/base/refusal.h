#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/clock.h"

namespace quire {

// What a refusal tells the caller's program beside its message for people. Travels in the status,
// so that whatever is between passes it on.
struct Refusal {
  std::string reason;  // a constant of the API, such as "TENANT_QUEUE_FULL"
  std::optional<Duration> retry_after = std::nullopt;  // set where waiting helps
};

absl::Status Refuse(absl::StatusCode code, absl::string_view message, const Refusal& refusal);
// Of a status that Refuse() made; nullopt for others.
std::optional<Refusal> RefusalOf(const absl::Status& status);

}  // namespace quire
