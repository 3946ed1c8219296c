#include "server/rpc/vllm_codec.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"

namespace quire::server {
namespace {

absl::Status CheckIsServed(const vllm::GenerateRequest& message) {
  const auto unserved = [](absl::string_view field, absl::string_view what) {
    return InvalidField(field, absl::StrCat(" is set; this server has no ", what));
  };
  if (message.has_mm_inputs()) return unserved("mm_inputs", "models with media");
  if (message.extra_mm_inputs_size() > 0) return unserved("extra_mm_inputs", "models with media");
  if (message.has_media_refs()) return unserved("media_refs", "models with media");
  if (message.has_kv_transfer_params() || message.has_kv_transfer_params_json()) {
    return unserved("kv_transfer_params", "transfer of KV between servers");
  }
  if (message.sampling_params().constraint_case() != vllm::SamplingParams::CONSTRAINT_NOT_SET) {
    return unserved("sampling_params.constraint", "structured outputs");
  }
  if (message.data_parallel_rank() != 0) {
    return InvalidField("data_parallel_rank", absl::StrCat(" is ", message.data_parallel_rank(),
                                                           "; this server is the only rank, 0"));
  }
  return absl::OkStatus();
}

// A number that vLLM has signed and -1 in for "all".
absl::StatusOr<uint32_t> Count(absl::string_view field, int32_t value) {
  if (value >= 0) return static_cast<uint32_t>(value);
  return InvalidField(field, absl::StrCat(" is ", value, "; it must be at least 0"));
}

// What is left out means no change to the distribution.
void DecodeNumbers(const vllm::SamplingParams& params, v1::GenerateRequest* request) {
  const auto or_one = [](float value) { return value == 0 ? 1.0f : value; };
  request->set_temperature(params.has_temperature() ? params.temperature() : 1.0f);
  request->set_top_p(or_one(params.top_p()));
  request->set_top_k(params.top_k());
  request->set_min_p(params.min_p());
  request->set_frequency_penalty(params.frequency_penalty());
  request->set_presence_penalty(params.presence_penalty());
  request->set_repetition_penalty(or_one(params.repetition_penalty()));
  if (params.has_seed()) request->set_seed(static_cast<uint64_t>(int64_t{params.seed()}));
}

absl::Status DecodeReports(const vllm::SamplingParams& params, v1::GenerateRequest* request) {
  if (params.has_logprobs()) {
    QUIRE_ASSIGN_OR_RETURN(const uint32_t top, Count("logprobs", params.logprobs()));
    request->set_logprobs(true);
    if (top > 0) request->set_top_logprobs(top);
  }
  if (params.has_prompt_logprobs()) {
    QUIRE_ASSIGN_OR_RETURN(const uint32_t top, Count("prompt_logprobs", params.prompt_logprobs()));
    request->set_prompt_logprobs(top);
  }
  return absl::OkStatus();
}

absl::Status DecodeTokenRules(const vllm::SamplingParams& params, v1::GenerateRequest* request) {
  if (params.has_max_tokens()) request->set_max_tokens(params.max_tokens());
  request->set_min_tokens(params.min_tokens());
  *request->mutable_stop() = params.stop();
  *request->mutable_stop_token_ids() = params.stop_token_ids();
  request->set_skip_special_tokens(params.skip_special_tokens());
  request->set_ignore_eos(params.ignore_eos());
  request->set_include_stop(params.include_stop_str_in_output());
  for (const auto& [id, bias] : params.logit_bias()) {
    QUIRE_ASSIGN_OR_RETURN(const uint32_t token, Count("logit_bias", id));
    (*request->mutable_logit_bias())[token] = bias;
  }
  if (params.truncate_prompt_tokens() == -1) return absl::OkStatus();  // to the context
  if (params.has_truncate_prompt_tokens()) {
    QUIRE_ASSIGN_OR_RETURN(const uint32_t keep,
                           Count("truncate_prompt_tokens", params.truncate_prompt_tokens()));
    request->set_truncate_prompt_tokens(keep);
  }
  return absl::OkStatus();
}

void EncodeTop(const Alternatives& list, vllm::TopLogProbs* message) {
  for (const TokenAlternative& alternative : list) {
    message->add_token_ids(static_cast<uint32_t>(alternative.token));
    message->add_values(alternative.logprob);
  }
}

void EncodeOutputLogprobs(const OutputChunk& chunk, vllm::OutputLogProbs* message) {
  message->mutable_token_ids()->Add(chunk.tokens.begin(), chunk.tokens.end());
  message->mutable_token_logprobs()->Add(chunk.logprobs.begin(), chunk.logprobs.end());
  for (const Alternatives& list : chunk.alternatives) EncodeTop(list, message->add_top_logprobs());
}

// Of all tokens of the prompt; the first has none.
void EncodeInputLogprobs(const PromptPiece& scores, std::span<const TokenId> prompt,
                         vllm::InputLogProbs* message) {
  message->mutable_token_ids()->Add(prompt.begin(), prompt.end());
  message->add_token_logprobs();
  for (const float logprob : scores.logprobs) message->add_token_logprobs()->set_value(logprob);
  if (scores.alternatives.empty()) return;
  message->add_top_logprobs();
  for (const Alternatives& list : scores.alternatives) EncodeTop(list, message->add_top_logprobs());
}

template <typename Message>
void EncodeLogprobs(const OutputChunk& chunk, std::span<const TokenId> prompt, Message* message) {
  if (!chunk.logprobs.empty()) EncodeOutputLogprobs(chunk, message->mutable_output_logprobs());
  if (!chunk.prompt.logprobs.empty()) {
    EncodeInputLogprobs(chunk.prompt, prompt, message->mutable_input_logprobs());
  }
}

const char* NameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kError:
      return "error";
    case FinishReason::kCancelled:
    case FinishReason::kDeadline:
    case FinishReason::kShutdown:
      break;
  }
  return "abort";
}

