#pragma once

#include "absl/status/statusor.h"
#include "core/text/bpe_model.h"
#include "core/text/sentencepiece_spec.h"
#include "core/text/tokenizer.h"

namespace quire {

// SentencePiece's BPE joins any two neighbours that together spell a piece, the piece with the
// highest score first. Says so as merges: one for each way to cut a piece in two. User-defined
// pieces take no part. InvalidArgument where a piece has a character that is no piece, or is
// unused, or where there are more merges than the limit.
absl::StatusOr<BpeSpec> BpeSpecOf(const SentencePieceSpec& spec, const TokenizerLimits& limits);

}  // namespace quire
