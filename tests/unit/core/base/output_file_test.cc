#include "core/base/output_file.h"

#include <sys/resource.h>

#include <csignal>
#include <cstdlib>

#include "core/base/small_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace quire {
namespace {

using ::testing::HasSubstr;
using testing::TempDir;

TEST(OutputFile, WritesWhatItIsGivenInOrder) {
  const TempDir dir;
  const std::string path = dir.File("a");
  auto file = OutputFile::Create(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string large(size_t{3} << 20, 'x');
  EXPECT_TRUE(file->Write("begin").ok());
  EXPECT_TRUE(file->Write("").ok());
  EXPECT_TRUE(file->Write(std::as_bytes(std::span(large))).ok());
  OutputFile moved = *std::move(file);
  EXPECT_TRUE(moved.Write("end").ok());
  EXPECT_TRUE(moved.Close().ok());
  const auto text = ReadSmallFile(path, size_t{4} << 20);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_TRUE(*text == "begin" + large + "end");
}

TEST(OutputFile, NeverOverwrites) {
  const TempDir dir;
  dir.Write("a", "kept");
  const auto file = OutputFile::Create(dir.File("a"));
  EXPECT_TRUE(absl::IsAlreadyExists(file.status())) << file.status();
  EXPECT_THAT(std::string(file.status().message()), HasSubstr(dir.File("a")));
  EXPECT_EQ(*ReadSmallFile(dir.File("a"), 10), "kept");
  EXPECT_TRUE(absl::IsUnavailable(OutputFile::Create(dir.File("none/a")).status()));
}

// A limit on the file's size stands for a full disk.
TEST(OutputFile, SaysThatThereIsNoRoom) {
  const TempDir dir;
  const auto write_too_much = [&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {.rlim_cur = 10, .rlim_max = 10};
    setrlimit(RLIMIT_FSIZE, &limit);
    auto file = OutputFile::Create(dir.File("a"));
    std::_Exit(file.ok() && absl::IsResourceExhausted(file->Write("0123456789x")) ? 7 : 8);
  };
  EXPECT_EXIT(write_too_much(), ::testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace quire
