#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quire {

// Parses `text` that comes from outside. InvalidArgument, with `where` and the position, when it is
// not JSON, nests deeper than `max_depth` or has the same key twice in one object.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view where,
                                         int max_depth = 32);

// Checked access to the fields of a JSON object. A null counts as absent. Errors are
// InvalidArgument: "<where>: field '<name>' must be <expectation>, found <value>".
// The object must outlive it.
class JsonFields {
 public:
  JsonFields(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  bool Has(std::string_view field) const { return Find(field) != nullptr; }
  const nlohmann::json* Find(std::string_view field) const;  // null when absent
  bool IsNull(std::string_view field) const;  // there, but null: for fields where that is a value

  absl::StatusOr<int64_t> Int(std::string_view field, int64_t min, int64_t max) const;
  absl::StatusOr<double> Number(std::string_view field, double min, double max) const;
  absl::StatusOr<int64_t> IntOr(std::string_view field, int64_t fallback, int64_t min,
                                int64_t max) const;
  absl::StatusOr<double> NumberOr(std::string_view field, double fallback, double min,
                                  double max) const;
  absl::StatusOr<bool> BoolOr(std::string_view field, bool fallback) const;
  absl::StatusOr<std::string> StringOr(std::string_view field, std::string fallback) const;

  absl::Status Error(std::string_view field, std::string_view expectation) const;
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace quire
