#include "server/rpc/open_inference_service.h"

#include <grpcpp/server_context.h>

#include <utility>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "server/rpc/open_inference_codec.h"
#include "server/rpc/open_inference_stream.h"
#include "server/rpc/status_codec.h"

namespace quire::server {
namespace {

// A ModelInfer call: its whole answer is one message, so nothing is written before its end.
class ModelInferReactor final : public grpc::ServerUnaryReactor, private StreamWriter {
 public:
  ModelInferReactor(const CallServices& services, grpc::CallbackServerContext* context,
                    const inference::ModelInferRequest& request,
                    inference::ModelInferResponse* response)
      : model_name_(services.model->config().name),
        context_(context),
        request_(request),
        response_(response),
        call_(services, this, services.clock->Now(), {.whole_answers = true}) {
    const absl::Status status = Submit(services);
    // gRPC deletes it after the status, which cannot be out before the handler has returned.
    if (!status.ok()) call_.stream()->Refuse(status);
  }

 private:
  absl::Status Submit(const CallServices& services) {
    QUIRE_ASSIGN_OR_RETURN(const Caller caller, AdmitCall(services, *context_));
    const absl::StatusOr<InferCall> infer = DecodeInfer(request_);
    if (!infer.ok()) {
      NoteInvalid(services, caller, *context_, call_.arrival(), "", infer.status());
      return infer.status();
    }
    QUIRE_ASSIGN_OR_RETURN(
        const GenerateCall call,
        DecodeCall(services, caller, *context_, call_.arrival(), infer->request,
                   infer->timeout.has_value() ? call_.arrival() + *infer->timeout : kNoDeadline));
    return call_.Submit(call);
  }

  void OnCancel() override { call_.stream()->ClientGone(); }
  void OnDone() override {
    call_.End();
    delete this;
  }

  void StartWrite(OutputChunk /*chunk*/) override {
    QUIRE_CHECK(false) << "a part of an answer that comes as a whole";
  }
  void StartWriteAndFinish(OutputChunk last, const absl::Status& status) override {
    EncodeInfer(last, request_, model_name_, response_);
    Finish(status);
  }
  void Finish(const absl::Status& status) override {
    AddRetryPushback(status, context_);
    ServerUnaryReactor::Finish(ToGrpcStatus(status));
  }
  void Abort() override { context_->TryCancel(); }
  void CancelRequest(CancelCause cause) override { call_.Cancel(cause); }
  void PauseRequest(bool paused) override { call_.SetPaused(paused); }

  const std::string& model_name_;
  grpc::CallbackServerContext* const context_;
  const inference::ModelInferRequest& request_;  // gRPC keeps it until OnDone
  inference::ModelInferResponse* const response_;
  LiveCall call_;
};

}  // namespace

grpc::ServerUnaryReactor* OpenInferenceService::ServerLive(
    grpc::CallbackServerContext* context, const inference::ServerLiveRequest* /*request*/,
    inference::ServerLiveResponse* response) {
  response->set_live(services_.counters->live);
  return Answer(context);
}

grpc::ServerUnaryReactor* OpenInferenceService::ServerReady(
    grpc::CallbackServerContext* context, const inference::ServerReadyRequest* /*request*/,
    inference::ServerReadyResponse* response) {
  response->set_ready(services_.model->engine().accepting());
  return Answer(context);
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelReady(
    grpc::CallbackServerContext* context, const inference::ModelReadyRequest* request,
    inference::ModelReadyResponse* response) {
  response->set_ready(CheckModel(request->name(), request->version()).ok() &&
                      services_.model->engine().accepting());
  return Answer(context);
}

grpc::ServerUnaryReactor* OpenInferenceService::ServerMetadata(
    grpc::CallbackServerContext* context, const inference::ServerMetadataRequest* /*request*/,
    inference::ServerMetadataResponse* response) {
  response->set_name("quire");
  response->set_version(QUIRE_VERSION);
  return Answer(context, AdmitCall(services_, *context).status());
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelMetadata(
    grpc::CallbackServerContext* context, const inference::ModelMetadataRequest* request,
    inference::ModelMetadataResponse* response) {
  absl::Status status = AdmitCall(services_, *context).status();
  if (status.ok()) status = CheckModel(request->name(), request->version());
  if (status.ok()) EncodeModelMetadata(services_.model->config().name, response);
  return Answer(context, status);
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelInfer(
    grpc::CallbackServerContext* context, const inference::ModelInferRequest* request,
    inference::ModelInferResponse* response) {
  return new ModelInferReactor(services_, context, *request, response);
}

grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
OpenInferenceService::ModelStreamInfer(grpc::CallbackServerContext* context) {
  return new ModelInferStream(services_, context, max_stream_requests_);
}

absl::Status OpenInferenceService::CheckModel(const std::string& name,
                                              const std::string& version) const {
  QUIRE_RETURN_IF_ERROR(services_.codec->CheckModel(name));
  return CheckModelVersion(version);
}

}  // namespace quire::server
