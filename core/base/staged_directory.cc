#include "core/base/staged_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace quire {
namespace {

namespace fs = std::filesystem;

absl::Status Flush(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  const absl::Cleanup close_fd = [fd] {
    if (fd >= 0) close(fd);
  };
  if (fd >= 0 && fsync(fd) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("flushing ", path, ": ", std::strerror(errno)));
}

absl::Status RefuseContents(const std::string& path, const fs::path& found) {
  std::string message = absl::StrCat(path, ": must be a new or an empty directory, but holds ",
                                     found.filename().string());
  if (absl::EndsWith(found.filename().string(), StagedDirectory::kPartialSuffix)) {
    absl::StrAppend(&message, ", of a run that was interrupted; remove the directory");
  }
  return absl::AlreadyExistsError(message);
}

}  // namespace

absl::StatusOr<StagedDirectory> StagedDirectory::Create(const std::string& path) {
  std::error_code error;
  if (fs::create_directory(path, error)) return StagedDirectory(path, true);
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": cannot be made a directory: ", error ? error.message() : "it is a file"));
  }
  const fs::directory_iterator contents(path, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
  if (contents != fs::directory_iterator()) return RefuseContents(path, contents->path());
  return StagedDirectory(path, false);
}

StagedDirectory& StagedDirectory::operator=(StagedDirectory&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(made_, other.made_);
  std::swap(names_, other.names_);
  std::swap(renamed_, other.renamed_);
  return *this;
}

StagedDirectory::~StagedDirectory() {
  std::error_code ignored;
  for (size_t i = 0; i < names_.size(); ++i) {
    fs::remove(i < renamed_ ? FinalPath(names_[i]) : PartialPath(names_[i]), ignored);
  }
  if (made_) fs::remove(path_, ignored);
}

std::string StagedDirectory::Stage(std::string_view name) {
  return PartialPath(names_.emplace_back(name));
}

absl::Status StagedDirectory::Publish() {
  for (const std::string& name : names_) {
    QUIRE_RETURN_IF_ERROR(Flush(PartialPath(name), O_RDONLY));
  }
  for (const std::string& name : names_) {
    std::error_code error;
    fs::rename(PartialPath(name), FinalPath(name), error);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat("renaming to ", FinalPath(name), ": ", error.message()));
    }
    ++renamed_;
  }
  QUIRE_RETURN_IF_ERROR(Flush(path_, O_RDONLY | O_DIRECTORY));
  names_.clear();
  made_ = false;
  return absl::OkStatus();
}

std::string StagedDirectory::FinalPath(const std::string& name) const {
  return absl::StrCat(path_, "/", name);
}

std::string StagedDirectory::PartialPath(const std::string& name) const {
  return absl::StrCat(path_, "/", name, kPartialSuffix);
}

}  // namespace quire
