#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/request/token_event.h"

namespace quire::server {

// A piece of an answer on its way to the client. Plain data.
struct OutputChunk {
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;         // one a token, where the request asked for them; else none
  int64_t token_offset = 0;            // tokens of the answer before this piece
  std::unique_ptr<FinishInfo> finish;  // set on the last piece

  bool empty() const { return text.empty() && tokens.empty() && finish == nullptr; }
  size_t PayloadBytes() const {
    return text.size() + tokens.size() * sizeof(TokenId) + logprobs.size() * sizeof(float);
  }
  // Adds `next`, which follows this piece without a gap.
  void Append(OutputChunk next);
};

}  // namespace quire::server
