#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/ids.h"
#include "core/engine/output_sink.h"
#include "core/text/tokenizer.h"
#include "server/output_format.h"
#include "server/output_stream.h"

namespace quire::server {

class OutputShard;

// Takes the engine's events off its thread: output threads turn tokens into text and hand both to
// the streams. A request belongs to one thread, chosen by its id, so its events stay in order and
// its detokenizer needs no lock.
//
// Memory: the queue holds at most the tokens not yet handed over of all live requests, and those
// are bounded in number (LiveStreams) and length (max_tokens).
//
// Threads: Deliver from the engine thread; Register and Unregister from any.
class OutputDispatcher final : public OutputSink {
 public:
  explicit OutputDispatcher(int num_threads);
  // Handles what was delivered, then stops. The engine must not deliver any more.
  ~OutputDispatcher() override;

  // Sends the events of `id` to `stream`, up to and with the last one. Before Engine::Submit, as
  // events may come from then on. `tokenizer` must outlive the dispatcher's work for the request.
  void Register(RequestId id, std::shared_ptr<OutputStream> stream, const Tokenizer& tokenizer,
                OutputFormat format = {});
  // For a request that the engine refused: there will be no event.
  void Unregister(RequestId id);

  // Events of unknown requests are dropped.
  void Deliver(std::vector<TokenEvent> events) override;

 private:
  OutputShard& ShardOf(RequestId id) { return *shards_[id.value() % shards_.size()]; }

  std::vector<std::unique_ptr<OutputShard>> shards_;
};

}  // namespace quire::server
