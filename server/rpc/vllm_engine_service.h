#pragma once

#include <string>

#include "core/base/clock.h"
#include "server/rpc/live_call.h"
#include "server/rpc/named_calls.h"
#include "vllm/vllm_engine.grpc.pb.h"

namespace quire::server {

// vllm.grpc.engine.VllmEngine, so that routers that speak it (llm-d, SMG) can have Quire among
// their workers: they send token ids and get token ids. The same engine and the same judge of
// requests as quire.v1. HealthCheck answers whoever asks. Any thread.
class VllmEngineService final : public ::vllm::grpc::engine::VllmEngine::CallbackService {
 public:
  // `model_path`: as the server was given it.
  VllmEngineService(const CallServices& services, std::string model_path)
      : services_(services.For(::vllm::grpc::engine::VllmEngine::service_full_name())),
        model_path_(std::move(model_path)),
        started_(services.clock->Now()) {}

  grpc::ServerWriteReactor<::vllm::grpc::engine::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* HealthCheck(
      grpc::CallbackServerContext* context, const ::vllm::grpc::engine::HealthCheckRequest* request,
      ::vllm::grpc::engine::HealthCheckResponse* response) override;
  // Ends the caller's own calls with these names; others are not there for it.
  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* context,
                                  const ::vllm::grpc::engine::AbortRequest* request,
                                  ::vllm::grpc::engine::AbortResponse* response) override;
  grpc::ServerUnaryReactor* GetModelInfo(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GetModelInfoRequest* request,
      ::vllm::grpc::engine::GetModelInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GetServerInfoRequest* request,
      ::vllm::grpc::engine::GetServerInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetLoads(grpc::CallbackServerContext* context,
                                     const ::vllm::grpc::engine::GetLoadsRequest* request,
                                     ::vllm::grpc::engine::GetLoadsResponse* response) override;

 private:
  const CallServices services_;
  const std::string model_path_;
  const TimePoint started_;
  NamedCalls names_;
};

}  // namespace quire::server
