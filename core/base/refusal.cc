#include "core/base/refusal.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr char kReason[] = "quire/reason";
constexpr char kRetryAfter[] = "quire/retry-after-nanoseconds";
constexpr char kField[] = "quire/field";

}  // namespace

absl::Status Refuse(absl::StatusCode code, absl::string_view message, const Refusal& refusal) {
  absl::Status status(code, message);
  status.SetPayload(kReason, absl::Cord(refusal.reason));
  if (!refusal.field.empty()) status.SetPayload(kField, absl::Cord(refusal.field));
  if (refusal.retry_after.has_value()) {
    const auto nanoseconds =
        std::chrono::duration_cast<std::chrono::nanoseconds>(*refusal.retry_after);
    status.SetPayload(kRetryAfter, absl::Cord(absl::StrCat(nanoseconds.count())));
  }
  return status;
}

absl::Status InvalidField(absl::string_view field, absl::string_view what) {
  return Refuse(absl::StatusCode::kInvalidArgument, absl::StrCat(field, what),
                {.reason = "INVALID_FIELD", .field = std::string(field)});
}

std::optional<Refusal> RefusalOf(const absl::Status& status) {
  const auto reason = status.GetPayload(kReason);
  if (!reason.has_value()) return std::nullopt;
  Refusal refusal{.reason = std::string(*reason), .retry_after = std::nullopt};
  if (const auto field = status.GetPayload(kField); field.has_value()) {
    refusal.field = std::string(*field);
  }
  int64_t nanoseconds = 0;
  if (const auto after = status.GetPayload(kRetryAfter);
      after.has_value() && absl::SimpleAtoi(std::string(*after), &nanoseconds)) {
    refusal.retry_after = std::chrono::nanoseconds(nanoseconds);
  }
  return refusal;
}

}  // namespace quire
