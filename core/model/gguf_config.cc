#include "core/model/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/config_limits.h"
#include "core/model/gguf_fields.h"
#include "core/model/gguf_rope.h"
#include "core/model/mapped_file.h"
#include "kernels/api/ops.h"

namespace quire {
namespace {

using kernels::DType;

constexpr char kArchitectureKey[] = "general.architecture";
constexpr char kLlama[] = "llama";

// Keys by which a file would ask for something that is not done here.
struct NeutralKey {
  const char* name;  // after the architecture and a dot
  double neutral;
};
constexpr NeutralKey kUnsupportedKeys[] = {
    {"expert_count", 0},    {"attention.clamp_kqv", 0}, {"attention.max_alibi_bias", 0},
    {"attention.scale", 0}, {"logit_scale", 0},         {"residual_scale", 0},
    {"embedding_scale", 0}, {"pooling_type", 0},
};

class GgufConfigReader {
 public:
  GgufConfigReader(const GgufFields& fields, std::string architecture, ModelConfig* config)
      : fields_(fields), architecture_(std::move(architecture)), config_(config) {}

  absl::Status ReadCommon();
  absl::Status RefuseWindow();
  absl::Status ReadGemma();
  absl::Status ReadSoftcaps(double attention, double logits);
  // Layers for which `windowed` holds see sliding_window tokens.
  template <typename Windowed>
  absl::Status ReadWindows(const Windowed& windowed);
  absl::Status ReadRope() { return ReadGgufRope(fields_, architecture_, config_); }
  absl::Status ReadWindowRope();

 private:
  std::string Key(const char* name) const { return absl::StrCat(architecture_, ".", name); }
  bool HasTensor(const char* name) const;
  absl::Status RefuseUnsupported();
  absl::Status ReadEmbedding();
  absl::Status ReadHeads();
  absl::Status ReadHeadDim();
  absl::Status ReadIntermediateSizes();
  absl::Status ReadEosTokens();
  void ReadTensorKinds();

  const GgufFields& fields_;
  const std::string architecture_;
  ModelConfig* const config_;
};

void SetNames(TensorNames* names) {
  *names = {.embedding = "token_embd",
            .final_norm = "output_norm",
            .lm_head = "output",
            .layers = "blk.",
            .attention_norm = "attn_norm",
            .qkv = {"attn_q", "attn_k", "attn_v"},
            .q_norm = "attn_q_norm",
            .k_norm = "attn_k_norm",
            .o = "attn_output",
            .attention_post_norm = "post_attention_norm",
            .mlp_norm = "ffn_norm",
            .gate_up = {"ffn_gate", "ffn_up"},
            .down = "ffn_down",
            .mlp_post_norm = "post_ffw_norm"};
}

absl::Status GgufConfigReader::ReadCommon() {
  QUIRE_RETURN_IF_ERROR(RefuseUnsupported());
  SetNames(&config_->tensors);
  QUIRE_ASSIGN_OR_RETURN(config_->num_layers, fields_.Int(Key("block_count"), 1, kMaxLayers));
  QUIRE_ASSIGN_OR_RETURN(config_->hidden_size, fields_.Int(Key("embedding_length"), 1, kMaxHidden));
  QUIRE_ASSIGN_OR_RETURN(config_->max_positions,
                         fields_.Int(Key("context_length"), 1, kMaxPositions));
  QUIRE_ASSIGN_OR_RETURN(config_->rms_norm_eps,
                         fields_.Number(Key("attention.layer_norm_rms_epsilon"), 1e-12, 1));
  QUIRE_RETURN_IF_ERROR(ReadEmbedding());
  QUIRE_RETURN_IF_ERROR(ReadHeads());
  QUIRE_RETURN_IF_ERROR(ReadHeadDim());
  QUIRE_RETURN_IF_ERROR(ReadIntermediateSizes());
  QUIRE_RETURN_IF_ERROR(ReadEosTokens());
  ReadTensorKinds();
  return absl::OkStatus();
}

bool GgufConfigReader::HasTensor(const char* name) const {
  const std::vector<GgufTensor>& tensors = fields_.file().tensors;
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const GgufTensor& tensor) { return tensor.name == name; });
}

