#include "core/base/small_file.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace quire {
namespace {

using testing::TempDir;

TEST(ReadSmallFile, ReadsUpToTheLimitAndNoFurther) {
  const TempDir dir;
  dir.Write("f", "12345");
  EXPECT_EQ(*ReadSmallFile(dir.File("f"), 5), "12345");
  EXPECT_TRUE(absl::IsInvalidArgument(ReadSmallFile(dir.File("f"), 4).status()));
}

TEST(ReadSmallFile, TellsMissingFromUnusable) {
  const TempDir dir;
  EXPECT_TRUE(absl::IsNotFound(ReadSmallFile(dir.File("none"), 5).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadSmallFile(dir.path(), 5).status()));
}

}  // namespace
}  // namespace quire
