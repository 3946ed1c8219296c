#pragma once

#include <string>
#include <vector>

namespace quire {

// What a checkpoint calls its tensors, without ".weight" and ".bias"; the defaults are Llama's. A
// name that the model has no use for is not looked at.
struct TensorNames {
  std::string embedding = "model.embed_tokens";
  std::string final_norm = "model.norm";
  std::string lm_head = "lm_head";
  std::string layers = "model.layers.";  // goes before a layer's number; after it come a dot and:
  std::string attention_norm = "input_layernorm";
  // Three tensors, or one that holds Q, K and V stacked; as gate and up below.
  std::vector<std::string> qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  std::string q_norm = "self_attn.q_norm";
  std::string k_norm = "self_attn.k_norm";
  std::string o = "self_attn.o_proj";
  std::string attention_post_norm = "post_attention_layernorm";  // only with post norms
  std::string mlp_norm = "post_attention_layernorm";             // another one with post norms
  std::vector<std::string> gate_up = {"mlp.gate_proj", "mlp.up_proj"};
  std::string down = "mlp.down_proj";
  std::string mlp_post_norm = "post_feedforward_layernorm";
};

}  // namespace quire
