#include "core/regroup/json_text.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr char kSpace[] = " \t\r\n";

}  // namespace

bool JsonText::Replace(const JsonPath& path, std::string_view value) {
  const std::optional<Range> range = Find(path);
  if (!range.has_value()) return false;
  text_.replace(range->begin, range->end - range->begin, value);
  return true;
}

void JsonText::Prepend(const std::string& key, std::string_view value) {
  const size_t inside = text_.find('{') + 1;
  const size_t first = SkipSpace(inside);
  const std::string space = text_.substr(inside, first - inside);
  const char* comma = text_[first] == '}' ? "" : ",";
  text_.insert(inside,
               absl::StrCat(space, nlohmann::json(key).dump(), ": ", std::string(value), comma));
}

std::optional<JsonText::Range> JsonText::Find(const JsonPath& path) const {
  size_t at = text_.find('{');  // a byte order mark may stand before it
  for (const auto& step : path) {
    const auto* key = std::get_if<std::string>(&step);
    const std::optional<size_t> next =
        key != nullptr ? FindField(at, *key) : FindElement(at, std::get<size_t>(step));
    if (!next.has_value()) return std::nullopt;
    at = *next;
  }
  return Range{at, EndOfValue(at)};
}

std::optional<size_t> JsonText::FindField(size_t object, const std::string& key) const {
  if (text_[object] != '{') return std::nullopt;
  for (size_t at = SkipSpace(object + 1); text_[at] == '"';) {
    const size_t key_end = EndOfString(at);
    // Parsed, as a key may be written with escapes.
    const bool found = nlohmann::json::parse(text_.substr(at, key_end - at)) == key;
    at = SkipSpace(SkipSpace(key_end) + 1);
    if (found) return at;
    at = SkipSpace(EndOfValue(at));
    if (text_[at] == ',') at = SkipSpace(at + 1);
  }
  return std::nullopt;
}

std::optional<size_t> JsonText::FindElement(size_t array, size_t index) const {
  if (text_[array] != '[') return std::nullopt;
  size_t at = SkipSpace(array + 1);
  for (size_t i = 0; text_[at] != ']'; ++i) {
    if (i == index) return at;
    at = SkipSpace(EndOfValue(at));
    if (text_[at] == ',') at = SkipSpace(at + 1);
  }
  return std::nullopt;
}

size_t JsonText::SkipSpace(size_t at) const { return text_.find_first_not_of(kSpace, at); }

size_t JsonText::EndOfString(size_t at) const {
  for (++at; text_[at] != '"'; ++at) {
    if (text_[at] == '\\') ++at;
  }
  return at + 1;
}

size_t JsonText::EndOfValue(size_t at) const {
  if (text_[at] == '"') return EndOfString(at);
  if (text_[at] != '{' && text_[at] != '[') return text_.find_first_of(",]} \t\r\n", at);
  int depth = 0;
  do {
    if (text_[at] == '"') {
      at = EndOfString(at);
      continue;
    }
    if (text_[at] == '{' || text_[at] == '[') ++depth;
    if (text_[at] == '}' || text_[at] == ']') --depth;
    ++at;
  } while (depth > 0);
  return at;
}

}  // namespace quire
