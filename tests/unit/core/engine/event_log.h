#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
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

  void Deliver(std::vector<TokenEvent> events) override {
    absl::MutexLock lock(&mu_);
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
      record.finish = std::move(*event.finish);
    }
  }

  Record of(RequestId id) const {
    absl::MutexLock lock(&mu_);
    const auto it = records_.find(id);
    return it == records_.end() ? Record() : it->second;
  }
  size_t terminals() const {
    absl::MutexLock lock(&mu_);
    return terminals_;
  }
  int deliveries() const {
    absl::MutexLock lock(&mu_);
    return deliveries_;
  }
  void WaitForTerminals(size_t count) const {
    const auto enough = [this, count] {
      mu_.AssertReaderHeld();
      return terminals_ >= count;
    };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&enough));
  }

 private:
  mutable absl::Mutex mu_;
  std::map<RequestId, Record> records_ ABSL_GUARDED_BY(mu_);
  size_t terminals_ ABSL_GUARDED_BY(mu_) = 0;
  int deliveries_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace quire::testing
