#include "server/rpc/inference_service.h"

#include <utility>

#include "server/rpc/response_codec.h"
#include "server/rpc/status_codec.h"

namespace quire::server {

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return GenerateReactor::Start(services_, context, *request);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  const absl::StatusOr<std::vector<TokenId>> ids = services_.codec->DecodeTokenize(*request);
  if (ids.ok()) response->mutable_token_ids()->Add(ids->begin(), ids->end());
  return Answer(context, ids.status());
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  absl::StatusOr<std::string> text = services_.codec->DecodeDetokenize(*request);
  if (text.ok()) response->set_text(std::move(*text));
  return Answer(context, text.status());
}

grpc::ServerUnaryReactor* InferenceService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest* /*request*/,
                                                       v1::ListModelsResponse* response) {
  EncodeModel(*services_.model, services_.codec->chat(), response->add_models());
  return Answer(context);
}

grpc::ServerUnaryReactor* InferenceService::GetModel(grpc::CallbackServerContext* context,
                                                     const v1::GetModelRequest* request,
                                                     v1::GetModelResponse* response) {
  const absl::Status status = services_.codec->CheckModel(request->model());
  if (status.ok())
    EncodeModel(*services_.model, services_.codec->chat(), response->mutable_model());
  return Answer(context, status);
}

}  // namespace quire::server
