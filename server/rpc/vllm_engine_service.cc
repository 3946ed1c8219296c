#include "server/rpc/vllm_engine_service.h"

#include <grpcpp/server_context.h>

#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"
#include "server/rpc/answer_reactor.h"
#include "server/rpc/status_codec.h"
#include "server/rpc/vllm_codec.h"

namespace quire::server {
namespace {

// Also keeps the call's name among the names, for as long as the call lives.
class VllmEncoder final : public AnswerEncoder<vllm::GenerateResponse> {
 public:
  VllmEncoder(NamedCalls* names, const GenerateCall& call, bool stream)
      : names_(names),
        tenant_(call.request.tenant),
        name_(call.name),
        prompt_(call.request.prompt),
        stream_(stream) {}
  ~VllmEncoder() override { names_->Remove(tenant_, name_, ids_); }

  void Begin(const LiveCall& call) override {
    ids_ = call.ids();
    if (!name_.empty()) names_->Add(tenant_, name_, ids_);
  }
  size_t Encode(const OutputChunk& chunk, const LiveCall& /*call*/, Messages* messages) override {
    size_t count = 0;
    if (stream_ && (chunk.finish == nullptr || !chunk.tokens.empty())) {
      EncodeVllmChunk(chunk, prompt_, &(*messages)[count++]);
    }
    if (chunk.finish != nullptr) EncodeVllmComplete(chunk, prompt_, &(*messages)[count++]);
    return count;
  }

 private:
  NamedCalls* const names_;
  const TenantId tenant_;
  const std::string name_;
  const std::vector<TokenId> prompt_;
  const bool stream_;
  std::vector<RequestId> ids_;
};

}  // namespace

grpc::ServerWriteReactor<vllm::GenerateResponse>* VllmEngineService::Generate(
    grpc::CallbackServerContext* context, const vllm::GenerateRequest* request) {
  const TimePoint arrival = services_.clock->Now();
  const absl::StatusOr<GenerateCall> call = [&]() -> absl::StatusOr<GenerateCall> {
    QUIRE_ASSIGN_OR_RETURN(const Caller caller, AdmitCall(services_, *context));
    const absl::StatusOr<v1::GenerateRequest> decoded = DecodeVllm(*request);
    if (!decoded.ok()) {
      NoteInvalid(services_, caller, *context, arrival, "", decoded.status());
      return decoded.status();
    }
    return DecodeCall(services_, caller, *context, arrival, *decoded);
  }();
  OutputShape shape = {.prompt_waits = true, .whole_answers = !request->stream()};
  std::unique_ptr<VllmEncoder> encoder;
  if (call.ok()) {
    shape.answers = call->answers;
    encoder = std::make_unique<VllmEncoder>(&names_, *call, request->stream());
  }
  return AnswerReactor<vllm::GenerateResponse>::Start(services_, context, arrival, call, shape,
                                                      std::move(encoder));
}

grpc::ServerUnaryReactor* VllmEngineService::HealthCheck(
    grpc::CallbackServerContext* context, const vllm::HealthCheckRequest* /*request*/,
    vllm::HealthCheckResponse* response) {
  const bool accepting = services_.model->engine().accepting();
  response->set_healthy(accepting);
  response->set_message(accepting ? "ready" : "takes no more requests");
  return Answer(context);
}

grpc::ServerUnaryReactor* VllmEngineService::Abort(grpc::CallbackServerContext* context,
                                                   const vllm::AbortRequest* request,
                                                   vllm::AbortResponse* /*response*/) {
  const absl::StatusOr<Caller> caller = AdmitCall(services_, *context);
  if (!caller.ok()) return Answer(context, caller.status());
  for (const std::string& name : request->request_ids()) {
    for (const RequestId id : names_.Find(caller->tenant, name)) {
      services_.model->engine().Cancel(id);
    }
  }
  return Answer(context);
}

grpc::ServerUnaryReactor* VllmEngineService::GetModelInfo(
    grpc::CallbackServerContext* context, const vllm::GetModelInfoRequest* /*request*/,
    vllm::GetModelInfoResponse* response) {
  const absl::StatusOr<Caller> caller = AdmitCall(services_, *context);
  if (!caller.ok()) return Answer(context, caller.status());
  EncodeVllmModel(services_.model->config(), services_.model->options().max_context_tokens,
                  model_path_, response);
  return Answer(context);
}

grpc::ServerUnaryReactor* VllmEngineService::GetServerInfo(
    grpc::CallbackServerContext* context, const vllm::GetServerInfoRequest* /*request*/,
    vllm::GetServerInfoResponse* response) {
  const absl::StatusOr<Caller> caller = AdmitCall(services_, *context);
  if (!caller.ok()) return Answer(context, caller.status());
  ModelEngine& model = *services_.model;
  const KvLayout& layout = model.kv_layouts()[0];
  response->set_active_requests(static_cast<uint32_t>(model.engine().live_requests()));
  response->set_uptime_seconds(ToSeconds(services_.clock->Now() - started_));
  response->set_server_type("quire");
  response->set_data_parallel_size(1);
  response->set_kv_cache_dtype(kernels::DTypeName(layout.dtype));
  response->set_block_size(layout.block_tokens);
  response->set_max_num_seqs(model.options().max_running_requests);
  return Answer(context);
}

grpc::ServerUnaryReactor* VllmEngineService::GetLoads(grpc::CallbackServerContext* context,
                                                      const vllm::GetLoadsRequest* /*request*/,
                                                      vllm::GetLoadsResponse* response) {
  const absl::StatusOr<Caller> caller = AdmitCall(services_, *context);
  if (!caller.ok()) return Answer(context, caller.status());
  response->set_timestamp(absl::FormatTime(absl::RFC3339_full, absl::Now(), absl::UTCTimeZone()));
  response->set_version(QUIRE_VERSION);
  response->set_dp_rank_count(1);
  EncodeVllmLoad(services_.model->engine().Stats(), services_.model->options().max_running_requests,
                 response->add_loads());
  return Answer(context);
}

}  // namespace quire::server
