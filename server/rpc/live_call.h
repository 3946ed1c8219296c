#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/engine/model_engine.h"
#include "quire/v1/inference.pb.h"
#include "server/auth/tenant_directory.h"
#include "server/live_streams.h"
#include "server/log/request_log.h"
#include "server/metrics/server_counters.h"
#include "server/output_dispatcher.h"
#include "server/output_stream.h"
#include "server/rpc/request_codec.h"

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace quire::server {

// What calls for answers need. It owns none of it; all outlives the gRPC server.
struct CallServices {
  ModelEngine* model = nullptr;
  OutputDispatcher* dispatcher = nullptr;
  LiveStreams* streams = nullptr;
  ServerCounters* counters = nullptr;
  const RequestLog* log = nullptr;
  const RequestCodec* codec = nullptr;
  const TenantDirectory* tenants = nullptr;
  const Clock* clock = nullptr;
  StreamLimits stream_limits;
  const char* service = "";  // full name of the one that has them

  CallServices For(const char* full_name) const {
    CallServices result = *this;
    result.service = full_name;
    return result;
  }
};

// Whose a call is; Unauthenticated where it may not be made. Counts and logs what is refused.
absl::StatusOr<Caller> AdmitCall(const CallServices& services,
                                 const grpc::CallbackServerContext& context);

// What a caller asks for, in the terms of quire.v1 whatever protocol it came in; until the deadline
// of the gRPC call, or `deadline` where that is earlier. Counts and logs what is refused.
absl::StatusOr<GenerateCall> DecodeCall(const CallServices& services, const Caller& caller,
                                        const grpc::CallbackServerContext& context,
                                        TimePoint arrival, const v1::GenerateRequest& message,
                                        TimePoint deadline = kNoDeadline);

// Counts and logs a request that asks for what it may not: for protocols with rules of their own.
// `request_id`: printable, or empty.
void NoteInvalid(const CallServices& services, const Caller& caller,
                 const grpc::CallbackServerContext& context, TimePoint arrival,
                 const std::string& request_id, const absl::Status& status);

// One request for answers from its arrival to its end, as every protocol has it: its stream, its
// ids, and what has to be told to dispatcher and engine. Its owner is the stream's writer:
//
//   owner: AdmitCall -> DecodeCall -> LiveCall -> Submit; where either fails, stream().Refuse
//   owner, as StreamWriter: CancelRequest -> Cancel, PauseRequest -> SetPaused
//   owner, once its last message is out or given up: End, then it may go
class LiveCall {
 public:
  // `writer` must live until End. `shape` has as many answers as the call, or one where that was
  // not understood.
  LiveCall(const CallServices& services, StreamWriter* writer, TimePoint arrival,
           const OutputShape& shape);

  // Takes the stream among the live ones and hands all answers to the engine, or none.
  absl::Status Submit(const GenerateCall& call);
  void Cancel(CancelCause cause);
  void SetPaused(bool paused);
  // Logs how a call ended that was submitted.
  void End();

  const std::shared_ptr<OutputStream>& stream() const { return stream_; }
  // Of its answers, by index.
  const std::vector<RequestId>& ids() const { return ids_; }
  // The caller's name for it, or ours. Once it was submitted.
  const std::string& name() const { return name_; }
  TimePoint arrival() const { return arrival_; }
  // Since the request arrived.
  Duration age() const { return services_.clock->Now() - arrival_; }

 private:
  void Register(const GenerateCall& call);
  void LogEnd(const StreamEnd& end) const;

  const CallServices services_;
  const TimePoint arrival_;
  const std::vector<RequestId> ids_;
  const std::shared_ptr<OutputStream> stream_;
  std::string name_;  // set once it was submitted, as are these
  CallOrigin origin_;
  int32_t prompt_tokens_ = 0;
};

}  // namespace quire::server
