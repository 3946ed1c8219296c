// The stream machinery under concurrency, as gRPC and the engine drive it, without either: meant
// for ThreadSanitizer.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "server/live_streams.h"
#include "server/output_dispatcher.h"
#include "tests/unit/server/byte_tokenizer.h"

namespace quire::server {
namespace {

// Threads that run what is posted in any order, as gRPC runs reactions.
class ReactionThreads {
 public:
  explicit ReactionThreads(int count) {
    for (int i = 0; i < count; ++i) threads_.emplace_back([this] { Run(); });
  }
  ~ReactionThreads() {
    {
      std::lock_guard lock(mu_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void Post(std::function<void()> reaction) {
    {
      std::lock_guard lock(mu_);
      queue_.push_back(std::move(reaction));
    }
    changed_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock lock(mu_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const std::function<void()> reaction = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      reaction();
      lock.lock();
    }
  }

  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// A thread that gives every live request a token a step, until its length or its cancel.
class FakeEngine {
 public:
  explicit FakeEngine(OutputSink* sink) : sink_(sink), thread_([this] { Run(); }) {}
  ~FakeEngine() {
    {
      std::lock_guard lock(mu_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void Submit(RequestId id, int tokens) {
    {
      std::lock_guard lock(mu_);
      left_[id.value()] = tokens;
    }
    changed_.notify_all();
  }
  void Cancel(RequestId id) {
    std::lock_guard lock(mu_);
    cancelled_.push_back(id);
  }

 private:
  void Run() {
    std::unique_lock lock(mu_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || !left_.empty(); });
      if (left_.empty()) return;
      std::vector<TokenEvent> step = StepLocked();
      lock.unlock();
      sink_->Deliver(std::move(step));
      lock.lock();
    }
  }
  std::vector<TokenEvent> StepLocked() {
    std::vector<TokenEvent> step;
    for (RequestId id : std::exchange(cancelled_, {})) {
      if (left_.erase(id.value()) == 0) continue;
      step.push_back(MakeEvent(id.value(), -1, FinishReason::kCancelled));
    }
    for (auto it = left_.begin(); it != left_.end();) {
      const bool last = --it->second == 0;
      step.push_back(last ? MakeEvent(it->first, 'x', FinishReason::kLength)
                          : MakeEvent(it->first, 'x', std::nullopt));
      it = last ? left_.erase(it) : std::next(it);
    }
    return step;
  }
  static TokenEvent MakeEvent(uint64_t id, TokenId token, std::optional<FinishReason> finish) {
    TokenEvent event;
    event.request = RequestId(id);
    event.token = token;
    if (finish.has_value()) {
      event.finish = std::make_unique<FinishInfo>();
      event.finish->reason = *finish;
      if (*finish == FinishReason::kCancelled) event.finish->status = absl::CancelledError("");
    }
    return event;
  }

  OutputSink* const sink_;
  std::mutex mu_;
  std::condition_variable changed_;
  std::map<uint64_t, int> left_;
  std::vector<RequestId> cancelled_;
  bool stopping_ = false;
  std::thread thread_;
};

struct Outcome {
  std::atomic<int> statuses{0};
  std::atomic<int> tokens{0};
  std::atomic<int> cancels{0};
  std::atomic<bool> ok{false};
  std::atomic<bool> overlap{false};
};

struct World {
  ByteTokenizer tokenizer;
  LiveStreams streams{1000};
  OutputDispatcher dispatcher{2};
  FakeEngine engine{&dispatcher};
  ReactionThreads reactions{3};
};

// What GenerateReactor is: owned by nobody, deleted when the call is over.
class FakeCall final : public StreamWriter {
 public:
  FakeCall(World* world, RequestId id, Outcome* outcome)
      : world_(world),
        id_(id),
        outcome_(outcome),
        stream_(std::make_shared<OutputStream>(this, StreamLimits{64})) {}

  const std::shared_ptr<OutputStream>& stream() const { return stream_; }

  void StartWrite(OutputChunk chunk) override {
    if (writing_.exchange(true)) outcome_->overlap = true;
    outcome_->tokens += static_cast<int>(chunk.tokens.size());
    // gRPC does not end a call before its reactions have returned; the copy does the same here.
    world_->reactions.Post([this, stream = stream_] {
      writing_ = false;
      stream->WriteDone(!aborted_);
    });
  }
  void StartWriteAndFinish(OutputChunk last, const absl::Status& status) override {
    outcome_->tokens += static_cast<int>(last.tokens.size());
    Finish(status);
  }
  void Finish(const absl::Status& status) override {
    if (writing_) outcome_->overlap = true;
    ++outcome_->statuses;
    outcome_->ok = status.ok();
    world_->reactions.Post([this] {
      stream_->Detach();
      world_->streams.Remove(stream_);
      delete this;
    });
  }
  void Abort() override { aborted_ = true; }
  void CancelRequest(CancelCause) override {
    ++outcome_->cancels;
    world_->engine.Cancel(id_);
  }
  void PauseRequest(bool) override {}

 private:
  World* const world_;
  const RequestId id_;
  Outcome* const outcome_;
  const std::shared_ptr<OutputStream> stream_;
  std::atomic<bool> writing_{false};
  std::atomic<bool> aborted_{false};
};

TEST(StreamConcurrencyTest, EveryCallGetsOneStatusWhateverCancelsCrossIt) {
  constexpr uint64_t kCalls = 400;
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::vector<Outcome> outcomes(kCalls);
  std::vector<int> lengths(kCalls);
  {
    World world;
    std::vector<std::shared_ptr<OutputStream>> victims;
    for (uint64_t i = 0; i < kCalls; ++i) {
      lengths[i] = 1 + static_cast<int>(random() % 60);
      auto* const call = new FakeCall(&world, RequestId(i), &outcomes[i]);
      const std::shared_ptr<OutputStream> stream = call->stream();
      ASSERT_TRUE(world.streams.Add(stream, TenantId()).ok());
      world.dispatcher.Register(RequestId(i), stream, world.tokenizer);
      world.engine.Submit(RequestId(i), lengths[i]);
      if (random() % 3 == 0) victims.push_back(stream);
      if (random() % 2 == 0 && !victims.empty()) {
        world.reactions.Post(
            [victim = victims[random() % victims.size()]] { victim->ClientGone(); });
      }
    }
    EXPECT_TRUE(world.streams.AwaitEmpty(std::chrono::minutes(1)));
  }
  for (uint64_t i = 0; i < kCalls; ++i) {
    SCOPED_TRACE(testing::Message() << "call " << i);
    EXPECT_EQ(outcomes[i].statuses, 1);
    EXPECT_LE(outcomes[i].cancels, 1);
    EXPECT_FALSE(outcomes[i].overlap);
    if (outcomes[i].ok) {
      EXPECT_EQ(outcomes[i].tokens, lengths[i]);
    }
  }
}

TEST(StreamConcurrencyTest, AStormOfAbortsEndsEveryCallOnce) {
  constexpr uint64_t kCalls = 200;
  std::vector<Outcome> outcomes(kCalls);
  {
    World world;
    for (uint64_t i = 0; i < kCalls; ++i) {
      auto* const call = new FakeCall(&world, RequestId(i), &outcomes[i]);
      const std::shared_ptr<OutputStream> stream = call->stream();
      ASSERT_TRUE(world.streams.Add(stream, TenantId()).ok());
      world.dispatcher.Register(RequestId(i), stream, world.tokenizer);
      world.engine.Submit(RequestId(i), 1 << 20);
      world.reactions.Post([stream] { stream->ClientGone(); });
    }
    std::thread other([&world] { world.streams.AbortAll(); });
    world.streams.AbortAll();
    other.join();
    EXPECT_TRUE(world.streams.AwaitEmpty(std::chrono::minutes(1)));
  }
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.statuses, 1);
    EXPECT_EQ(outcome.cancels, 1);
    EXPECT_FALSE(outcome.overlap);
  }
}

}  // namespace
}  // namespace quire::server
