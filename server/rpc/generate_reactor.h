#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/engine/model_engine.h"
#include "quire/v1/inference.pb.h"
#include "server/auth/tenant_directory.h"
#include "server/live_streams.h"
#include "server/metrics/server_counters.h"
#include "server/output_dispatcher.h"
#include "server/output_stream.h"
#include "server/rpc/request_codec.h"

namespace quire::server {

// What a Generate call needs. It owns none of it; all outlives the gRPC server.
struct GenerateServices {
  ModelEngine* model = nullptr;
  OutputDispatcher* dispatcher = nullptr;
  LiveStreams* streams = nullptr;
  ServerCounters* counters = nullptr;
  const RequestCodec* codec = nullptr;
  const TenantDirectory* tenants = nullptr;
  const Clock* clock = nullptr;
  size_t max_stream_buffer = 0;
};

// One Generate call: glue between gRPC and an OutputStream, which has the states and the one lock.
// The reactor is gRPC's: created by Start, deleted by OnDone, which gRPC calls after the status is
// out and no other reaction runs. Between the two the stream's lock guards its members.
//
//   handler          Start: whose is it -> validate -> add to LiveStreams -> register
//                    -> Engine::Submit, of all of its answers at once
//   output thread    OutputStream::Push -> StartWrite | StartWriteAndFinish | Finish
//   gRPC threads     OnWriteDone -> OutputStream::WriteDone -> the next write
//                    OnCancel -> OutputStream::ClientGone -> Engine::Cancel, CANCELLED
//                    OnDone -> OutputStream::Detach, then the stream takes events in vain
//
// Validating in the handler costs time in proportion to the prompt: see --max-prompt-bytes.
class GenerateReactor final : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                              private StreamWriter {
 public:
  // Begins the call; errors end it by themselves.
  static grpc::ServerWriteReactor<v1::GenerateResponse>* Start(const GenerateServices& services,
                                                               grpc::CallbackServerContext* context,
                                                               const v1::GenerateRequest& message);

 private:
  // A call with `answers` answers, one for a call that was not understood.
  GenerateReactor(const GenerateServices& services, grpc::CallbackServerContext* context,
                  TimePoint arrival, OutputShape shape);

  absl::Status Submit(const GenerateCall& call, const v1::GenerateRequest& message);
  void Register(const GenerateCall& call);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void StartWrite(OutputChunk chunk) override;
  void StartWriteAndFinish(OutputChunk last, const absl::Status& status) override;
  void Finish(const absl::Status& status) override;
  void Abort() override;
  void CancelRequest(CancelCause cause) override;

  void Encode(const OutputChunk& chunk);

  const GenerateServices services_;
  grpc::CallbackServerContext* const context_;
  const TimePoint arrival_;
  const std::vector<RequestId> ids_;  // of its answers, by index
  const std::shared_ptr<OutputStream> stream_;
  std::string unsent_request_id_;  // echoed with the first message
  v1::GenerateResponse response_;  // gRPC reads it until the write is done
};

}  // namespace quire::server
