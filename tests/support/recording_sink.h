#pragma once

#include <functional>
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
    std::vector<std::vector<TokenAlternative>> alternatives;  // one list a token
    std::vector<float> prompt_logprobs;                       // in the order of arrival
    std::vector<std::vector<TokenAlternative>> prompt_alternatives;
    bool scores_in_order = true;  // each place once, without a gap, before the first token
    std::unique_ptr<FinishInfo> finish;
    int terminals = 0;
    int events_after_terminal = 0;
  };

  void Deliver(std::vector<TokenEvent> events) override {
    if (on_deliver) on_deliver();
    for (TokenEvent& event : events) {
      Record& record = records_[event.request];
      if (record.terminals > 0) ++record.events_after_terminal;
      if (event.token >= 0) {
        record.tokens.push_back(event.token);
        record.logprobs.push_back(event.logprob);
        record.alternatives.push_back(std::move(event.alternatives));
      }
      if (event.prompt_scores != nullptr) AddScores(*event.prompt_scores, &record);
      if (event.finish != nullptr) {
        ++record.terminals;
        record.finish = std::move(event.finish);
      }
    }
  }

  std::function<void()> on_deliver;

  const Record& of(RequestId id) { return records_[id]; }
  Record take(RequestId id) { return std::move(records_[id]); }
  size_t terminals() const {
    size_t n = 0;
    for (const auto& [id, record] : records_) n += static_cast<size_t>(record.terminals);
    return n;
  }

 private:
  static void AddScores(const PromptScores& scores, Record* record) {
    const bool next = scores.first == static_cast<int32_t>(record->prompt_logprobs.size()) + 1;
    record->scores_in_order &= next && record->tokens.empty();
    for (float logprob : scores.logprobs) record->prompt_logprobs.push_back(logprob);
    for (const auto& list : scores.alternatives) record->prompt_alternatives.push_back(list);
  }

  std::map<RequestId, Record> records_;
};

}  // namespace quire::testing
