#include "server/server_signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <future>

namespace quire::server {
namespace {

// Sends a signal to the process and waits until its thread has taken it.
void Send(int signal) {
  ASSERT_EQ(kill(getpid(), signal), 0);
  sigset_t pending;
  do {
    ASSERT_EQ(sigpending(&pending), 0);
  } while (sigismember(&pending, signal) == 1);
}

// What to call in a hurry, and what the test waits for.
class Hurry {
 public:
  void Arm(ServerSignals* signals) {
    signals->Arm([this] {
      sent_ = sent_before_.load();
      if (!called_.exchange(true)) done_.set_value();
    });
  }
  // Sends a signal that is to be in a hurry, where those before were not.
  void ExpectAt(int signal) {
    sent_before_ = true;
    Send(signal);
    done_.get_future().wait();
    EXPECT_TRUE(sent_) << "an earlier signal was in a hurry";
  }

 private:
  std::atomic<bool> sent_before_ = false, sent_ = false, called_ = false;
  std::promise<void> done_;
};

TEST(ServerSignalsTest, TheFirstSignalIsTheEndAndTheSecondHurries) {
  ServerSignals signals(/*reloads=*/false);
  Hurry hurry;
  hurry.Arm(&signals);
  EXPECT_FALSE(signals.ending());
  Send(SIGTERM);
  EXPECT_EQ(signals.Await(), ServerEvent::kShutdown);
  EXPECT_TRUE(signals.ending());
  hurry.ExpectAt(SIGINT);
  signals.Disarm();
}

TEST(ServerSignalsTest, AfterAnEndWithoutASignalTheFirstOneDoesNotHurry) {
  ServerSignals signals(/*reloads=*/false);
  Hurry hurry;
  hurry.Arm(&signals);
  signals.End(ServerEvent::kDeviceFailure);
  signals.End(ServerEvent::kShutdown);
  Send(SIGTERM);
  hurry.ExpectAt(SIGTERM);
  EXPECT_EQ(signals.Await(), ServerEvent::kDeviceFailure) << "the first reason counts";
  signals.Disarm();
}

TEST(ServerSignalsTest, AHangupIsAReloadUntilTheEnd) {
  ServerSignals signals(/*reloads=*/true);
  signals.Arm([] {});
  Send(SIGHUP);
  EXPECT_EQ(signals.Await(), ServerEvent::kReload);
  Send(SIGHUP);
  signals.End(ServerEvent::kShutdown);
  EXPECT_EQ(signals.Await(), ServerEvent::kShutdown);
}

TEST(ServerSignalsDeathTest, BeforeAnythingIsServedASignalEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto wait_for_the_end = [] {
    const ServerSignals signals(/*reloads=*/false);
    kill(getpid(), SIGTERM);
    while (true) pause();
  };
  EXPECT_EXIT(wait_for_the_end(), ::testing::ExitedWithCode(128 + SIGTERM), "");
}

}  // namespace
}  // namespace quire::server
