#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "core/engine/model_engine.h"
#include "quire/v1/inference.pb.h"
#include "server/output_chunk.h"
#include "vllm/vllm_engine.pb.h"

namespace quire::server {

namespace vllm = ::vllm::grpc::engine;

// Messages of vllm.grpc.engine.VllmEngine, which routers (llm-d, SMG) call their workers with, in
// terms of quire.v1, which judges what comes out. Fields that are left out mean what they mean
// there: not the model's own defaults, which the router knows from GetModelInfo, but none.
// InvalidArgument for what has no translation: media, structured outputs, KV transfer.
absl::StatusOr<v1::GenerateRequest> DecodeVllm(const vllm::GenerateRequest& message);

// A piece of an answer that is streamed. `prompt`: the call's; its logprobs come with the first
// piece, where they were asked for.
void EncodeVllmChunk(const OutputChunk& chunk, std::span<const TokenId> prompt,
                     vllm::GenerateResponse* message);
// The end of an answer with the piece that it came with: the last one, or all of the answer.
void EncodeVllmComplete(const OutputChunk& chunk, std::span<const TokenId> prompt,
                        vllm::GenerateResponse* message);

// `path`: as the server was given it.
void EncodeVllmModel(const ModelConfig& config, int32_t max_context_tokens, const std::string& path,
                     vllm::GetModelInfoResponse* message);
void EncodeVllmLoad(const EngineStats& stats, int32_t max_running, vllm::SchedulerLoad* message);

}  // namespace quire::server
