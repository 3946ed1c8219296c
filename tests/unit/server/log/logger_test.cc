#include "server/log/logger.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"

namespace quire::server {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0); }
  ~Pipe() {
    close(ends_[0]);
    if (ends_[1] >= 0) close(ends_[1]);
  }
  int to() const { return ends_[1]; }
  // What is in it now.
  std::string Drain() {
    std::string text;
    char buffer[4096];
    fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    for (ssize_t n = 0; (n = read(ends_[0], buffer, sizeof(buffer))) > 0;) {
      text.append(buffer, static_cast<size_t>(n));
    }
    return text;
  }
  std::vector<std::string> Lines() { return absl::StrSplit(Drain(), '\n', absl::SkipEmpty()); }

 private:
  int ends_[2] = {-1, -1};
};

TEST(LoggerTest, LinesGoOutWhole) {
  Pipe pipe;
  Logger logger({.fd = pipe.to()});
  logger.Info("a");
  logger.Log(LogLevel::kError, "b", {{"n", int64_t{1}}});
  logger.LogBounded(LogLevel::kInfo, "c", {});
  EXPECT_EQ(pipe.Drain(), "quire-server: a\nquire-server: b n=1\nquire-server: c\n");
}

TEST(LoggerTest, AFloodIsCutAndTheNextLineSaysSo) {
  Pipe pipe;
  // No room at all: what is cut does not depend on how long this takes.
  Logger logger({.format = LogFormat::kJson, .lines_per_second = 0, .fd = pipe.to()});
  for (int i = 0; i < 3; ++i) logger.LogBounded(LogLevel::kInfo, "flood", {});
  EXPECT_EQ(pipe.Drain(), "");
  logger.Info("after");
  logger.Info("later");
  EXPECT_THAT(pipe.Lines(),
              ElementsAre(AllOf(HasSubstr("\"level\":\"warning\""), HasSubstr("left out"),
                                HasSubstr("\"left_out\":3")),
                          HasSubstr("\"msg\":\"after\""), HasSubstr("\"msg\":\"later\"")));
}

TEST(LoggerTest, AReaderThatStandsStillHoldsNobodyUp) {
  Pipe pipe;
  Logger logger({.lines_per_second = 1 << 30, .fd = pipe.to()});
  constexpr int kLines = 10'000;  // a pipe has room for 65,536 bytes
  for (int i = 0; i < kLines; ++i) logger.LogBounded(LogLevel::kInfo, "line", {});
  const std::vector<std::string> lines = pipe.Lines();
  EXPECT_LT(lines.size(), size_t{kLines});
  logger.Info("after");
  EXPECT_THAT(pipe.Lines(), ElementsAre("quire-server: log lines were left out left_out=" +
                                            std::to_string(kLines - lines.size()),
                                        "quire-server: after"));
}

TEST(LoggerTest, ImportantLinesWaitABit) {
  Pipe pipe;
  Logger logger({.lines_per_second = 1 << 30, .fd = pipe.to()});
  for (int i = 0; i < 10'000; ++i) logger.LogBounded(LogLevel::kInfo, "line", {});
  logger.Info("lost");  // after a second, in which nobody reads
  pipe.Drain();
  logger.Info("after");
  EXPECT_THAT(pipe.Lines(), SizeIs(2));
}

TEST(LoggerTest, ALongLineGoesOutToAReader) {
  Pipe pipe;
  Logger logger({.fd = pipe.to()});
  const std::string message(50'000, 'x');
  logger.Info(message);
  EXPECT_EQ(pipe.Drain(), "quire-server: " + message + "\n");
}

TEST(LoggerTest, LinesOfManyThreadsDoNotMix) {
  Pipe pipe;
  Logger logger({.lines_per_second = 1 << 30, .fd = pipe.to()});
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) logger.LogBounded(LogLevel::kInfo, "0123456789", {});
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::string> lines = pipe.Lines();
  EXPECT_THAT(lines, SizeIs(200));
  for (const std::string& line : lines) EXPECT_EQ(line, "quire-server: 0123456789");
}

TEST(LoggerTest, WithoutAPlaceToWriteNothingHappens) {
  Logger logger({.fd = 1 << 20});
  logger.Info("a");
}

}  // namespace
}  // namespace quire::server
