#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quire {

// The byte-level alphabet of GPT-2: vocabularies spell each byte as one printable character, e.g.
// a space as U+0120. Returns the bytes that `token` spells, or nullopt where it has a character
// outside the alphabet.
std::optional<std::string> BytesSpelledBy(std::string_view token);

}  // namespace quire
