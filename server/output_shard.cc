#include "server/output_shard.h"

#include <iterator>
#include <utility>

#include "core/base/check.h"

namespace quire::server {

OutputShard::OutputShard() : thread_([this] { Run(); }) {}

OutputShard::~OutputShard() {
  {
    MutexLock lock(&mu_);
    queue_.stopping = true;
  }
  thread_.join();
}

void OutputShard::Add(RequestId id, Entry entry) {
  MutexLock lock(&mu_);
  queue_.arrivals.emplace_back(id, std::move(entry));
}

void OutputShard::Remove(RequestId id) {
  MutexLock lock(&mu_);
  queue_.departures.push_back(id);
}

void OutputShard::Enqueue(std::vector<TokenEvent> events) {
  MutexLock lock(&mu_);
  if (queue_.events.empty()) {
    queue_.events = std::move(events);
  } else {
    queue_.events.insert(queue_.events.end(), std::make_move_iterator(events.begin()),
                         std::make_move_iterator(events.end()));
  }
}

void OutputShard::Run() {
  bool stopping = false;
  while (!stopping) {
    Queue queue = TakeQueue();
    stopping = queue.stopping;
    for (auto& [id, entry] : queue.arrivals) {
      const bool inserted = streams_.emplace(id, std::move(entry)).second;
      QUIRE_CHECK(inserted) << "request " << id.value() << " was registered twice";
    }
    for (TokenEvent& event : queue.events) Handle(std::move(event));
    for (RequestId id : queue.departures) streams_.erase(id);
  }
}

OutputShard::Queue OutputShard::TakeQueue() {
  MutexLock lock(&mu_);
  mu_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !queue_.empty(); });
  return std::exchange(queue_, Queue());
}

void OutputShard::Handle(TokenEvent event) {
  const auto it = streams_.find(event.request);
  if (it == streams_.end()) return;
  Entry& entry = it->second;
  OutputChunk chunk;
  chunk.index = entry.format.index;
  chunk.prompt = std::exchange(entry.format.echo, {});
  if (event.prompt_scores != nullptr) {
    chunk.prompt.logprobs = std::move(event.prompt_scores->logprobs);
    chunk.prompt.alternatives = std::move(event.prompt_scores->alternatives);
  }
  if (event.token >= 0) {
    entry.detokenizer.Append(event.token);
    chunk.tokens.push_back(event.token);
    if (entry.format.logprobs) chunk.logprobs.push_back(event.logprob);
    if (!event.alternatives.empty()) chunk.alternatives.push_back(std::move(event.alternatives));
  }
  const bool last = event.finish != nullptr;
  chunk.text = last ? entry.detokenizer.Finish(event.finish->trim_bytes)
                    : entry.detokenizer.TakeText(event.hold_back_bytes);
  chunk.finish = std::move(event.finish);
  entry.stream->Push(std::move(chunk));
  if (last) streams_.erase(it);
}

}  // namespace quire::server
