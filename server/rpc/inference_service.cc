#include "server/rpc/inference_service.h"

#include <memory>
#include <utility>

#include "core/base/status_macros.h"
#include "server/rpc/answer_reactor.h"
#include "server/rpc/response_codec.h"
#include "server/rpc/status_codec.h"

namespace quire::server {

namespace {

class GenerateEncoder final : public AnswerEncoder<v1::GenerateResponse> {
  size_t Encode(const OutputChunk& chunk, const LiveCall& call, Messages* messages) override {
    v1::GenerateResponse& message = messages->front();
    EncodeChunk(chunk, call.age(), &message);
    if (!std::exchange(named_, true)) message.set_request_id(call.name());
    return 1;
  }

  bool named_ = false;
};

}  // namespace

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  const TimePoint arrival = services_.clock->Now();
  const absl::StatusOr<GenerateCall> call = [&]() -> absl::StatusOr<GenerateCall> {
    QUIRE_ASSIGN_OR_RETURN(const Caller caller, AdmitCall(services_, *context));
    return DecodeCall(services_, caller, *context, arrival, *request);
  }();
  OutputShape shape;
  if (call.ok()) shape = {.answers = call->answers, .message_interval = call->message_interval};
  return AnswerReactor<v1::GenerateResponse>::Start(services_, context, arrival, call, shape,
                                                    std::make_unique<GenerateEncoder>());
}

grpc::ServerUnaryReactor* InferenceService::Refused(grpc::CallbackServerContext* context) const {
  const absl::StatusOr<Caller> caller = AdmitCall(services_, *context);
  return caller.ok() ? nullptr : Answer(context, caller.status());
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
