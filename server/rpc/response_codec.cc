#include "server/rpc/response_codec.h"

#include <algorithm>

namespace quire::server {
namespace {

v1::FinishReason EncodeFinishReason(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case FinishReason::kCancelled:
      return v1::FINISH_REASON_CANCELLED;
    case FinishReason::kDeadline:
      return v1::FINISH_REASON_DEADLINE;
    case FinishReason::kError:
      return v1::FINISH_REASON_ERROR;
    case FinishReason::kShutdown:
      return v1::FINISH_REASON_SHUTDOWN;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

v1::AttentionKind EncodeAttentionKind(const ModelConfig& config) {
  switch (ShapeOfAttention(config).kind) {
    case AttentionShape::Kind::kMha:
      return v1::ATTENTION_KIND_MHA;
    case AttentionShape::Kind::kMqa:
      return v1::ATTENTION_KIND_MQA;
    case AttentionShape::Kind::kGqa:
      break;
  }
  return v1::ATTENTION_KIND_GQA;
}

template <typename Messages>
void EncodeAlternatives(const std::vector<Alternatives>& lists, Messages* messages) {
  for (const Alternatives& list : lists) {
    v1::TopLogprobs* const message = messages->Add();
    for (const TokenAlternative& alternative : list) {
      message->add_token_ids(static_cast<uint32_t>(alternative.token));
      message->add_logprobs(alternative.logprob);
    }
  }
}

void EncodePrompt(const PromptPiece& prompt, v1::GenerateResponse* message) {
  message->set_prompt_text(prompt.text);
  message->mutable_prompt_token_ids()->Add(prompt.tokens.begin(), prompt.tokens.end());
  message->mutable_prompt_logprobs()->Add(prompt.logprobs.begin(), prompt.logprobs.end());
  EncodeAlternatives(prompt.alternatives, message->mutable_prompt_top_logprobs());
}

void EncodeTotals(const AnswerTotals& totals, Duration total, v1::GenerateResponse* message) {
  v1::Usage* usage = message->mutable_usage();
  usage->set_prompt_tokens(static_cast<uint32_t>(totals.prompt_tokens));
  usage->set_cached_tokens(static_cast<uint32_t>(totals.cached_tokens));
  usage->set_generated_tokens(static_cast<uint32_t>(totals.generated_tokens));
  v1::Timings* timings = message->mutable_timings();
  timings->set_queue_seconds(ToSeconds(totals.queue_time));
  timings->set_time_to_first_token_seconds(ToSeconds(totals.time_to_first_token));
  timings->set_total_seconds(ToSeconds(total));
}

}  // namespace

void EncodeChunk(const OutputChunk& chunk, Duration total, v1::GenerateResponse* message) {
  message->Clear();
  message->set_index(static_cast<uint32_t>(chunk.index));
  message->set_text(chunk.text);
  message->mutable_token_ids()->Add(chunk.tokens.begin(), chunk.tokens.end());
  message->mutable_logprobs()->Add(chunk.logprobs.begin(), chunk.logprobs.end());
  message->set_token_offset(static_cast<uint32_t>(chunk.token_offset));
  EncodeAlternatives(chunk.alternatives, message->mutable_top_logprobs());
  EncodePrompt(chunk.prompt, message);
  if (chunk.finish != nullptr) message->set_finish_reason(EncodeFinishReason(chunk.finish->reason));
  if (chunk.totals != nullptr) EncodeTotals(*chunk.totals, total, message);
}

namespace {

void EncodeKvCache(const KvLayout& layout, int64_t num_blocks, v1::KvCache* message) {
  message->set_block_tokens(static_cast<uint32_t>(layout.block_tokens));
  message->set_block_bytes(layout.BlockBytes());
  message->set_num_blocks(static_cast<uint64_t>(num_blocks));
  message->set_dtype(kernels::DTypeName(layout.dtype));
  message->set_window(static_cast<uint32_t>(layout.window));
  message->set_num_layers(static_cast<uint32_t>(layout.layers.size()));
}

}  // namespace

void EncodeModel(ModelEngine& engine, const ChatFormat& chat, v1::Model* message) {
  if (chat.family.has_value()) {
    message->set_chat_family(std::string(ChatFamilyName(*chat.family)));
  }
  const ModelConfig& config = engine.config();
  message->set_name(config.name);
  message->set_architecture(config.architecture);
  message->set_vocab_size(static_cast<uint32_t>(config.vocab_size));
  message->set_context_length(static_cast<uint32_t>(engine.options().max_context_tokens));
  message->set_num_layers(static_cast<uint32_t>(config.num_layers));
  message->set_num_heads(static_cast<uint32_t>(config.num_heads));
  message->mutable_kv_groups()->Add(config.kv_groups.begin(), config.kv_groups.end());
  message->set_head_dim(static_cast<uint32_t>(config.head_dim));
  message->set_attention_kind(EncodeAttentionKind(config));
  message->mutable_eos_token_ids()->Add(config.eos_token_ids.begin(), config.eos_token_ids.end());
  message->set_num_parameters(static_cast<uint64_t>(config.NumParameters()));
  message->set_device(engine.device_description());
  const KvSnapshot kv = engine.engine().Stats().kv;
  for (size_t c = 0; c < engine.kv_layouts().size(); ++c) {
    EncodeKvCache(engine.kv_layouts()[c], kv.num_slabs * kv.classes[c].blocks_per_slab,
                  message->add_kv_caches());
  }
}

}  // namespace quire::server
