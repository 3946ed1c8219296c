#include "core/model/gguf_path.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr char kExtension[] = ".gguf";

}  // namespace

absl::StatusOr<std::string> FindGgufFile(const std::string& model) {
  std::error_code error;
  if (!std::filesystem::is_directory(model, error)) {
    return absl::EndsWith(model, kExtension) ? model : "";
  }
  std::string found;
  std::string several;
  for (auto it = std::filesystem::directory_iterator(model, error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name == "model.safetensors" || name == "model.safetensors.index.json") return "";
    if (!absl::EndsWith(name, kExtension) || it->is_directory(error)) continue;
    if (!found.empty() && several.empty()) several = absl::StrCat(found, " and ", name);
    found = name;
  }
  if (!several.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(model, ": has more than one GGUF file, such as ",
                                                   several, "; name the file itself"));
  }
  return found.empty() ? "" : absl::StrCat(model, "/", found);
}

}  // namespace quire
