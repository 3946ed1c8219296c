#pragma once

#include <cstdint>

#include "server/output_chunk.h"

namespace quire::server {

// What one answer's pieces carry.
struct OutputFormat {
  int32_t index = 0;      // of the answer in its call
  bool logprobs = false;  // of each token
  // No text stands before it: some tokenizers drop a space there.
  bool begins_text = false;
  PromptPiece echo;  // goes out with the first piece
};

}  // namespace quire::server
