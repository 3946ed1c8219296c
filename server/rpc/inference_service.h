#pragma once

#include "quire/v1/inference.grpc.pb.h"
#include "server/rpc/live_call.h"

namespace quire::server {

// The RPCs of quire.v1.InferenceService. Handlers run on gRPC's callback threads and never wait:
// Generate hands over to an AnswerReactor, the others answer at once. Stateless; any thread.
class InferenceService final : public v1::InferenceService::CallbackService {
 public:
  explicit InferenceService(const CallServices& services)
      : services_(services.For(v1::InferenceService::service_full_name())) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;

 private:
  // Ends the call of who may not make it; else null. Not for Generate.
  grpc::ServerUnaryReactor* Refused(grpc::CallbackServerContext* context) const;

  const CallServices services_;
};

}  // namespace quire::server
