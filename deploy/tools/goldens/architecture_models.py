"""One tiny checkpoint for each architecture, with what is its own set to values that show.

Windows and original lengths are shorter than the prompts, caps lower than most scores. Each
config.json is written as that family's published ones are.
"""

from __future__ import annotations

from .tiny_model import TinyModel


def _model(name: str, seed: int, architecture: str, model_type: str, lengths=(1, 30, 100),
           **config) -> TinyModel:
  shared = {
      "architectures": [architecture], "model_type": model_type, "torch_dtype": "bfloat16",
      "vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
      "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
      "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
      "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
  merged = {key: value for key, value in (shared | config).items() if value != "absent"}
  return TinyModel(name, seed, merged, lengths)


_FACTORS = [1.0, 1.1, 1.3, 1.6, 2.0, 2.5, 3.1, 4.0]

ARCHITECTURE_MODELS = (
    _model("mistral_window", 21, "MistralForCausalLM", "mistral", num_hidden_layers=2,
           sliding_window=24, tie_word_embeddings=False, hidden_act="silu", rope_theta=10000.0),
    # The first layer has no window.
    _model("qwen2_window_yarn", 22, "Qwen2ForCausalLM", "qwen2", head_dim="absent",
           num_attention_heads=2, num_key_value_heads=1, use_sliding_window=True,
           sliding_window=20, max_window_layers=1, hidden_act="silu", rope_theta=1000000.0,
           rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
    # Positions and layers written the way transformers 5 writes them.
    _model("qwen3_head_norms", 23, "Qwen3ForCausalLM", "qwen3", num_hidden_layers=2, head_dim=32,
           num_attention_heads=2, num_key_value_heads=1, hidden_act="silu", attention_bias=False,
           use_sliding_window=False, sliding_window=None, max_window_layers=2,
           layer_types=["full_attention", "full_attention"],
           rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
    _model("gemma2_softcap_window", 24, "Gemma2ForCausalLM", "gemma2", num_hidden_layers=4,
           sliding_window=24, hidden_act="gelu_pytorch_tanh",
           hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=20,
           attn_logit_softcapping=2.0, final_logit_softcapping=5.0, attention_bias=False,
           rope_theta=10000.0),
    # Five layers with a window and a base of their own, and one without.
    _model("gemma3_two_ropes", 25, "Gemma3ForCausalLM", "gemma3_text", num_hidden_layers=6,
           num_attention_heads=2, num_key_value_heads=1, intermediate_size=32, sliding_window=20,
           sliding_window_pattern=6, hidden_activation="gelu_pytorch_tanh",
           query_pre_attn_scalar=16, attn_logit_softcapping=None, final_logit_softcapping=None,
           attention_bias=False, rope_theta=1000000.0, rope_local_base_freq=10000.0,
           rope_scaling={"rope_type": "linear", "factor": 8.0}),
    # Every prompt is beyond the original length: long factors, on three quarters of a head.
    _model("phi3_longrope_long", 26, "Phi3ForCausalLM", "phi3", (30, 100), num_hidden_layers=2,
           head_dim="absent", num_attention_heads=2, num_key_value_heads=1, hidden_act="silu",
           tie_word_embeddings=False, sliding_window=None, partial_rotary_factor=0.75,
           original_max_position_embeddings=24, rope_theta=10000.0,
           rope_scaling={"type": "longrope", "short_factor": _FACTORS[:6],
                         "long_factor": [2 * factor for factor in _FACTORS[:6]]}),
    # Nothing is beyond it: short factors; and a window.
    _model("phi3_longrope_short", 27, "Phi3ForCausalLM", "phi3", num_hidden_layers=2,
           head_dim="absent", num_attention_heads=2, num_key_value_heads=2, hidden_act="silu",
           tie_word_embeddings=False, sliding_window=24, original_max_position_embeddings=256,
           rope_theta=10000.0,
           rope_scaling={"type": "longrope", "short_factor": _FACTORS,
                         "long_factor": [4 * factor for factor in _FACTORS]}),
    # The second layer of each two does not rotate.
    _model("smollm3_no_rope", 28, "SmolLM3ForCausalLM", "smollm3", num_hidden_layers=4,
           head_dim="absent", num_attention_heads=2, num_key_value_heads=1, hidden_act="silu",
           attention_bias=False, mlp_bias=False, use_sliding_window=False, sliding_window=None,
           no_rope_layers=[1, 0, 1, 0], no_rope_layer_interval=2, rope_theta=2000000.0),
    _model("llama_linear_gelu", 29, "LlamaForCausalLM", "llama", num_hidden_layers=2,
           hidden_act="gelu_pytorch_tanh", attention_bias=False, mlp_bias=True,
           rope_theta=10000.0, rope_scaling={"type": "linear", "factor": 4.0}),
    # The rest is remote code to transformers; see reference.py.
    _model("deci_groups", 30, "DeciLMForCausalLM", "deci", tie_word_embeddings=False,
           num_key_value_heads="absent", num_key_value_heads_per_layer=[4, 1, 2],
           hidden_act="silu", rope_theta=10000.0, rope_scaling=None),
    # A layer without attention, and one without a feed-forward block.
    _model("nemotron_nas_blocks", 31, "DeciLMForCausalLM", "nemotron-nas",
           num_key_value_heads=None, intermediate_size=None, tie_word_embeddings=False,
           hidden_act="silu", attention_bias=False, mlp_bias=False, rope_theta=500000.0,
           rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
           block_configs=[
               {"attention": {"n_heads_in_group": 2, "no_op": False, "replace_with_linear": False},
                "ffn": {"ffn_mult": 5.25, "no_op": False, "replace_with_linear": False}},
               {"attention": {"n_heads_in_group": None, "no_op": True,
                              "replace_with_linear": False},
                "ffn": {"ffn_mult": 2.625, "no_op": False, "replace_with_linear": False}},
               {"attention": {"n_heads_in_group": 4, "no_op": False, "replace_with_linear": False},
                "ffn": {"ffn_mult": None, "no_op": True, "replace_with_linear": False}}]),
    TinyModel("openelm_layers", 32, {
        "architectures": ["OpenELMForCausalLM"], "model_type": "openelm",
        "torch_dtype": "bfloat16", "vocab_size": 48, "model_dim": 32, "num_transformer_layers": 3,
        "head_dim": 16, "num_query_heads": [2, 4, 4], "num_kv_heads": [1, 1, 2],
        "num_gqa_groups": 4, "ffn_multipliers": [0.5, 1.0, 1.75], "ffn_dim_divisor": 16,
        "ffn_with_glu": True, "activation_fn_name": "swish",
        "normalization_layer_name": "rms_norm", "normalize_qk_projections": True,
        "share_input_output_layers": True, "max_context_length": 512, "rope_max_length": 1024,
        "rope_freq_constant": 10000, "bos_token_id": 0, "eos_token_id": 0}),
)
