#pragma once

#include <string>
#include <vector>

#include "core/base/ids.h"

namespace quire::testing {

// One prompt of a golden file that deploy/tools/make_goldens.py wrote with Hugging Face
// transformers. Logits are [prompt tokens, vocab].
struct GoldenPrompt {
  std::vector<TokenId> ids;
  std::vector<float> logits;               // weights as stored, float32 arithmetic
  std::vector<float> logits_bf16_weights;  // weights rounded to BF16, float32 arithmetic
  std::vector<float> logits_bf16;          // weights and arithmetic in BF16
  std::vector<TokenId> greedy;             // continuation, not stopped by the end token
  std::vector<float> margin;               // best logit minus the next, at each of its steps
};

// The models that have goldens.
std::vector<std::string> GoldenModels();
std::string GoldenModelDir(const std::string& model);
// Aborts with the reason when the file is missing or malformed.
std::vector<GoldenPrompt> ReadGoldenPrompts(const std::string& model);

}  // namespace quire::testing
