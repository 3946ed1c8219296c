#include "core/model/gguf_fields.h"

#include <cstring>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"

namespace quire {
namespace {

template <typename T>
T ElementAt(const GgufValue& value, size_t index) {
  T element;
  std::memcpy(&element, value.data.data() + index * sizeof(T), sizeof(T));
  return element;
}

std::optional<int64_t> IntAt(const GgufValue& value, size_t index) {
  switch (value.type) {
    case GgufValueType::kUint8:
      return ElementAt<uint8_t>(value, index);
    case GgufValueType::kInt8:
      return ElementAt<int8_t>(value, index);
    case GgufValueType::kUint16:
      return ElementAt<uint16_t>(value, index);
    case GgufValueType::kInt16:
      return ElementAt<int16_t>(value, index);
    case GgufValueType::kUint32:
      return ElementAt<uint32_t>(value, index);
    case GgufValueType::kInt32:
      return ElementAt<int32_t>(value, index);
    case GgufValueType::kInt64:
      return ElementAt<int64_t>(value, index);
    case GgufValueType::kUint64: {
      const auto element = ElementAt<uint64_t>(value, index);
      if (element > uint64_t{INT64_MAX}) return std::nullopt;
      return static_cast<int64_t>(element);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> NumberAt(const GgufValue& value, size_t index) {
  if (value.type == GgufValueType::kFloat32) return ElementAt<float>(value, index);
  if (value.type == GgufValueType::kFloat64) return ElementAt<double>(value, index);
  const std::optional<int64_t> integer = IntAt(value, index);
  if (!integer.has_value()) return std::nullopt;
  return static_cast<double>(*integer);
}

// The string at the front of `data`, which is cut off. The parser has checked the lengths.
std::string_view TakeString(std::span<const std::byte>* data) {
  uint64_t length = 0;
  std::memcpy(&length, data->data(), sizeof(length));
  const auto* text = reinterpret_cast<const char*>(data->data()) + sizeof(length);
  *data = data->subspan(sizeof(length) + static_cast<size_t>(length));
  return {text, static_cast<size_t>(length)};
}

std::string Shown(const GgufValue* value) {
  if (value == nullptr) return "nothing";
  if (value->is_array) return absl::StrCat("an array of ", value->count, " elements");
  if (value->type == GgufValueType::kString) {
    std::span<const std::byte> data = value->data;
    const std::string text(TakeString(&data).substr(0, kGgufShownBytes));
    return absl::StrCat("'", absl::CHexEscape(text), "'");
  }
  if (value->type == GgufValueType::kBool) return ElementAt<uint8_t>(*value, 0) ? "true" : "false";
  const std::optional<double> number = NumberAt(*value, 0);
  return number.has_value() ? absl::StrCat(*number) : "a number out of range";
}

}  // namespace

const GgufValue* GgufFields::Find(std::string_view key) const {
  const auto it = file_.metadata.find(absl::string_view(key.data(), key.size()));
  return it == file_.metadata.end() ? nullptr : &it->second;
}

absl::Status GgufFields::Error(std::string_view key, std::string_view expectation) const {
  return absl::InvalidArgumentError(absl::StrCat(where_, ": key '", std::string(key), "' must be ",
                                                 std::string(expectation), ", found ",
                                                 Shown(Find(key))));
}

absl::StatusOr<int64_t> GgufFields::Int(std::string_view key, int64_t min, int64_t max) const {
  const GgufValue* value = Find(key);
  if (value != nullptr && !value->is_array) {
    const std::optional<int64_t> integer = IntAt(*value, 0);
    if (integer.has_value() && *integer >= min && *integer <= max) return *integer;
  }
  return Error(key, absl::StrCat("an integer in [", min, ", ", max, "]"));
}

absl::StatusOr<int64_t> GgufFields::IntOr(std::string_view key, int64_t fallback, int64_t min,
                                          int64_t max) const {
  if (!Has(key)) return fallback;
  return Int(key, min, max);
}

absl::StatusOr<double> GgufFields::Number(std::string_view key, double min, double max) const {
  const GgufValue* value = Find(key);
  if (value != nullptr && !value->is_array) {
    const std::optional<double> number = NumberAt(*value, 0);
    if (number.has_value() && *number >= min && *number <= max) return *number;
  }
  return Error(key, absl::StrCat("a number in [", min, ", ", max, "]"));
}

absl::StatusOr<double> GgufFields::NumberOr(std::string_view key, double fallback, double min,
                                            double max) const {
  if (!Has(key)) return fallback;
  return Number(key, min, max);
}

absl::StatusOr<bool> GgufFields::BoolOr(std::string_view key, bool fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_array || value->type != GgufValueType::kBool) return Error(key, "true or false");
  return ElementAt<uint8_t>(*value, 0) != 0;
}

absl::StatusOr<std::string_view> GgufFields::String(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr || value->is_array || value->type != GgufValueType::kString) {
    return Error(key, "a string");
  }
  std::span<const std::byte> data = value->data;
  return TakeString(&data);
}

absl::StatusOr<std::string_view> GgufFields::StringOr(std::string_view key,
                                                      std::string_view fallback) const {
  if (!Has(key)) return fallback;
  return String(key);
}

absl::StatusOr<std::vector<int64_t>> GgufFields::Ints(std::string_view key, size_t count,
                                                      int64_t min, int64_t max) const {
  const GgufValue* value = Find(key);
  const auto error = [&] {
    return Error(key, absl::StrCat("an integer in [", min, ", ", max, "], or an array of ", count,
                                   " of them"));
  };
  if (value == nullptr || (value->is_array && value->count != count)) return error();
  std::vector<int64_t> integers;
  for (size_t i = 0; i < count; ++i) {
    const std::optional<int64_t> integer = IntAt(*value, value->is_array ? i : 0);
    if (!integer.has_value() || *integer < min || *integer > max) return error();
    integers.push_back(*integer);
  }
  return integers;
}

absl::StatusOr<std::vector<std::string_view>> GgufFields::Strings(std::string_view key,
                                                                  size_t max_count) const {
  const GgufValue* value = Find(key);
  if (value == nullptr || !value->is_array || value->type != GgufValueType::kString) {
    return Error(key, "an array of strings");
  }
  if (value->count > max_count) {
    return Error(key, absl::StrCat("an array of at most ", max_count, " strings"));
  }
  std::span<const std::byte> data = value->data;
  std::vector<std::string_view> strings;
  strings.reserve(static_cast<size_t>(value->count));
  while (!data.empty()) strings.push_back(TakeString(&data));
  return strings;
}

absl::StatusOr<std::vector<double>> GgufFields::Numbers(std::string_view key) const {
  const GgufValue* value = Find(key);
  const bool is_array = value != nullptr && value->is_array;
  std::vector<double> numbers;
  for (uint64_t i = 0; is_array && i < value->count; ++i) {
    const std::optional<double> number = NumberAt(*value, static_cast<size_t>(i));
    if (!number.has_value()) return Error(key, "an array of numbers");
    numbers.push_back(*number);
  }
  if (!is_array) return Error(key, "an array of numbers");
  return numbers;
}

}  // namespace quire