absl::Status GgufConfigReader::RefuseUnsupported() {
  for (const NeutralKey& key : kUnsupportedKeys) {
    QUIRE_ASSIGN_OR_RETURN(const double value,
                           fields_.NumberOr(Key(key.name), key.neutral, -1e30, 1e30));
    if (value == key.neutral) continue;
    return fields_.Error(Key(key.name), "absent: what it asks for is not supported");
  }
  QUIRE_ASSIGN_OR_RETURN(const bool causal, fields_.BoolOr(Key("attention.causal"), true));
  if (!causal) return fields_.Error(Key("attention.causal"), "true");
  QUIRE_ASSIGN_OR_RETURN(const int64_t parts, fields_.IntOr("split.count", 1, 0, INT32_MAX));
  if (parts <= 1) return absl::OkStatus();
  return fields_.Error("split.count",
                       "absent: merge the files of a split model into one with "
                       "'llama-gguf-split --merge'");
}

absl::Status GgufConfigReader::ReadEmbedding() {
  const std::string name = config_->tensors.embedding + ".weight";
  for (const GgufTensor& tensor : fields_.file().tensors) {
    if (tensor.name != name) continue;
    if (tensor.shape.size() != 2 || tensor.shape[0] > kMaxVocab) {
      return absl::InvalidArgumentError(absl::StrCat(fields_.where(), ": tensor '", name,
                                                     "' must have two dimensions and at most ",
                                                     kMaxVocab, " rows"));
    }
    config_->vocab_size = static_cast<int32_t>(tensor.shape[0]);
    config_->tie_word_embeddings = !HasTensor("output.weight");
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(fields_.where(), ": lacks tensor '", name, "'"));
}

bool AllEqual(const std::vector<int64_t>& values) {
  return std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) == values.end();
}

absl::Status GgufConfigReader::ReadHeads() {
  const auto layers = static_cast<size_t>(config_->num_layers);
  const std::string heads_key = Key("attention.head_count");
  const std::string groups_key = Key("attention.head_count_kv");
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> heads,
                         fields_.Ints(heads_key, layers, 1, kMaxHeads));
  std::vector<int64_t> groups = heads;
  if (fields_.Has(groups_key)) {
    QUIRE_ASSIGN_OR_RETURN(groups, fields_.Ints(groups_key, layers, 1, kMaxHeads));
  }
  for (size_t l = 0; l < layers; ++l) {
    if (heads[l] % groups[l] == 0) continue;
    return fields_.Error(groups_key, absl::StrCat("a divisor of the heads, but layer ", l, " has ",
                                                  heads[l], " heads and ", groups[l], " groups"));
  }
  config_->num_heads = static_cast<int32_t>(*std::max_element(heads.begin(), heads.end()));
  config_->kv_groups.assign(groups.begin(), groups.end());
  if (!AllEqual(heads)) config_->layer_heads.assign(heads.begin(), heads.end());
  return absl::OkStatus();
}

absl::Status GgufConfigReader::ReadHeadDim() {
  const std::string key = Key("attention.key_length");
  const bool divides =
      config_->hidden_size % config_->num_heads == 0 && config_->layer_heads.empty();
  if (!fields_.Has(key) && !divides) {
    return fields_.Error(key, "given when the heads do not divide embedding_length");
  }
  QUIRE_ASSIGN_OR_RETURN(
      const int64_t head_dim,
      fields_.IntOr(key, config_->hidden_size / config_->num_heads, 1, kMaxHidden));
  if (head_dim % kernels::kHeadDimUnit != 0 || head_dim > kernels::kMaxHeadDim) {
    return fields_.Error(key, absl::StrCat("a multiple of ", kernels::kHeadDimUnit, " of at most ",
                                           kernels::kMaxHeadDim, "; here it is ", head_dim));
  }
  QUIRE_RETURN_IF_ERROR(
      fields_.IntOr(Key("attention.value_length"), head_dim, head_dim, head_dim).status());
  config_->head_dim = static_cast<int32_t>(head_dim);
  return absl::OkStatus();
}

