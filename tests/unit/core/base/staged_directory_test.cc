#include "core/base/staged_directory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace quire {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TempDir;

class StagedDirectoryTest : public ::testing::Test {
 protected:
  std::optional<StagedDirectory> Create() {
    auto created = StagedDirectory::Create(path_);
    EXPECT_TRUE(created.ok()) << created.status();
    if (!created.ok()) return std::nullopt;
    return *std::move(created);
  }
  static void Write(StagedDirectory* directory, const std::string& name) {
    std::ofstream(directory->Stage(name)) << "content of " << name;
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path_)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  TempDir parent_;
  const std::string path_ = parent_.File("out");
};

TEST_F(StagedDirectoryTest, GivesFilesTheirNamesWhenAllAreThere) {
  auto directory = Create();
  ASSERT_TRUE(directory.has_value());
  Write(&*directory, "b");
  Write(&*directory, "a");
  EXPECT_THAT(Names(), ElementsAre("a.partial", "b.partial"));
  const absl::Status status = directory->Publish();
  EXPECT_TRUE(status.ok()) << status;
  directory.reset();
  EXPECT_THAT(Names(), ElementsAre("a", "b"));
  std::ifstream file(path_ + "/a");
  std::string text;
  std::getline(file, text);
  EXPECT_EQ(text, "content of a");
}

TEST_F(StagedDirectoryTest, LeavesNothingBehindUnlessPublished) {
  auto directory = Create();
  ASSERT_TRUE(directory.has_value());
  Write(&*directory, "a");
  directory->Stage("never written");
  StagedDirectory moved = *std::move(directory);
  directory.reset();
  EXPECT_THAT(Names(), ElementsAre("a.partial"));
  { const StagedDirectory end = std::move(moved); }
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(StagedDirectoryTest, KeepsADirectoryThatWasThere) {
  fs::create_directory(path_);
  auto directory = Create();
  ASSERT_TRUE(directory.has_value());
  Write(&*directory, "a");
  directory.reset();
  EXPECT_THAT(Names(), IsEmpty());
}

// The second name is taken by a directory meanwhile, so that only the first can be given.
TEST_F(StagedDirectoryTest, TakesBackTheNamesThatItGaveBeforeOneFailed) {
  auto directory = Create();
  ASSERT_TRUE(directory.has_value());
  for (const char* name : {"a", "b", "c"}) Write(&*directory, name);
  fs::create_directory(path_ + "/b");
  const absl::Status status = directory->Publish();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/b"));
  EXPECT_THAT(Names(), ElementsAre("a", "b", "b.partial", "c.partial"));
  directory.reset();
  EXPECT_THAT(Names(), ElementsAre("b"));
}

TEST_F(StagedDirectoryTest, FailsForAFileThatWasNotWritten) {
  auto directory = Create();
  ASSERT_TRUE(directory.has_value());
  Write(&*directory, "a");
  directory->Stage("b");
  EXPECT_TRUE(absl::IsUnavailable(directory->Publish()));
  EXPECT_THAT(Names(), ElementsAre("a.partial"));
}

TEST_F(StagedDirectoryTest, RefusesADirectoryWithSomethingInIt) {
  fs::create_directory(path_);
  parent_.Write("out/file", "");
  auto refused = StagedDirectory::Create(path_).status();
  EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("holds file"));
  fs::rename(path_ + "/file", path_ + "/file.partial");
  refused = StagedDirectory::Create(path_).status();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("interrupted; remove the directory"));
}

TEST_F(StagedDirectoryTest, RefusesWhatCannotBeADirectory) {
  parent_.Write("out", "a file");
  EXPECT_TRUE(absl::IsInvalidArgument(StagedDirectory::Create(path_).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(StagedDirectory::Create(path_ + "x/y").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(StagedDirectory::Create("").status()));
}

}  // namespace
}  // namespace quire
