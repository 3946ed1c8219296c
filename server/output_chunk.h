#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/request/token_event.h"

namespace quire::server {

using Alternatives = std::vector<TokenAlternative>;

// What a client gets to see of its prompt. Plain data.
struct PromptPiece {
  // An echo: the text and its ids, in one piece.
  std::string text;
  std::vector<TokenId> tokens;
  // Scores of the prompt's tokens after the first, in order, over any number of pieces.
  std::vector<float> logprobs;
  std::vector<Alternatives> alternatives;  // one list a score, or none

  bool empty() const { return text.empty() && tokens.empty() && logprobs.empty(); }
  size_t ScoreBytes() const;
  void Append(PromptPiece next);
};

// What all answers of a call used together.
struct AnswerTotals {
  int32_t prompt_tokens = 0;  // once, however many answers
  int32_t cached_tokens = 0;  // by all answers: what one of them computed was not found
  int32_t generated_tokens = 0;
  Duration queue_time{};  // of the answer that began first
  Duration time_to_first_token{};

  void Add(const FinishInfo& answer);
};

// A piece of one of a call's answers on its way to the client. Plain data.
struct OutputChunk {
  int32_t index = 0;  // which of the answers
  PromptPiece prompt;
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;  // one a token, where the request asked for them; else none
  std::vector<Alternatives> alternatives;  // likewise
  int64_t token_offset = 0;                // tokens of the answer before this piece
  std::unique_ptr<FinishInfo> finish;      // set on the answer's last piece
  std::unique_ptr<AnswerTotals> totals;    // set on the call's last piece

  bool empty() const {
    return prompt.empty() && text.empty() && tokens.empty() && finish == nullptr;
  }
  // What was generated: without what is told of the prompt, which the client itself has sized.
  size_t AnswerBytes() const;
  // Adds `next`, which follows this piece of the same answer without a gap.
  void Append(OutputChunk next);
};

}  // namespace quire::server
