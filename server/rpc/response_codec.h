#pragma once

#include "core/base/clock.h"
#include "core/engine/model_engine.h"
#include "quire/v1/inference.pb.h"
#include "server/output_chunk.h"
#include "server/rpc/chat_codec.h"

namespace quire::server {

// Overwrites `message` with a piece of the answer; `total` is the time since the request arrived
// and is reported with the last piece.
void EncodeChunk(const OutputChunk& chunk, Duration total, v1::GenerateResponse* message);

// Describes the loaded model and its KV cache.
void EncodeModel(ModelEngine& engine, const ChatFormat& chat, v1::Model* message);

}  // namespace quire::server
