#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quire {

// A value's way from the outermost object: keys and indices.
using JsonPath = std::vector<std::variant<std::string, size_t>>;

// JSON text, edited where a value stands and nowhere else: order, spacing and how numbers are
// written stay. For text that ParseJson has accepted and that is an object.
class JsonText {
 public:
  explicit JsonText(std::string text) : text_(std::move(text)) {}

  // Puts `value`, which is JSON, in the place of the value at `path`. False when there is none.
  bool Replace(const JsonPath& path, std::string_view value);
  // Adds a field as the outermost object's first, which must not have it.
  void Prepend(const std::string& key, std::string_view value);

  const std::string& text() const { return text_; }

 private:
  struct Range {
    size_t begin = 0, end = 0;
  };
  std::optional<Range> Find(const JsonPath& path) const;
  std::optional<size_t> FindField(size_t object, const std::string& key) const;
  std::optional<size_t> FindElement(size_t array, size_t index) const;
  size_t SkipSpace(size_t at) const;
  size_t EndOfString(size_t at) const;
  size_t EndOfValue(size_t at) const;

  std::string text_;
};

}  // namespace quire
