#include "core/model/json_fields.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace quire {
namespace {

using nlohmann::json;

constexpr size_t kShownBytes = 160;  // of outside text that goes into an error message

std::string Shortened(std::string text, size_t limit) {
  if (text.size() > limit) text = text.substr(0, limit) + "...";
  return text;
}

// Looked at before the parser runs: it keeps a stack entry a level and would take whatever comes.
bool NestsDeeperThan(std::string_view text, int max_depth) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > max_depth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

// Parser callback that notes the first key an object has twice. JSON leaves open which one counts,
// so two readers of one file might disagree on what it says.
class DuplicateKeyFinder {
 public:
  bool operator()(int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second && duplicate_.empty()) duplicate_ = "'" + key + "'";
    }
    return true;
  }
  const std::string& duplicate() const { return duplicate_; }

 private:
  std::vector<absl::flat_hash_set<std::string>> keys_;
  std::string duplicate_;
};

}  // namespace

absl::StatusOr<json> ParseJson(std::string_view text, std::string_view where, int max_depth) {
  const std::string place(where);
  if (NestsDeeperThan(text, max_depth)) {
    return absl::InvalidArgumentError(
        absl::StrCat(place, ": nested deeper than ", max_depth, " levels"));
  }
  DuplicateKeyFinder finder;
  json parsed;
  try {
    parsed = json::parse(text, std::ref(finder));
  } catch (const json::exception& e) {
    return absl::InvalidArgumentError(
        absl::StrCat(place, ": not valid JSON: ", Shortened(e.what(), kShownBytes)));
  }
  if (!finder.duplicate().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        place, ": the key ", Shortened(finder.duplicate(), kShownBytes), " appears twice"));
  }
  return parsed;
}

const json* JsonFields::Find(std::string_view field) const {
  const auto it = object_.find(std::string(field));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool JsonFields::IsNull(std::string_view field) const {
  const auto it = object_.find(std::string(field));
  return it != object_.end() && it->is_null();
}

absl::Status JsonFields::Error(std::string_view field, std::string_view expectation) const {
  const json* value = Find(field);
  const std::string found =
      value == nullptr
          ? "nothing"
          : Shortened(value->dump(-1, ' ', true, json::error_handler_t::replace), kShownBytes);
  return absl::InvalidArgumentError(absl::StrCat(where_, ": field '", std::string(field),
                                                 "' must be ", std::string(expectation), ", found ",
                                                 found));
}

absl::StatusOr<int64_t> JsonFields::Int(std::string_view field, int64_t min, int64_t max) const {
  const json* value = Find(field);
  const auto fits = [&] {
    if (value == nullptr || !value->is_number_integer()) return false;
    // An unsigned value above the signed range would turn negative in get<int64_t>.
    if (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX}) return false;
    return value->get<int64_t>() >= min && value->get<int64_t>() <= max;
  };
  if (!fits()) return Error(field, absl::StrCat("an integer in [", min, ", ", max, "]"));
  return value->get<int64_t>();
}

absl::StatusOr<double> JsonFields::Number(std::string_view field, double min, double max) const {
  const json* value = Find(field);
  if (value == nullptr || !value->is_number() ||
      !(value->get<double>() >= min && value->get<double>() <= max)) {
    return Error(field, absl::StrCat("a number in [", min, ", ", max, "]"));
  }
  return value->get<double>();
}

absl::StatusOr<int64_t> JsonFields::IntOr(std::string_view field, int64_t fallback, int64_t min,
                                          int64_t max) const {
  if (!Has(field)) return fallback;
  return Int(field, min, max);
}

absl::StatusOr<double> JsonFields::NumberOr(std::string_view field, double fallback, double min,
                                            double max) const {
  if (!Has(field)) return fallback;
  return Number(field, min, max);
}

absl::StatusOr<bool> JsonFields::BoolOr(std::string_view field, bool fallback) const {
  const json* value = Find(field);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return Error(field, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonFields::StringOr(std::string_view field,
                                                 std::string fallback) const {
  const json* value = Find(field);
  if (value == nullptr) return fallback;
  if (!value->is_string()) return Error(field, "a string");
  return value->get<std::string>();
}

}  // namespace quire
