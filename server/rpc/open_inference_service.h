#pragma once

#include <cstddef>

#include "open_inference/open_inference_grpc.grpc.pb.h"
#include "server/rpc/live_call.h"

namespace quire::server {

// The Open Inference Protocol v2 with Triton's ModelStreamInfer, for clients that speak it already
// (tritonclient, KServe): the same engine and the same judge of requests as quire.v1. See
// open_inference_codec.h for tensors and parameters. ServerLive, ServerReady and ModelReady answer
// whoever asks. Stateless; any thread.
class OpenInferenceService final : public inference::GRPCInferenceService::CallbackService {
 public:
  // `max_stream_requests`: of one ModelStreamInfer call at a time.
  OpenInferenceService(const CallServices& services, size_t max_stream_requests)
      : services_(services.For(::inference::GRPCInferenceService::service_full_name())),
        max_stream_requests_(max_stream_requests) {}

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context,
                                       const inference::ServerLiveRequest* request,
                                       inference::ServerLiveResponse* response) override;
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context,
                                        const inference::ServerReadyRequest* request,
                                        inference::ServerReadyResponse* response) override;
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context,
                                           const inference::ServerMetadataRequest* request,
                                           inference::ServerMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context,
                                       const inference::ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override;
  grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
  ModelStreamInfer(grpc::CallbackServerContext* context) override;

 private:
  absl::Status CheckModel(const std::string& name, const std::string& version) const;

  const CallServices services_;
  const size_t max_stream_requests_;
};

}  // namespace quire::server
