#include "server/cli/text_format.h"

#include <gtest/gtest.h>

#include <sstream>

namespace quire::cli {
namespace {

TEST(TextFormatTest, BytesAreInTheLargestUnitThatLeavesOneOrMore) {
  const std::pair<int64_t, const char*> cases[] = {
      {0, "0 B"},
      {1023, "1023 B"},
      {1024, "1 KiB"},
      {1500, "1.46 KiB"},
      {131072, "128 KiB"},
      {2 << 20, "2 MiB"},
      {int64_t{80} << 30, "80 GiB"},
      {int64_t{5000} << 40, "5000 TiB"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(FormatBytes(bytes), text);
}

TEST(TextFormatTest, CountsHaveThreeDigits) {
  const std::pair<int64_t, const char*> cases[] = {
      {999, "999"}, {12400, "12.4 K"}, {1000000, "1 M"}, {8030261248, "8.03 B"}};
  for (const auto& [count, text] : cases) EXPECT_EQ(FormatCount(count), text);
}

TEST(TextFormatTest, QuotingShowsWhatATerminalWouldHide) {
  EXPECT_EQ(Quote(" a\"b\\"), R"(" a\"b\\")");
  EXPECT_EQ(Quote("a\n\t\x1b[2J"), R"("a\n\t\x1b[2J")");
  EXPECT_EQ(Quote("caf\xc3\xa9"), "\"caf\xc3\xa9\"");
  EXPECT_EQ(Quote("\xc3"), R"("\xc3")");
}

TEST(TextFormatTest, ATableAlignsTheFirstColumnLeftAndTheOthersRight) {
  TextTable table({"name", "n"});
  table.AddRow({"a", "100"});
  table.AddRow({"longer", "2"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(),
            "name      n\n"
            "a       100\n"
            "longer    2\n");
}

}  // namespace
}  // namespace quire::cli
