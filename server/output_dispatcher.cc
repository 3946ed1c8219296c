#include "server/output_dispatcher.h"

#include <utility>

#include "core/base/check.h"
#include "server/output_shard.h"

namespace quire::server {

OutputDispatcher::OutputDispatcher(int num_threads) {
  QUIRE_CHECK(num_threads >= 1) << num_threads << " output threads";
  for (int i = 0; i < num_threads; ++i) shards_.push_back(std::make_unique<OutputShard>());
}

OutputDispatcher::~OutputDispatcher() = default;

void OutputDispatcher::Register(RequestId id, std::shared_ptr<OutputStream> stream,
                                const Tokenizer& tokenizer, OutputFormat format) {
  using Position = IncrementalDetokenizer::Position;
  const Position position = format.begins_text ? Position::kTextStart : Position::kContinuation;
  ShardOf(id).Add(
      id, {std::move(stream), IncrementalDetokenizer(tokenizer, position), std::move(format)});
}

void OutputDispatcher::Unregister(RequestId id) { ShardOf(id).Remove(id); }

void OutputDispatcher::Deliver(std::vector<TokenEvent> events) {
  if (shards_.size() == 1) {
    shards_[0]->Enqueue(std::move(events));
    return;
  }
  std::vector<std::vector<TokenEvent>> parts(shards_.size());
  for (TokenEvent& event : events) {
    parts[event.request.value() % shards_.size()].push_back(std::move(event));
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].empty()) shards_[i]->Enqueue(std::move(parts[i]));
  }
}

}  // namespace quire::server
