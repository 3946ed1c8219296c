#include "server/rpc/inference_service.h"

#include <utility>

#include "server/rpc/call_identity.h"
#include "server/rpc/response_codec.h"
#include "server/rpc/status_codec.h"

namespace quire::server {

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return GenerateReactor::Start(services_, context, *request);
}

grpc::ServerUnaryReactor* InferenceService::Refused(grpc::CallbackServerContext* context) const {
  const absl::StatusOr<Caller> caller = FindCaller(*services_.tenants, *context);
  if (caller.ok()) return nullptr;
  ++services_.counters->rejected_unauthenticated;
  return Answer(context, caller.status());
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  const absl::StatusOr<std::vector<TokenId>> ids = services_.codec->DecodeTokenize(*request);
  if (ids.ok()) response->mutable_token_ids()->Add(ids->begin(), ids->end());
  return Answer(context, ids.status());
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  absl::StatusOr<std::string> text = services_.codec->DecodeDetokenize(*request);
  if (text.ok()) response->set_text(std::move(*text));
  return Answer(context, text.status());
}

grpc::ServerUnaryReactor* InferenceService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest* /*request*/,
                                                       v1::ListModelsResponse* response) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  EncodeModel(*services_.model, services_.codec->chat(), response->add_models());
  return Answer(context);
}

grpc::ServerUnaryReactor* InferenceService::GetModel(grpc::CallbackServerContext* context,
                                                     const v1::GetModelRequest* request,
                                                     v1::GetModelResponse* response) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  const absl::Status status = services_.codec->CheckModel(request->model());
  if (status.ok())
    EncodeModel(*services_.model, services_.codec->chat(), response->mutable_model());
  return Answer(context, status);
}

}  // namespace quire::server