absl::Status GgufConfigReader::ReadIntermediateSizes() {
  const auto layers = static_cast<size_t>(config_->num_layers);
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes,
                         fields_.Ints(Key("feed_forward_length"), layers, 1, kMaxIntermediate));
  config_->intermediate_size = static_cast<int32_t>(*std::max_element(sizes.begin(), sizes.end()));
  if (!AllEqual(sizes)) config_->layer_intermediate_sizes.assign(sizes.begin(), sizes.end());
  return absl::OkStatus();
}

// The end of a text, of a turn and of a message: each ends an answer.
absl::Status GgufConfigReader::ReadEosTokens() {
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    if (!fields_.Has(key)) continue;
    QUIRE_ASSIGN_OR_RETURN(const int64_t id, fields_.Int(key, 0, config_->vocab_size - 1));
    std::vector<TokenId>& ids = config_->eos_token_ids;
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) {
      ids.push_back(static_cast<TokenId>(id));
    }
  }
  return absl::OkStatus();
}

void GgufConfigReader::ReadTensorKinds() {
  config_->qkv_bias = HasTensor("blk.0.attn_q.bias");
  config_->o_bias = HasTensor("blk.0.attn_output.bias");
  config_->mlp_bias = HasTensor("blk.0.ffn_gate.bias");
  const std::vector<GgufTensor>& tensors = fields_.file().tensors;
  const auto is = [](DType dtype) {
    return [dtype](const GgufTensor& tensor) { return tensor.type->plain == dtype; };
  };
  if (std::all_of(tensors.begin(), tensors.end(), is(DType::kF32))) {
    config_->checkpoint_dtype = DType::kF32;
  } else if (std::any_of(tensors.begin(), tensors.end(), is(DType::kF16))) {
    config_->checkpoint_dtype = DType::kF16;
  }
}

absl::Status GgufConfigReader::RefuseWindow() {
  const std::string key = Key("attention.sliding_window");
  QUIRE_ASSIGN_OR_RETURN(const int64_t window, fields_.IntOr(key, 0, 0, kMaxWindow));
  if (window == 0 || window >= config_->max_positions) return absl::OkStatus();
  return fields_.Error(key, "absent for this architecture");
}

absl::Status GgufConfigReader::ReadGemma() {
  // The converter has added one to the weights of norms already.
  config_->norm_weights_plus_one = false;
  config_->post_norms = true;
  config_->scale_embeddings = true;
  config_->gate = kernels::GateKind::kGeluTanh;
  // The format does not say by what queries are scaled. The two 27B models, told by their layers,
  // are the ones that do not go by the size of a head.
  const bool by_heads = (architecture_ == "gemma2" && config_->num_layers == 46) ||
                        (architecture_ == "gemma3" && config_->num_layers == 62);
  const int32_t scalar = by_heads ? config_->hidden_size / config_->num_heads : config_->head_dim;
  config_->attention_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(scalar)));
  return absl::OkStatus();
}

absl::Status GgufConfigReader::ReadSoftcaps(double attention, double logits) {
  QUIRE_ASSIGN_OR_RETURN(config_->attention_softcap,
                         fields_.NumberOr(Key("attn_logit_softcapping"), attention, 0, 1e6));
  QUIRE_ASSIGN_OR_RETURN(config_->logit_softcap,
                         fields_.NumberOr(Key("final_logit_softcapping"), logits, 0, 1e6));
  return absl::OkStatus();
}

template <typename Windowed>
absl::Status GgufConfigReader::ReadWindows(const Windowed& windowed) {
  QUIRE_ASSIGN_OR_RETURN(const int64_t window,
                         fields_.Int(Key("attention.sliding_window"), 1, kMaxWindow));
  for (int32_t layer = 0; layer < config_->num_layers; ++layer) {
    config_->windows.push_back(windowed(layer) ? static_cast<int32_t>(window) : 0);
  }
  return absl::OkStatus();
}

absl::Status GgufConfigReader::ReadWindowRope() {
  config_->window_rope.emplace();
  QUIRE_ASSIGN_OR_RETURN(config_->window_rope->theta,
                         fields_.NumberOr(Key("rope.freq_base_swa"), 10000, 1, kMaxRopeTheta));
  return absl::OkStatus();
}

