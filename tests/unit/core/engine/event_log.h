#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "core/engine/output_sink.h"

namespace quire::testing {

// Keeps what the engine delivers and lets another thread wait for it. Thread-safe.
class EventLog final : public OutputSink {
 public:
  struct Record {
    std::vector<TokenId> tokens;
    std::vector<uint32_t> hold_backs;  // one a token
    std::optional<FinishInfo> finish;
    int terminals = 0;
    int events_after_terminal = 0;
  };

  // Called in Deliver, on the engine thread.
  std::function<void()> on_deliver;

  void Deliver(std::vector<TokenEvent> events) override {
    if (on_deliver) on_deliver();
    const std::lock_guard lock(mu_);
    ++deliveries_;
    for (TokenEvent& event : events) {
      Record& record = records_[event.request];
      if (record.terminals > 0) ++record.events_after_terminal;
      if (event.token >= 0) {
        record.tokens.push_back(event.token);
        record.hold_backs.push_back(event.hold_back_bytes);
      }
      if (event.finish == nullptr) continue;
      ++record.terminals;
      ++terminals_;
      changed_.notify_all();
      record.finish = std::move(*event.finish);
    }
  }

  Record of(RequestId id) const {
    const std::lock_guard lock(mu_);
    const auto it = records_.find(id);
    return it == records_.end() ? Record() : it->second;
  }
  size_t terminals() const {
    const std::lock_guard lock(mu_);
    return terminals_;
  }
  int deliveries() const {
    const std::lock_guard lock(mu_);
    return deliveries_;
  }
  void WaitForTerminals(size_t count) const {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this, count] { return terminals_ >= count; });
  }

 private:
  // Not absl::Mutex: ThreadSanitizer must see it even where absl is not instrumented.
  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  std::map<RequestId, Record> records_;
  size_t terminals_ = 0;
  int deliveries_ = 0;
};

}  // namespace quire::testing
