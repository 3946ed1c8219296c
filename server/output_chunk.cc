#include "server/output_chunk.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace quire::server {
namespace {

template <typename T>
void MoveToEnd(std::vector<T> from, std::vector<T>* to) {
  to->insert(to->end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

size_t BytesOf(const std::vector<float>& logprobs, const std::vector<Alternatives>& alternatives) {
  size_t bytes = logprobs.size() * sizeof(float);
  for (const Alternatives& list : alternatives) bytes += list.size() * sizeof(TokenAlternative);
  return bytes;
}

}  // namespace

size_t PromptPiece::ScoreBytes() const { return BytesOf(logprobs, alternatives); }

void PromptPiece::Append(PromptPiece next) {
  text += next.text;
  MoveToEnd(std::move(next.tokens), &tokens);
  MoveToEnd(std::move(next.logprobs), &logprobs);
  MoveToEnd(std::move(next.alternatives), &alternatives);
}

void AnswerTotals::Add(const FinishInfo& answer) {
  const auto earliest = [](Duration a, Duration b) {
    return a == Duration::zero() ? b : b == Duration::zero() ? a : std::min(a, b);
  };
  prompt_tokens = answer.prompt_tokens;
  if (answer.generated_tokens > 0) {
    cached_tokens = generated_tokens == 0 ? answer.cached_tokens
                                          : std::min(cached_tokens, answer.cached_tokens);
  }
  generated_tokens += answer.generated_tokens;
  queue_time = earliest(queue_time, answer.queue_time);
  time_to_first_token = earliest(time_to_first_token, answer.time_to_first_token);
}

size_t OutputChunk::AnswerBytes() const {
  return text.size() + tokens.size() * sizeof(TokenId) + BytesOf(logprobs, alternatives);
}

void OutputChunk::Append(OutputChunk next) {
  prompt.Append(std::move(next.prompt));
  text += next.text;
  MoveToEnd(std::move(next.tokens), &tokens);
  MoveToEnd(std::move(next.logprobs), &logprobs);
  MoveToEnd(std::move(next.alternatives), &alternatives);
  finish = std::move(next.finish);
}

}  // namespace quire::server
