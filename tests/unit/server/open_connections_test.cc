#include "server/open_connections.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace quire::server {
namespace {

constexpr Duration kLater = std::chrono::seconds(1);

class OpenConnectionsTest : public ::testing::Test {
 protected:
  static int Socket() {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_GE(fd, 0);
    return fd;
  }

  TimePoint now_ = TimePoint(std::chrono::hours(1));
  OpenConnections open_{2};
};

TEST_F(OpenConnectionsTest, TheOneBeyondTheLimitIsRefusedUntilAnotherIsClosed) {
  const int first = Socket(), second = Socket(), third = Socket();
  EXPECT_TRUE(open_.Add(first, now_));
  EXPECT_TRUE(open_.Add(second, now_));
  EXPECT_FALSE(open_.Add(third, now_));
  now_ += kLater;
  EXPECT_FALSE(open_.Add(third, now_));
  close(first);
  now_ += kLater;
  EXPECT_TRUE(open_.Add(third, now_));
  EXPECT_FALSE(open_.Add(Socket(), now_ + kLater));
}

TEST_F(OpenConnectionsTest, EndingAllLeavesNoneThatCouldBeReadAndOthersAlone) {
  int ours[2], others[2], closed[2];
  for (int* pair : {ours, others, closed}) {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  }
  EXPECT_TRUE(open_.Add(ours[0], now_));
  EXPECT_TRUE(open_.Add(closed[0], now_));
  close(closed[0]);
  ASSERT_EQ(dup2(others[0], closed[0]), closed[0]);  // under its number now
  ASSERT_EQ(write(ours[0], "x", 1), 1);
  open_.EndAll();
  char byte = 0;
  EXPECT_EQ(read(ours[1], &byte, 1), 1) << "what was sent before still comes";
  EXPECT_EQ(read(ours[1], &byte, 1), 0);
  ASSERT_EQ(write(others[0], "y", 1), 1);
  EXPECT_EQ(read(others[1], &byte, 1), 1);
}

TEST_F(OpenConnectionsTest, ADescriptorThatIsUsedAgainCountsOnce) {
  const int first = Socket();
  EXPECT_TRUE(open_.Add(first, now_));
  EXPECT_TRUE(open_.Add(Socket(), now_));
  close(first);
  ASSERT_EQ(Socket(), first);
  EXPECT_TRUE(open_.Add(first, now_)) << "without looking for closed ones";
  EXPECT_FALSE(open_.Add(Socket(), now_ + kLater));
}

TEST_F(OpenConnectionsTest, ADescriptorThatIsSomethingElseNowDoesNotCount) {
  const int file = Socket(), socket = Socket();
  EXPECT_TRUE(open_.Add(file, now_));
  EXPECT_TRUE(open_.Add(socket, now_));
  close(file);
  ASSERT_EQ(open("/dev/null", O_RDONLY), file);
  EXPECT_TRUE(open_.Add(Socket(), now_));
  now_ += kLater;
  close(socket);
  ASSERT_EQ(Socket(), socket);  // not one of ours, under its number
  EXPECT_TRUE(open_.Add(Socket(), now_));
}

TEST_F(OpenConnectionsTest, ClosedOnesAreLookedForAtIntervals) {
  const int first = Socket(), third = Socket();
  EXPECT_TRUE(open_.Add(first, now_));
  EXPECT_TRUE(open_.Add(Socket(), now_));
  EXPECT_FALSE(open_.Add(third, now_));
  close(first);
  EXPECT_FALSE(open_.Add(third, now_ + std::chrono::milliseconds(19)));
  EXPECT_TRUE(open_.Add(third, now_ + std::chrono::milliseconds(20)));
}

}  // namespace
}  // namespace quire::server
