#include "server/liveness/listener_probe.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace quire::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr Duration kLong = std::chrono::minutes(1);  // never waited for
constexpr Duration kShort = std::chrono::milliseconds(50);

// A socket that listens on loopback and takes nothing by itself.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(fd_, any, size), 0);
    EXPECT_EQ(listen(fd_, 16), 0);
    EXPECT_EQ(getsockname(fd_, any, &size), 0);
    address_ = {"127.0.0.1", ntohs(address.sin_port)};
  }
  ~Listener() { close(fd_); }

  const ListenAddress& address() const { return address_; }

  // Takes one connection, reads what the client says first and answers, in two pieces.
  std::string AnswerOne(const std::string& answer) const {
    const int peer = accept(fd_, nullptr, nullptr);
    std::string said(4096, '\0');
    said.resize(static_cast<size_t>(read(peer, said.data(), said.size())));
    for (const std::string& piece :
         {answer.substr(0, 1), answer.substr(std::min<size_t>(1, answer.size()))}) {
      EXPECT_EQ(write(peer, piece.data(), piece.size()), static_cast<ssize_t>(piece.size()));
    }
    close(peer);
    return said;
  }

 private:
  const int fd_;
  ListenAddress address_;
};

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// What a probe makes of a server that says `answer`; `said`: what the server got to read.
absl::Status ProbeOf(bool tls, const std::string& answer, std::string* said = nullptr) {
  const Listener listener;
  std::string read;
  std::thread server([&] { read = listener.AnswerOne(answer); });
  absl::Status status = ListenerProbe(listener.address(), tls).Run(kLong);
  server.join();
  if (said != nullptr) *said = read;
  return status;
}

std::string SettingsFrame() { return {"\0\0\6\4\0\0\0\0\0\0\5\0\0\x40\0", 15}; }

TEST(ListenerProbeTest, AServerThatAcceptsNothingIsFound) {
  const Listener listener;
  // The kernel makes the connection all the same.
  const absl::Status status = ListenerProbe(listener.address(), false).Run(kShort);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "read: nothing in time");
  EXPECT_FALSE(ListenerProbe(listener.address(), true).Run(kShort).ok());
}

TEST(ListenerProbeTest, AFullBacklogIsFound) {
  const Listener listener;
  const ListenerProbe probe(listener.address(), false);
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(probe.Run(std::chrono::milliseconds(5)).ok());
}

TEST(ListenerProbeTest, SettingsAreTheAnswerOfAServer) {
  std::string said;
  const absl::Status status = ProbeOf(false, SettingsFrame(), &said);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(said, StartsWith("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  EXPECT_EQ(said.size(), 24u + 9u) << "preface and a frame without settings";
}

TEST(ListenerProbeTest, ATlsHandshakeBegins) {
  std::string said;
  const absl::Status status = ProbeOf(true, "\x16\x03\x03", &said);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(said, StartsWith("\x16\x03"));
  EXPECT_THAT(said, HasSubstr("h2"));
}

TEST(ListenerProbeTest, OtherAnswersAreFailures) {
  EXPECT_THAT(Message(ProbeOf(false, "HTTP/1.1 400 Bad Request\r\n")), HasSubstr("answer"));
  EXPECT_THAT(Message(ProbeOf(true, "HTTP/1.1 400 Bad Request\r\n")), HasSubstr("answer"));
  EXPECT_THAT(Message(ProbeOf(false, "")), HasSubstr("closed"));
}

TEST(ListenerProbeTest, NobodyListens) {
  ListenAddress address;
  {
    const Listener listener;
    address = listener.address();
  }
  EXPECT_THAT(Message(ListenerProbe(address, false).Run(kLong)), StartsWith("connect: "));
}

TEST(ListenerProbeTest, NoFileForASocketIsAFailureToo) {
  const Listener listener;
  const ListenerProbe probe(listener.address(), false);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::Status status = probe.Run(kLong);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(Message(status), StartsWith("socket: "));
}

TEST(ListenerProbeTest, TheWholeMachinesAddressIsReached) {
  const Listener listener;
  std::thread server([&] { listener.AnswerOne(SettingsFrame()); });
  const ListenAddress any = {"0.0.0.0", listener.address().port};
  const absl::Status status = ListenerProbe(any, false).Run(kLong);
  EXPECT_TRUE(status.ok()) << status;
  server.join();
}

}  // namespace
}  // namespace quire::server