// generation_config.json's, as far as it changes anything.
std::string SamplingDefaults(const ModelConfig& config) {
  std::vector<std::string> fields;
  const auto add = [&](const char* name, double value, double neutral) {
    if (value != neutral) fields.push_back(absl::StrCat("\"", name, "\":", value));
  };
  add("temperature", config.default_temperature, 1);
  add("top_p", config.default_top_p, 1);
  add("top_k", config.default_top_k, 0);
  add("repetition_penalty", config.default_repetition_penalty, 1);
  return fields.empty() ? "" : absl::StrCat("{", absl::StrJoin(fields, ","), "}");
}

}  // namespace

absl::StatusOr<v1::GenerateRequest> DecodeVllm(const vllm::GenerateRequest& message) {
  QUIRE_RETURN_IF_ERROR(CheckIsServed(message));
  v1::GenerateRequest request;
  if (!message.request_id().empty()) request.set_request_id(message.request_id());
  if (message.has_tokenized()) {
    *request.mutable_token_ids()->mutable_ids() = message.tokenized().input_ids();
  } else if (message.has_text()) {
    request.set_text(message.text());
  }
  const vllm::SamplingParams& params = message.sampling_params();
  if (params.n() > 0) request.set_n(params.n());
  DecodeNumbers(params, &request);
  QUIRE_RETURN_IF_ERROR(DecodeReports(params, &request));
  QUIRE_RETURN_IF_ERROR(DecodeTokenRules(params, &request));
  return request;
}

void EncodeVllmChunk(const OutputChunk& chunk, std::span<const TokenId> prompt,
                     vllm::GenerateResponse* message) {
  vllm::GenerateStreamChunk* const piece = message->mutable_chunk();
  piece->Clear();
  piece->mutable_token_ids()->Add(chunk.tokens.begin(), chunk.tokens.end());
  piece->set_prompt_tokens(static_cast<uint32_t>(prompt.size()));
  piece->set_completion_tokens(static_cast<uint32_t>(chunk.tokens.size()));
  piece->set_index(static_cast<uint32_t>(chunk.index));
  EncodeLogprobs(chunk, prompt, piece);
}

void EncodeVllmComplete(const OutputChunk& chunk, std::span<const TokenId> prompt,
                        vllm::GenerateResponse* message) {
  vllm::GenerateComplete* const end = message->mutable_complete();
  end->Clear();
  end->mutable_output_ids()->Add(chunk.tokens.begin(), chunk.tokens.end());
  end->set_finish_reason(NameOf(chunk.finish->reason));
  end->set_prompt_tokens(static_cast<uint32_t>(prompt.size()));
  end->set_completion_tokens(static_cast<uint32_t>(chunk.tokens.size()));
  end->set_cached_tokens(static_cast<uint32_t>(chunk.finish->cached_tokens));
  end->set_index(static_cast<uint32_t>(chunk.index));
  EncodeLogprobs(chunk, prompt, end);
}

void EncodeVllmModel(const ModelConfig& config, int32_t max_context_tokens, const std::string& path,
                     vllm::GetModelInfoResponse* message) {
  message->set_model_path(path);
  message->set_tokenizer_path(path);
  message->set_is_generation(true);
  message->set_served_model_name(config.name);
  message->add_architectures(config.architecture);
  message->set_max_context_length(static_cast<uint32_t>(max_context_tokens));
  message->set_max_req_input_len(max_context_tokens - 1);  // an answer has a token
  message->set_vocab_size(static_cast<uint32_t>(config.vocab_size));
  message->mutable_eos_token_ids()->Add(config.eos_token_ids.begin(), config.eos_token_ids.end());
  message->set_default_sampling_params_json(SamplingDefaults(config));
}

void EncodeVllmLoad(const EngineStats& stats, int32_t max_running, vllm::SchedulerLoad* message) {
  // The class that every position has a block of.
  const KvClassSnapshot& blocks = stats.kv.classes[0];
  const auto tokens = [&](int64_t count) {
    return static_cast<int32_t>(
        std::min<int64_t>(count * blocks.block_tokens, std::numeric_limits<int32_t>::max()));
  };
  message->set_num_running_reqs(static_cast<int32_t>(stats.running));
  message->set_num_waiting_reqs(static_cast<int32_t>(stats.waiting));
  message->set_num_total_reqs(static_cast<int32_t>(stats.running + stats.waiting));
  message->set_num_used_tokens(tokens(blocks.active_blocks));
  message->set_max_total_num_tokens(tokens(blocks.total_blocks));
  message->set_token_usage(stats.kv.UsageRatio());
  message->set_utilization(stats.kv.UsageRatio());
  if (stats.kv.prefix_queried_tokens > 0) {
    message->set_cache_hit_rate(static_cast<double>(stats.kv.prefix_hit_tokens) /
                                static_cast<double>(stats.kv.prefix_queried_tokens));
  }
  message->set_max_running_requests(max_running);
  message->set_num_waiting_uncached_tokens(static_cast<int32_t>(
      std::min<int64_t>(stats.waiting_tokens, std::numeric_limits<int32_t>::max())));
}

}  // namespace quire::server
