#include "core/text/chat_writer.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace quire {
namespace {

// What Python's str.isspace() is true for, and neighbours for which it is not.
TEST(ChatWriterTest, StripTakesWhatPythonCallsWhiteSpace) {
  const std::string space =
      "\t\n\x0B\x0C\r\x1C\x1D\x1E\x1F \xC2\x85\xC2\xA0\xE1\x9A\x80\xE2\x80\x80\xE2\x80\x8A"
      "\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xAF\xE2\x81\x9F\xE3\x80\x80";
  EXPECT_EQ(StripWhitespace(space + "a" + space + "b" + space), "a" + space + "b");
  EXPECT_EQ(StripLeadingWhitespace(space + "a" + space), "a" + space);
  EXPECT_EQ(StripTrailingWhitespace(space + "a" + space), space + "a");
  EXPECT_EQ(StripWhitespace(space), "");
  for (const char* other : {"\x08", "\x0E", "\x1B", "!", "\xE2\x80\x8B", "\xE1\xA0\x8E",
                            "\xEF\xBB\xBF", "\xE2\x81\xA0"}) {
    EXPECT_EQ(StripWhitespace(other), other);
  }
}

TEST(ChatWriterTest, NeighboursOfOneKindAreOneSegment) {
  ChatWriter writer;
  writer.Template("a");
  writer.Content("");
  writer.Template("b");
  writer.Content("c");
  writer.Content("d");
  EXPECT_EQ(std::move(writer).Take(), (std::vector<ChatSegment>{{"ab", true}, {"cd", false}}));
}

TEST(ChatWriterTest, DroppingTheTrailingTemplateKeepsContent) {
  ChatWriter writer;
  writer.Template("a");
  writer.Content("b");
  writer.DropTrailingTemplate();
  writer.Template("c");
  writer.DropTrailingTemplate();
  EXPECT_EQ(std::move(writer).Take(), (std::vector<ChatSegment>{{"a", true}, {"b", false}}));
}

}  // namespace
}  // namespace quire
