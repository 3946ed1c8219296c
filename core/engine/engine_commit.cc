#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/engine/engine.h"

// What becomes of a completed step's rows.

namespace quire {
namespace {

std::vector<TokenAlternative> CopyAlternatives(std::span<const kernels::TokenLogprob> reported,
                                               int32_t wanted) {
  std::vector<TokenAlternative> alternatives;
  alternatives.reserve(static_cast<size_t>(wanted));
  for (const kernels::TokenLogprob& entry : reported.first(static_cast<size_t>(wanted))) {
    if (entry.token_id < 0) break;
    alternatives.push_back({entry.token_id, entry.logprob});
  }
  return alternatives;
}

absl::Status RowFailure(int32_t code, int32_t generated) {
  if (code != kernels::kNothingAllowed) {
    return absl::InternalError("the model's output for this request is not finite");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "after ", generated, " generated tokens allowed_token_ids, logit_bias, bad_words and ",
      "min_tokens together leave no token to draw; allow more"));
}

}  // namespace

void Engine::Commit(const StepPlan& plan, std::span<const kernels::SampledToken> rows) {
  QUIRE_CHECK(rows.size() == static_cast<size_t>(plan.num_logit_rows));
  int32_t row = 0;
  for (const SequenceStep& step : plan.sequences) {
    if (const Sequence* sequence = scheduler_.Find(step.sequence); sequence != nullptr) {
      const int32_t kv_len = step.start + step.num_tokens;
      kv_->Pass(step.sequence, kv_len);
      kv_->Publish(step.sequence, sequence->tokens().first(static_cast<size_t>(kv_len)));
      if (step.prefill) scheduler_.OnPublished(step.sequence, kv_len);
    }
    if (step.prefill) stats_.prompt_tokens += static_cast<uint64_t>(step.num_tokens);
    if (step.num_targets > 0) CommitScores(step, rows, row);
    row += step.num_targets;
    if (!step.sample) continue;
    if (Sequence* const sequence = scheduler_.Find(step.sequence); sequence != nullptr) {
      CommitToken(sequence, rows[static_cast<size_t>(row)], row);
    } else {
      // It ended, or was preempted, while this step was on its way.
      ++stats_.discarded_tokens;
      scheduler_.Refund(step);
    }
    ++row;
  }
}

void Engine::CountStep(const StepPlan& plan, Duration duration) {
  const bool prefill = plan.sequences.back().prefill;  // decode rows come first
  const bool decode = !plan.sequences.front().prefill;
  const StepKind kind = !decode   ? StepKind::kPrefill
                        : prefill ? StepKind::kMixed
                                  : StepKind::kDecode;
  stats_.step_duration[static_cast<size_t>(kind)].Observe(kStepDurationEdges, ToSeconds(duration));
  stats_.step_tokens.Observe(kStepSizeEdges, plan.num_tokens);
  stats_.step_sequences.Observe(kStepSizeEdges, static_cast<double>(plan.sequences.size()));
}

void Engine::CountEnd(const Sequence& sequence) {
  const Request& request = sequence.request();
  stats_.request_duration.Observe(kRequestDurationEdges, ToSeconds(now_ - request.arrival));
  stats_.request_prompt_tokens.Observe(kRequestTokensEdges, sequence.prompt_tokens());
  stats_.request_generated_tokens.Observe(kRequestTokensEdges, sequence.generated_tokens());
  stats_.request_preemptions.Observe(kPreemptionsEdges, sequence.preemptions());
  if (sequence.generated_tokens() < 2) return;
  const double seconds = ToSeconds(sequence.last_token_at() - sequence.first_token_at());
  stats_.decode_time.Observe(kTimeToFirstTokenEdges, seconds);
  stats_.time_per_output_token.Observe(kInterTokenEdges,
                                       seconds / (sequence.generated_tokens() - 1));
}

void Engine::FailRow(Sequence* sequence, int32_t code, TokenEvent event) {
  // The KV may be what is wrong: who begins with the same tokens is to compute its own. Not so
  // where the request's rules leave no token, or one client could take from others what they share.
  if (code != kernels::kNothingAllowed) kv_->ForgetPrefix(sequence->id());
  Finish(sequence, FinishReason::kError, RowFailure(code, sequence->generated_tokens()),
         std::move(event));
}

void Engine::CommitScores(const SequenceStep& step, std::span<const kernels::SampledToken> rows,
                          int32_t first_row) {
  Sequence* const sequence = scheduler_.Find(step.sequence);
  if (sequence == nullptr) return;
  TokenEvent event{.request = sequence->request().id};
  event.prompt_scores = std::make_unique<PromptScores>();
  PromptScores& scores = *event.prompt_scores;
  scores.first = step.start + 1;
  for (int32_t row = first_row; row < first_row + step.num_targets; ++row) {
    const kernels::SampledToken& scored = rows[static_cast<size_t>(row)];
    if (scored.token_id < 0) {
      return FailRow(sequence, scored.token_id, TokenEvent{.request = event.request});
    }
    scores.logprobs.push_back(scored.logprob);
    if (step.target_alternatives == 0) continue;
    scores.alternatives.push_back(
        CopyAlternatives(runner_->Alternatives(row), step.target_alternatives));
  }
  sequence->CommitScores(step.start + step.num_targets);
  events_.push_back(std::move(event));
}

void Engine::CommitToken(Sequence* sequence, const kernels::SampledToken& sampled, int32_t row) {
  TokenEvent event{.request = sequence->request().id};
  if (sampled.token_id < 0) {
    return FailRow(sequence, sampled.token_id, std::move(event));
  }
  LiveRequest& live = live_.at(event.request);
  const bool resumed = std::exchange(live.resumed, false);
  const TimePoint last_token_at = sequence->last_token_at();
  sequence->CommitToken(sampled.token_id, now_);
  TenantStats& tenant = Count(sequence->request().tenant);
  if (sequence->generated_tokens() == 1) {
    const double seconds = ToSeconds(now_ - sequence->request().arrival);
    stats_.time_to_first_token.Observe(kTimeToFirstTokenEdges, seconds);
    tenant.time_to_first_token.Observe(kTenantFirstTokenEdges, seconds);
    stats_.prefill_time.Observe(kTimeToFirstTokenEdges, ToSeconds(now_ - sequence->started_at()));
  } else if (!resumed) {
    stats_.inter_token.Observe(kInterTokenEdges, ToSeconds(now_ - last_token_at));
  }
  ++stats_.generated_tokens;
  ++tenant.generated_tokens;
  event.token = sampled.token_id;
  event.logprob = sampled.logprob;
  if (const int32_t wanted = sequence->request().sampling.top_logprobs; wanted > 0) {
    event.alternatives = CopyAlternatives(runner_->Alternatives(row), wanted);
  }
  const std::optional<FinishReason> end =
      live.stop.Check(sampled.token_id, sequence->generated_tokens());
  if (end.has_value()) return Finish(sequence, *end, absl::OkStatus(), std::move(event));
  event.hold_back_bytes = live.stop.hold_back_bytes();
  events_.push_back(std::move(event));
}

}  // namespace quire
