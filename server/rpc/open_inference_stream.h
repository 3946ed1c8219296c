#pragma once

#include <grpcpp/support/server_callback.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "core/base/mutex.h"
#include "open_inference/open_inference_grpc.pb.h"
#include "server/rpc/live_call.h"

namespace quire::server {

// One ModelStreamInfer call: any number of requests, one after the other or at a time, whose
// answers share its stream of messages. A request that fails has its error in a message and leaves
// the others; the call ends when its client sends no more and all have been answered.
//
// Each request is an Inference with an OutputStream of its own, which has one message on its way at
// most, so what waits here is bounded by the requests; so many at most are read at a time.
//
// Locks: an OutputStream's, then this one; never the other way round.
class ModelInferStream final : public grpc::ServerBidiReactor<inference::ModelInferRequest,
                                                              inference::ModelStreamInferResponse> {
 public:
  // `max_requests`: that are answered at a time; more wait on the wire. The reactor is gRPC's.
  ModelInferStream(const CallServices& services, grpc::CallbackServerContext* context,
                   size_t max_requests);

 private:
  class Inference;
  struct Outgoing {
    inference::ModelStreamInferResponse message;
    uint64_t inference = 0;  // whose it is
    bool last = false;       // nothing of it follows
  };

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

  // What request_ asks for, and how its answer comes.
  absl::StatusOr<GenerateCall> Decode(TimePoint arrival, OutputShape* shape);
  // From an inference, with its stream's lock held.
  void Enqueue(Outgoing outgoing);
  void Abort();

  void ReadIfRoomLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FinishIfDoneLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const CallServices services_;
  grpc::CallbackServerContext* const context_;
  const size_t max_requests_;
  inference::ModelInferRequest request_;  // gRPC writes it while reading_

  Mutex mu_;
  absl::flat_hash_map<uint64_t, std::shared_ptr<Inference>> inferences_ ABSL_GUARDED_BY(mu_);
  std::deque<Outgoing> outgoing_ ABSL_GUARDED_BY(mu_);  // gRPC reads the first while writing_
  uint64_t last_inference_ ABSL_GUARDED_BY(mu_) = 0;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool no_more_requests_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace quire::server
