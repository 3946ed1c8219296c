#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/engine/output_sink.h"

namespace quire::testing {

// Keeps every event by request and notes what must not happen: events after the terminal one.
class RecordingSink final : public OutputSink {
 public:
  struct Record {
    std::vector<TokenId> tokens;
    std::vector<float> logprobs;
    std::unique_ptr<FinishInfo> finish;
    int terminals = 0;
    int events_after_terminal = 0;
  };

  void Deliver(std::vector<TokenEvent> events) override {
    for (TokenEvent& event : events) {
      Record& record = records_[event.request];
      if (record.terminals > 0) ++record.events_after_terminal;
      if (event.token >= 0) {
        record.tokens.push_back(event.token);
        record.logprobs.push_back(event.logprob);
      }
      if (event.finish != nullptr) {
        ++record.terminals;
        record.finish = std::move(event.finish);
      }
    }
  }

  const Record& of(RequestId id) { return records_[id]; }
  size_t terminals() const {
    size_t n = 0;
    for (const auto& [id, record] : records_) n += static_cast<size_t>(record.terminals);
    return n;
  }

 private:
  std::map<RequestId, Record> records_;
};

}  // namespace quire::testing
