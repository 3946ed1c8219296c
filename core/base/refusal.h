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
  std::string field = {};                              // of the request, where one is to blame
};

absl::Status Refuse(absl::StatusCode code, absl::string_view message, const Refusal& refusal);
// InvalidArgument with the reason INVALID_FIELD. The message is the field's name and `what`, such
// as " is 5; it must be from 1 to 4".
absl::Status InvalidField(absl::string_view field, absl::string_view what);
// Of a status that Refuse() made; nullopt for others.
std::optional<Refusal> RefusalOf(const absl::Status& status);

}  // namespace quire
