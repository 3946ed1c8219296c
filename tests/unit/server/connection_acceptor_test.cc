#include "server/connection_acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <vector>

namespace quire::server {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<ConnectionAcceptor> MustListen(const char* host,
                                               const ConnectionAcceptor::Options& options) {
  auto acceptor = ConnectionAcceptor::Listen({host, 0}, options);
  EXPECT_TRUE(acceptor.ok()) << acceptor.status();
  return acceptor.ok() ? *std::move(acceptor) : nullptr;
}

// -1 and the socket closed where it does not answer.
int Connect(int fd, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

int Connect(int port) { return Connect(socket(AF_INET, SOCK_STREAM, 0), port); }

// Whether the other side has closed it; waits until it has sent something or closed.
bool IsClosed(int fd) {
  char byte;
  return read(fd, &byte, 1) <= 0;
}

// Greets connections with a byte and keeps them.
class Host {
 public:
  ConnectionAcceptor::Handler handler() {
    return [this](int fd) {
      EXPECT_EQ(write(fd, "x", 1), 1);
      std::lock_guard lock(mu_);
      connections_.push_back(fd);
      came_.notify_all();
    };
  }
  std::vector<int> Await(size_t count) {
    std::unique_lock lock(mu_);
    came_.wait(lock, [&] { return connections_.size() >= count; });
    return connections_;
  }

 private:
  std::mutex mu_;
  std::condition_variable came_;
  std::vector<int> connections_;
};

int OptionOf(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, name, &value, &size), 0);
  return value;
}

TEST(ConnectionAcceptorTest, HandsConnectionsOnAsGrpcWantsThem) {
  Host host;
  const auto acceptor =
      MustListen("127.0.0.1", {.max_connections = 2, .send_timeout = std::chrono::seconds(7)});
  EXPECT_GT(acceptor->address().port, 0);
  const int early = Connect(acceptor->address().port);
  acceptor->Start(host.handler());
  EXPECT_FALSE(IsClosed(early)) << "it came between Listen and Start";
  EXPECT_FALSE(IsClosed(Connect(acceptor->address().port)));
  for (int fd : host.Await(2)) {
    EXPECT_NE(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_EQ(OptionOf(fd, TCP_NODELAY), 1);
    EXPECT_EQ(OptionOf(fd, TCP_USER_TIMEOUT), 7000);
  }
}

TEST(ConnectionAcceptorTest, AllAddressesAreThoseOfBothFamilies) {
  Host host;
  const auto acceptor = MustListen("::", {.max_connections = 1});
  acceptor->Start(host.handler());
  EXPECT_FALSE(IsClosed(Connect(acceptor->address().port)));
}

TEST(ConnectionAcceptorTest, TheOneBeyondTheBoundIsClosedAndCounted) {
  Host host;
  std::atomic<uint64_t> refused{0};
  const auto acceptor = MustListen("127.0.0.1", {.max_connections = 2, .refused = &refused});
  acceptor->Start(host.handler());
  const int port = acceptor->address().port;
  EXPECT_FALSE(IsClosed(Connect(port)));
  EXPECT_FALSE(IsClosed(Connect(port)));
  EXPECT_TRUE(IsClosed(Connect(port)));
  EXPECT_EQ(refused, 1u);
  close(host.Await(2)[0]);
  while (IsClosed(Connect(port))) std::this_thread::yield();
  host.Await(3);
}

TEST(ConnectionAcceptorTest, GoesOnWhenThereAreDescriptorsAgain) {
  Host host;
  std::atomic<uint64_t> failures{0};
  const auto acceptor = MustListen("127.0.0.1", {.max_connections = 10, .failures = &failures});
  acceptor->Start(host.handler());
  // What the sanitizers look at for the first time takes them a descriptor.
  ASSERT_FALSE(IsClosed(Connect(acceptor->address().port)));
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = dup(client);  // the lowest that is free
  close(next);
  const rlimit none = {.rlim_cur = static_cast<rlim_t>(next), .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_EQ(Connect(client, acceptor->address().port), client);
  while (failures < 2) std::this_thread::yield();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(IsClosed(client));
}

TEST(ConnectionAcceptorTest, StoppedItListensNoLonger) {
  const auto acceptor = MustListen("127.0.0.1", {.max_connections = 1});
  const int port = acceptor->address().port;
  acceptor->Start([](int fd) { close(fd); });
  acceptor->Stop();
  EXPECT_EQ(Connect(port), -1);
  acceptor->Stop();
}

TEST(ConnectionAcceptorTest, AnAddressThatIsTakenIsAnError) {
  const auto acceptor = MustListen("127.0.0.1", {.max_connections = 1});
  const auto second = ConnectionAcceptor::Listen(acceptor->address(), {.max_connections = 1});
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("Address already in use"));
}

}  // namespace
}  // namespace quire::server
