#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace quire {

// A new directory whose files get their names only once all of them are whole. Until then each has
// a name that ends in kPartialSuffix, so what a process that was killed leaves behind cannot be
// taken for a finished result. Destroying it before Publish() has succeeded removes what it made.
// Move-only.
class StagedDirectory {
 public:
  static constexpr char kPartialSuffix[] = ".partial";

  // Makes the directory, or takes one that is empty. Its parent must exist. AlreadyExists for one
  // with something in it; InvalidArgument for what cannot be a directory.
  static absl::StatusOr<StagedDirectory> Create(const std::string& path);
  StagedDirectory(StagedDirectory&& other) noexcept { *this = std::move(other); }
  StagedDirectory& operator=(StagedDirectory&& other) noexcept;
  ~StagedDirectory();

  // Where to write the file that will be `name`.
  std::string Stage(std::string_view name);

  // Flushes every staged file to the disk, then gives them their names in the order in which they
  // were staged: stage last the one without which a reader takes the others for nothing.
  absl::Status Publish();

 private:
  StagedDirectory(std::string path, bool made) : path_(std::move(path)), made_(made) {}
  std::string FinalPath(const std::string& name) const;
  std::string PartialPath(const std::string& name) const;

  std::string path_;
  bool made_ = false;               // the directory itself
  std::vector<std::string> names_;  // empty once published
  size_t renamed_ = 0;              // how many of them have their names
};

}  // namespace quire
