#include "server/cli/check_files.h"

#include <openssl/evp.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"

namespace quire::cli {
namespace {

namespace fs = std::filesystem;

constexpr char kSumsName[] = "SHA256SUMS";
constexpr size_t kMaxSumsLines = 10000;

struct Sum {
  std::string hex;
  std::string file;
};

absl::Status CheckNotAPointer(const fs::path& path) {
  constexpr std::string_view kPointer = "version https://git-lfs.github.com/spec/";
  std::array<char, kPointer.size()> start{};
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), start.size());
  if (std::string_view(start.data(), start.size()) != kPointer) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path.string(), " is a Git LFS pointer, not the file itself; run git lfs pull"));
}

// A line of sha256sum: 64 hex digits, a space, a space or an asterisk, the name.
std::optional<Sum> ParseSum(const std::string& line) {
  constexpr size_t kDigits = 64;
  if (line.size() < kDigits + 3 || line[kDigits] != ' ') return std::nullopt;
  for (size_t i = 0; i < kDigits; ++i) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(line[i]))) return std::nullopt;
  }
  return Sum{absl::AsciiStrToLower(line.substr(0, kDigits)), line.substr(kDigits + 2)};
}

absl::StatusOr<std::vector<Sum>> ReadSums(const fs::path& path) {
  std::vector<Sum> sums;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    const std::optional<Sum> sum = ParseSum(line);
    if (!sum.has_value() || sums.size() == kMaxSumsLines) {
      return absl::InvalidArgumentError(absl::StrCat(path.string(), ": line ", sums.size() + 1,
                                                     " is not a hash and a file name"));
    }
    // The list speaks of this directory alone.
    if (fs::path(sum->file).has_parent_path() || sum->file == "..") {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), " names ", sum->file, ", which is not in its directory"));
    }
    sums.push_back(*sum);
  }
  return sums;
}

absl::StatusOr<std::string> Sha256(const fs::path& path,
                                   const std::function<void(int64_t)>& count) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path.string()));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) {
    return absl::InternalError("SHA-256 is not available");
  }
  std::vector<char> piece(size_t{1} << 20);
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    EVP_DigestUpdate(context.get(), piece.data(), static_cast<size_t>(file.gcount()));
    count(file.gcount());
  }
  if (!file.eof())
    return absl::UnavailableError(absl::StrCat("reading ", path.string(), " failed"));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &size);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
}

}  // namespace

absl::StatusOr<std::string> CheckFiles(const std::string& model_dir, const FileProgress& progress) {
  std::error_code error;
  if (fs::is_regular_file(model_dir, error)) {
    QUIRE_RETURN_IF_ERROR(CheckNotAPointer(model_dir));
    return "one file";
  }
  if (!fs::is_directory(model_dir, error)) {
    return absl::NotFoundError(absl::StrCat(model_dir, " is neither a directory nor a file"));
  }
  int64_t files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(model_dir, error)) {
    if (!entry.is_regular_file(error)) continue;
    QUIRE_RETURN_IF_ERROR(CheckNotAPointer(entry.path()));
    ++files;
  }
  const fs::path dir(model_dir);
  if (!fs::exists(dir / kSumsName, error)) return absl::StrCat(files, " files, no ", kSumsName);
  QUIRE_ASSIGN_OR_RETURN(const std::vector<Sum> sums, ReadSums(dir / kSumsName));
  int64_t total = 0, done = 0;
  for (const Sum& sum : sums) {
    const auto bytes = fs::file_size(dir / sum.file, error);
    total += error ? 0 : static_cast<int64_t>(bytes);
  }
  for (const Sum& sum : sums) {
    QUIRE_ASSIGN_OR_RETURN(const std::string hex, Sha256(dir / sum.file, [&](int64_t bytes) {
                             progress(done += bytes, total);
                           }));
    if (hex == sum.hex) continue;
    return absl::InvalidArgumentError(absl::StrCat((dir / sum.file).string(), " has the hash ", hex,
                                                   ", but ", kSumsName, " says ", sum.hex,
                                                   "; download it again"));
  }
  return absl::StrCat(files, " files, ", sums.size(), " hashes are right");
}

}  // namespace quire::cli