absl::Status ReadPlain(GgufConfigReader* reader, ModelConfig*) { return reader->RefuseWindow(); }

absl::Status ReadQwen3(GgufConfigReader* reader, ModelConfig* config) {
  config->qk_norm = true;
  return reader->RefuseWindow();
}

absl::Status ReadGemma2(GgufConfigReader* reader, ModelConfig*) {
  QUIRE_RETURN_IF_ERROR(reader->ReadGemma());
  QUIRE_RETURN_IF_ERROR(reader->ReadSoftcaps(50, 30));
  return reader->ReadWindows([](int32_t layer) { return layer % 2 == 0; });
}

absl::Status ReadGemma3(GgufConfigReader* reader, ModelConfig* config) {
  config->qk_norm = true;
  QUIRE_RETURN_IF_ERROR(reader->ReadGemma());
  QUIRE_RETURN_IF_ERROR(reader->ReadSoftcaps(0, 0));
  QUIRE_RETURN_IF_ERROR(reader->ReadWindowRope());
  return reader->ReadWindows([](int32_t layer) { return (layer + 1) % 6 != 0; });
}

struct GgufArchitecture {
  const char* name;          // in the file
  const char* architecture;  // as config.json would call it
  absl::Status (*read)(GgufConfigReader* reader, ModelConfig* config);
};
constexpr GgufArchitecture kArchitectures[] = {{"gemma2", "Gemma2ForCausalLM", ReadGemma2},
                                               {"gemma3", "Gemma3ForCausalLM", ReadGemma3},
                                               {kLlama, "LlamaForCausalLM", ReadPlain},
                                               {"qwen2", "Qwen2ForCausalLM", ReadPlain},
                                               {"qwen3", "Qwen3ForCausalLM", ReadQwen3}};

absl::StatusOr<const GgufArchitecture*> FindArchitecture(const GgufFields& fields) {
  QUIRE_ASSIGN_OR_RETURN(const std::string_view name, fields.String(kArchitectureKey));
  std::string supported;
  for (const GgufArchitecture& architecture : kArchitectures) {
    if (name == architecture.name) return &architecture;
    absl::StrAppend(&supported, supported.empty() ? "" : ", ", architecture.name);
  }
  return fields.Error(kArchitectureKey, absl::StrCat("one of those supported, ", supported));
}

}  // namespace

absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& file, const std::string& where) {
  const GgufFields fields(file, where);
  QUIRE_ASSIGN_OR_RETURN(const GgufArchitecture* architecture, FindArchitecture(fields));
  ModelConfig config;
  config.architecture = architecture->architecture;
  GgufConfigReader reader(fields, architecture->name, &config);
  QUIRE_RETURN_IF_ERROR(reader.ReadCommon());
  QUIRE_RETURN_IF_ERROR(reader.ReadRope());
  QUIRE_RETURN_IF_ERROR(architecture->read(&reader, &config));
  return config;
}

absl::StatusOr<ModelConfig> LoadGgufConfig(const std::string& path) {
  QUIRE_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Open(path));
  QUIRE_ASSIGN_OR_RETURN(const GgufFile file, ParseGguf(mapped.bytes(), path));
  QUIRE_ASSIGN_OR_RETURN(ModelConfig config, ReadGgufConfig(file, path));
  config.name = std::filesystem::path(path).stem().string();
  return config;
}

absl::flat_hash_map<std::string, int64_t> InterleavedHeads(const GgufFile& file,
                                                           const ModelConfig& config) {
  absl::flat_hash_map<std::string, int64_t> heads;
  const absl::StatusOr<std::string_view> name = GgufFields(file, "").String(kArchitectureKey);
  if (!name.ok() || *name != kLlama) return heads;
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerShape shape = config.Layer(layer);
    const std::string prefix = absl::StrCat(config.tensors.layers, layer, ".");
    for (const char* kind : {".weight", ".bias"}) {
      heads[absl::StrCat(prefix, config.tensors.qkv[0], kind)] = shape.num_heads;
      heads[absl::StrCat(prefix, config.tensors.qkv[1], kind)] = shape.kv_groups;
    }
  }
  return heads;
}

}  // namespace quire
