#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/text/added_tokens.h"
#include "core/text/bpe_model.h"
#include "core/text/normalizer.h"
#include "core/text/pre_tokenizer.h"
#include "core/text/token_decoder.h"
#include "core/text/tokenizer.h"

namespace quire {

// The content of a tokenizer.json, checked for shape and reduced to what Quire implements. Ids are
// below TokenizerLimits::max_vocab_size and no two tokens share one.
struct TokenizerSpec {
  BpeSpec model;
  std::vector<AddedToken> added_tokens;
  std::vector<NormalizerStage> normalizer;
  std::vector<PreTokenizerStage> pre_tokenizer;
  DecoderSpec decoder;
  std::vector<TokenId> prefix;  // what the post-processor puts before a text, e.g. <s>
  std::vector<TokenId> suffix;
};

// Reads the text of a tokenizer.json. An error names the component at fault. The members
// `truncation` and `padding` are ignored: a server checks lengths itself and never pads.
absl::StatusOr<TokenizerSpec> ParseTokenizerSpec(std::string_view json_text,
                                                 const TokenizerLimits& limits);

}  // namespace quire
