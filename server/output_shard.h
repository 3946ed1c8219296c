#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"
#include "core/base/mutex.h"
#include "core/request/token_event.h"
#include "core/text/incremental_detokenizer.h"
#include "server/output_format.h"
#include "server/output_stream.h"

namespace quire::server {

// One output thread and its queue. Arrivals travel through the queue with the events, so that the
// table of streams is the thread's alone. Add, Remove and Enqueue from any thread; they hold the
// lock for an append and never wait for the thread's work.
class OutputShard {
 public:
  struct Entry {
    std::shared_ptr<OutputStream> stream;
    IncrementalDetokenizer detokenizer;
    OutputFormat format;
  };

  OutputShard();
  // Handles what is queued, then joins the thread.
  ~OutputShard();

  void Add(RequestId id, Entry entry);
  void Remove(RequestId id);
  void Enqueue(std::vector<TokenEvent> events);

 private:
  struct Queue {
    std::vector<std::pair<RequestId, Entry>> arrivals;
    std::vector<TokenEvent> events;
    std::vector<RequestId> departures;
    bool stopping = false;

    bool empty() const {
      return arrivals.empty() && events.empty() && departures.empty() && !stopping;
    }
  };

  void Run();
  Queue TakeQueue();
  void Handle(TokenEvent event);

  Mutex mu_;
  Queue queue_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<RequestId, Entry> streams_;  // the thread's alone
  std::thread thread_;                             // last: it uses all of the above
};

}  // namespace quire::server
