# SPDX-License-Identifier: Apache-2.0
"""Writes reference logits of small models, computed by the `transformers` package in float32, as test data.

    python tools/reference_logits.py tiny --out tests/data
    python tools/reference_logits.py bundled --model tests/data/tale-4M --out tests/data/logits/tale-4M

`tiny` first makes seeded random models: tiny_gqa_llama3rope (grouped queries, scaled rotary positions, untied head, F32), tiny_tied (tied
embeddings, one key head per query head, F16), tiny_yarn, and one for each further family (F32). --only NAME makes one of them. Each result is a folder with index.json (ids, positions, files, digest of
the weights) and one file of little-endian f32 per position: the logits over the whole vocabulary.
"""

import argparse
import hashlib
import json
import pathlib
import zlib

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

COMMON = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "mlp_bias": False,
    "model_type": "llama",
    "pretraining_tp": 1,
    "use_cache": True,
}
QWEN = dict(
    COMMON,
    hidden_size=64,
    intermediate_size=80,
    max_position_embeddings=256,
    num_attention_heads=4,
    num_hidden_layers=2,
    num_key_value_heads=2,
    rms_norm_eps=1e-6,
    rope_theta=1000000.0,
    rope_scaling=None,
    sliding_window=None,
    torch_dtype="float32",
    use_sliding_window=False,
    vocab_size=200,
)
GEMMA = dict(
    attention_bias=False,
    attention_dropout=0.0,
    bos_token_id=2,
    eos_token_id=1,
    head_dim=24,
    hidden_act="gelu_pytorch_tanh",
    hidden_activation="gelu_pytorch_tanh",
    hidden_size=64,
    initializer_range=0.02,
    intermediate_size=80,
    max_position_embeddings=256,
    num_attention_heads=4,
    num_hidden_layers=3,
    num_key_value_heads=2,
    query_pre_attn_scalar=24,
    rms_norm_eps=1e-6,
    rope_scaling=None,
    tie_word_embeddings=True,
    torch_dtype="float32",
    use_cache=True,
    vocab_size=200,
)
LLAMA = dict(
    COMMON,
    hidden_size=64,
    intermediate_size=96,
    max_position_embeddings=256,
    num_attention_heads=4,
    num_hidden_layers=2,
    num_key_value_heads=2,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    rope_scaling=None,
    tie_word_embeddings=False,
    torch_dtype="float32",
    vocab_size=256,
)
QWEN35 = {k: v for k, v in QWEN.items() if k not in ("rope_theta", "rope_scaling", "sliding_window", "use_sliding_window", "mlp_bias", "pretraining_tp")}
QWEN35 = dict(
    QWEN35,
    head_dim=32,
    layer_types=["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    linear_conv_kernel_dim=4,
    linear_key_head_dim=16,
    linear_num_key_heads=2,
    linear_num_value_heads=6,
    linear_value_head_dim=16,
    num_hidden_layers=4,
    rope_parameters={
        "mrope_interleaved": True,
        "mrope_section": [2, 1, 1],
        "partial_rotary_factor": 0.25,
        "rope_theta": 100000.0,
        "rope_type": "default",
    },
)
TINY = {
    "tiny_gqa_llama3rope": dict(
        LLAMA,
        head_dim=16,
        rope_scaling={
            "factor": 8.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 32,
            "rope_type": "llama3",
        },
    ),
    "tiny_tied": dict(
        COMMON,
        head_dim=24,
        hidden_size=72,
        intermediate_size=128,
        max_position_embeddings=128,
        num_attention_heads=3,
        num_hidden_layers=2,
        num_key_value_heads=3,
        rms_norm_eps=1e-6,
        rope_theta=500000.0,
        rope_scaling=None,
        tie_word_embeddings=True,
        torch_dtype="float16",
        vocab_size=320,
    ),
    "tiny_qwen2": dict(
        QWEN,
        architectures=["Qwen2ForCausalLM"],
        model_type="qwen2",
        tie_word_embeddings=False,
    ),
    "tiny_qwen3": dict(
        QWEN,
        architectures=["Qwen3ForCausalLM"],
        model_type="qwen3",
        head_dim=24,
        tie_word_embeddings=True,
    ),
    "tiny_gemma2": dict(
        GEMMA,
        architectures=["Gemma2ForCausalLM"],
        model_type="gemma2",
        attn_logit_softcapping=4.0,
        final_logit_softcapping=6.0,
        rope_theta=10000.0,
        sliding_window=11,
    ),
    "tiny_gemma3": dict(
        GEMMA,
        architectures=["Gemma3ForCausalLM"],
        model_type="gemma3_text",
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_local_base_freq=500.0,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
        rope_theta=1000000.0,
        sliding_window=13,
    ),
    "tiny_phi3": dict(
        LLAMA,
        architectures=["Phi3ForCausalLM"],
        model_type="phi3",
        original_max_position_embeddings=40,
        pad_token_id=0,
        partial_rotary_factor=0.75,
        rope_scaling={
            "type": "longrope",
            "short_factor": [1.0, 1.25, 1.5, 1.75, 2.0, 2.5],
            "long_factor": [1.5, 2.5, 4.0, 7.0, 11.0, 16.0],
        },
        sliding_window=15,
    ),
    "tiny_mistral": dict(
        LLAMA,
        architectures=["MistralForCausalLM"],
        model_type="mistral",
        head_dim=16,
        sliding_window=9,
    ),
    "tiny_qwen3moe": dict(
        QWEN,
        architectures=["Qwen3MoeForCausalLM"],
        decoder_sparse_step=1,
        head_dim=24,
        mlp_only_layers=[],
        model_type="qwen3_moe",
        moe_intermediate_size=40,
        norm_topk_prob=True,
        num_experts=6,
        num_experts_per_tok=2,
        tie_word_embeddings=False,
    ),
    "tiny_mixtral": dict(
        LLAMA,
        architectures=["MixtralForCausalLM"],
        head_dim=16,
        intermediate_size=48,
        model_type="mixtral",
        num_experts_per_tok=3,
        num_local_experts=5,
        rope_theta=1000000.0,
        sliding_window=None,
    ),
    "tiny_yarn": dict(
        LLAMA,
        head_dim=32,
        rope_scaling={
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "attention_factor": 1.25,
        },
    ),
    "tiny_glm": dict(
        LLAMA,
        architectures=["GlmForCausalLM"],
        attention_bias=True,
        head_dim=16,
        model_type="glm",
        pad_token_id=0,
        partial_rotary_factor=0.5,
        rms_norm_eps=1.5625e-07,
    ),
    "tiny_glm4": dict(
        LLAMA,
        architectures=["Glm4ForCausalLM"],
        attention_bias=True,
        head_dim=24,
        model_type="glm4",
        pad_token_id=0,
        partial_rotary_factor=0.5,
        rms_norm_eps=1.5625e-07,
    ),
    "tiny_mistral3": dict(
        LLAMA,
        architectures=["Ministral3ForCausalLM"],
        model_type="ministral3",
        head_dim=24,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 16,
            "beta_fast": 24.0,
            "beta_slow": 2.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "llama_4_scaling_beta": 0.3,
        },
    ),
    "tiny_gptoss": dict(
        LLAMA,
        architectures=["GptOssForCausalLM"],
        attention_bias=True,
        head_dim=16,
        intermediate_size=32,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        model_type="gpt_oss",
        num_attention_heads=6,
        num_experts_per_tok=2,
        num_hidden_layers=3,
        num_local_experts=5,
        rope_theta=150000.0,
        rope_scaling={
            "rope_type": "yarn",
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "truncate": False,
        },
        sliding_window=11,
        swiglu_limit=7.0,
        vocab_size=200,
    ),
}
TINY["tiny_qwen35"] = dict(QWEN35, architectures=["Qwen3_5ForCausalLM"], model_type="qwen3_5_text", tie_word_embeddings=True)
TINY["tiny_qwen35moe"] = {
    **{k: v for k, v in QWEN35.items() if k != "intermediate_size"},
    "architectures": ["Qwen3_5MoeForCausalLM"],
    "layer_types": ["linear_attention", "full_attention"],
    "model_type": "qwen3_5_moe_text",
    "moe_intermediate_size": 40,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "shared_expert_intermediate_size": 48,
    "tie_word_embeddings": False,
}
GEMMA4 = {k: v for k, v in GEMMA.items() if k not in ("query_pre_attn_scalar", "rope_scaling", "hidden_act")}
GEMMA4 = dict(
    GEMMA4,
    final_logit_softcapping=6.0,
    global_head_dim=32,
    head_dim=16,
    rope_parameters={
        "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 10000.0, "rope_type": "proportional"},
        "sliding_attention": {"rope_theta": 500.0, "rope_type": "default"},
    },
    sliding_window=13,
)
TINY["tiny_gemma4"] = dict(
    GEMMA4,
    architectures=["Gemma4ForCausalLM"],
    hidden_size_per_layer_input=16,
    layer_types=3 * ["sliding_attention", "full_attention"],
    model_type="gemma4_text",
    num_hidden_layers=6,
    num_kv_shared_layers=2,
    use_double_wide_mlp=True,
    vocab_size_per_layer_input=200,
)
TINY["tiny_gemma4_unified"] = dict(
    GEMMA4,
    architectures=["Gemma4UnifiedForCausalLM"],
    attention_k_eq_v=True,
    layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    model_type="gemma4_unified_text",
    num_global_key_value_heads=1,
    num_hidden_layers=4,
)
TINY["tiny_gemma4_moe"] = dict(
    GEMMA4,
    architectures=["Gemma4ForCausalLM"],
    attention_k_eq_v=True,
    enable_moe_block=True,
    final_logit_softcapping=None,
    hidden_size_per_layer_input=0,
    layer_types=["sliding_attention", "full_attention"],
    model_type="gemma4_text",
    moe_intermediate_size=40,
    num_experts=6,
    num_global_key_value_heads=1,
    num_hidden_layers=2,
    top_k_experts=2,
    vocab_size_per_layer_input=200,
)
DEEPSEEK = {k: v for k, v in LLAMA.items() if k not in ("mlp_bias", "pretraining_tp")}
DEEPSEEK = dict(
    DEEPSEEK,
    first_k_dense_replace=1,
    kv_lora_rank=32,
    moe_intermediate_size=40,
    num_experts_per_tok=3,
    num_hidden_layers=3,
    num_key_value_heads=4,
    qk_nope_head_dim=24,
    qk_rope_head_dim=16,
    rms_norm_eps=1e-6,
    v_head_dim=20,
)
TINY["tiny_deepseek2_lite"] = dict(
    DEEPSEEK,
    architectures=["DeepseekV2ForCausalLM"],
    model_type="deepseek_v2",
    n_group=1,
    n_routed_experts=6,
    n_shared_experts=2,
    norm_topk_prob=False,
    q_lora_rank=None,
    rope_scaling={
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 4.0,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
        "original_max_position_embeddings": 64,
        "type": "yarn",
    },
    routed_scaling_factor=2.0,
    topk_group=1,
    topk_method="greedy",
)
TINY["tiny_deepseek2"] = dict(
    DEEPSEEK,
    architectures=["DeepseekV3ForCausalLM"],
    model_type="deepseek_v3",
    n_group=4,
    n_routed_experts=8,
    n_shared_experts=1,
    norm_topk_prob=True,
    num_nextn_predict_layers=0,
    q_lora_rank=48,
    rope_scaling={
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 4.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 64,
        "type": "yarn",
    },
    routed_scaling_factor=2.5,
    scoring_func="sigmoid",
    topk_group=2,
    topk_method="noaux_tc",
)
TINY["tiny_glm4_moe_lite"] = dict(
    DEEPSEEK,
    architectures=["Glm4MoeLiteForCausalLM"],
    model_type="glm4_moe_lite",
    n_group=1,
    n_routed_experts=6,
    n_shared_experts=1,
    norm_topk_prob=True,
    num_nextn_predict_layers=1,
    partial_rotary_factor=1.0,
    q_lora_rank=32,
    rms_norm_eps=1e-5,
    rope_theta=1000000.0,
    routed_scaling_factor=1.8,
    topk_group=1,
    v_head_dim=32,
)
TINY["tiny_glm4moe"] = dict(
    {k: v for k, v in LLAMA.items() if k not in ("mlp_bias", "pretraining_tp")},
    architectures=["Glm4MoeForCausalLM"],
    attention_bias=True,
    first_k_dense_replace=1,
    head_dim=24,
    model_type="glm4_moe",
    moe_intermediate_size=40,
    n_group=1,
    n_routed_experts=6,
    n_shared_experts=1,
    norm_topk_prob=True,
    num_experts_per_tok=2,
    num_nextn_predict_layers=1,
    pad_token_id=0,
    partial_rotary_factor=0.5,
    rope_theta=1000000.0,
    routed_scaling_factor=2.5,
    topk_group=1,
    use_qk_norm=True,
)
TINY["tiny_bitnet"] = dict(LLAMA, architectures=["BitNetForCausalLM"], hidden_act="relu2", model_type="bitnet", rope_theta=500000.0, tie_word_embeddings=True)
TINY["tiny_smollm3"] = dict(
    LLAMA,
    architectures=["SmolLM3ForCausalLM"],
    model_type="smollm3",
    no_rope_layers=[1, 1, 1, 0, 1],
    num_hidden_layers=5,
    pad_token_id=0,
    tie_word_embeddings=True,
    use_sliding_window=False,
    vocab_size=200,
)
TINY["tiny_olmo2"] = dict(LLAMA, architectures=["Olmo2ForCausalLM"], model_type="olmo2", pad_token_id=0)
TINY["tiny_olmo3"] = dict(
    LLAMA,
    architectures=["Olmo3ForCausalLM"],
    layer_types=["sliding_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
    model_type="olmo3",
    num_hidden_layers=5,
    pad_token_id=0,
    rope_parameters={
        "full_attention": {
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "attention_factor": 1.1386294361119891,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
        },
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    },
    sliding_window=11,
    vocab_size=200,
)
TINY["tiny_olmoe"] = dict(
    LLAMA,
    architectures=["OlmoeForCausalLM"],
    clip_qkv=None,
    intermediate_size=48,
    model_type="olmoe",
    norm_topk_prob=False,
    num_experts=6,
    num_experts_per_tok=2,
    num_key_value_heads=4,
    pad_token_id=0,
)
MULTIPLIERS = dict(attention_multiplier=0.2, embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.35)
TINY["tiny_granite"] = dict(LLAMA, **MULTIPLIERS, architectures=["GraniteForCausalLM"], model_type="granite", tie_word_embeddings=True)
TINY["tiny_granite_hybrid"] = dict(
    LLAMA,
    **MULTIPLIERS,
    architectures=["GraniteMoeHybridForCausalLM"],
    layer_types=["attention", "attention"],
    mamba_n_heads=4,
    model_type="granitemoehybrid",
    num_experts_per_tok=0,
    num_local_experts=0,
    position_embedding_type="rope",
    shared_intermediate_size=80,
    tie_word_embeddings=True,
)
TINY["tiny_granitemoe"] = dict(
    LLAMA,
    **MULTIPLIERS,
    architectures=["GraniteMoeSharedForCausalLM"],
    intermediate_size=40,
    model_type="granitemoeshared",
    num_experts_per_tok=2,
    num_local_experts=5,
    shared_intermediate_size=48,
    tie_word_embeddings=True,
)
TINY["tiny_ernie45"] = dict(
    {k: v for k, v in LLAMA.items() if k not in ("attention_bias", "mlp_bias")},
    architectures=["Ernie4_5ForCausalLM"],
    head_dim=24,
    model_type="ernie4_5",
    rope_theta=500000.0,
    tie_word_embeddings=True,
    use_bias=False,
)
TINY["tiny_hunyuan"] = dict(
    LLAMA,
    architectures=["HunYuanDenseV1ForCausalLM"],
    head_dim=24,
    model_type="hunyuan_v1_dense",
    rope_scaling={"type": "dynamic", "alpha": 50.0, "factor": 1.0},
    tie_word_embeddings=True,
)
TINY["tiny_qwen2moe"] = dict(
    QWEN,
    architectures=["Qwen2MoeForCausalLM"],
    decoder_sparse_step=1,
    mlp_only_layers=[],
    model_type="qwen2_moe",
    moe_intermediate_size=40,
    norm_topk_prob=False,
    num_experts=6,
    num_experts_per_tok=2,
    qkv_bias=True,
    shared_expert_intermediate_size=48,
    tie_word_embeddings=False,
)
TINY["tiny_lfm2"] = dict(
    {k: v for k, v in LLAMA.items() if k not in ("attention_bias", "hidden_act", "mlp_bias", "rms_norm_eps")},
    architectures=["Lfm2ForCausalLM"],
    block_auto_adjust_ff_dim=True,
    block_ff_dim=120,
    block_ffn_dim_multiplier=1.1,
    block_multiple_of=16,
    conv_L_cache=3,
    conv_bias=False,
    layer_types=["conv", "full_attention", "conv"],
    model_type="lfm2",
    norm_eps=1e-5,
    num_hidden_layers=3,
    pad_token_id=0,
    rope_theta=1000000.0,
    tie_word_embeddings=True,
)
FIRST_MODELS = 13  # whose seeds are their places
# Directory and names of (gate, up, down) of an expert as files have them; the package stacks them in memory.
EXPERTS = {
    "olmoe": ("mlp", ("gate_proj", "up_proj", "down_proj")),
    "qwen2_moe": ("mlp", ("gate_proj", "up_proj", "down_proj")),
    "qwen3_moe": ("mlp", ("gate_proj", "up_proj", "down_proj")),
    "mixtral": ("block_sparse_moe", ("w1", "w3", "w2")),
    "deepseek_v2": ("mlp", ("gate_proj", "up_proj", "down_proj")),
    "deepseek_v3": ("mlp", ("gate_proj", "up_proj", "down_proj")),
    "glm4_moe_lite": ("mlp", ("gate_proj", "up_proj", "down_proj")),
    "glm4_moe": ("mlp", ("gate_proj", "up_proj", "down_proj")),
}
# What the package calls parts in memory, and what files do.
RENAMED = {
    "granitemoeshared": {
        "block_sparse_moe.experts.gate_up_proj": "block_sparse_moe.input_linear.weight",
        "block_sparse_moe.experts.down_proj": "block_sparse_moe.output_linear.weight",
        "block_sparse_moe.router.weight": "block_sparse_moe.router.layer.weight",
    },
}


def renamed(weights, names):
    def of(key):
        for there, here in names:
            key = key.replace(there, here)
        return key

    return {of(key): w for key, w in weights.items()}


def as_stored(config, weights):
    """Weights by the names that files have."""
    if config["model_type"] in RENAMED:
        return renamed(weights, RENAMED[config["model_type"]].items())
    if config["model_type"] not in EXPERTS:
        return weights
    block, (gate, up, down) = EXPERTS[config["model_type"]]
    stored = {}
    for name, w in weights.items():
        name = name.replace(".mlp.", f".{block}.")
        prefix = name.rsplit(".", 1)[0]
        if name.endswith("experts.gate_up_proj"):
            for e, both in enumerate(w):
                for part, half in zip((gate, up), both.chunk(2)):
                    stored[f"{prefix}.{e}.{part}.weight"] = half.contiguous()
        elif name.endswith("experts.down_proj"):
            for e, one in enumerate(w):
                stored[f"{prefix}.{e}.{down}.weight"] = one.contiguous()
        else:
            stored[name] = w
    return stored


def as_loaded(config, stored):
    """The other way round."""
    if config["model_type"] in RENAMED:
        return renamed(stored, [(here, there) for there, here in RENAMED[config["model_type"]].items()])
    if config["model_type"] not in EXPERTS:
        return stored
    block, (gate, up, down) = EXPERTS[config["model_type"]]
    count = next(config[key] for key in ("num_experts", "num_local_experts", "n_routed_experts") if key in config)
    weights = {name.replace(f".{block}.", ".mlp."): w for name, w in stored.items() if ".experts." not in name}
    for layer in range(config.get("first_k_dense_replace", 0), config["num_hidden_layers"]):
        of = lambda e, part: stored[f"model.layers.{layer}.{block}.experts.{e}.{part}.weight"]
        prefix = f"model.layers.{layer}.mlp.experts."
        weights[prefix + "gate_up_proj"] = torch.stack([torch.cat([of(e, gate), of(e, up)]) for e in range(count)])
        weights[prefix + "down_proj"] = torch.stack([of(e, down) for e in range(count)])
    return weights


def transformers_config(config):
    """The package's configuration for a config.json with rope_theta and rope_scaling; newer versions of the package want both in one dictionary."""
    apart = ("rope_theta", "rope_local_base_freq", "rope_scaling", "rope_parameters", "torch_dtype", "architectures", "model_type")
    plain = {k: v for k, v in config.items() if k not in apart}
    given = config.get("rope_parameters") or config.get("rope_scaling") or {"rope_type": "default"}
    rope = given if "full_attention" in given else {"rope_theta": config.get("rope_theta"), **given}
    if rope.get("type") == "yarn":
        rope = dict(rope, rope_type=rope.pop("type"))
    if rope.get("type") == "longrope":
        rope = dict(rope, rope_type=rope.pop("type"), partial_rotary_factor=config["partial_rotary_factor"],
                    original_max_position_embeddings=config["original_max_position_embeddings"])
    if "rope_local_base_freq" in config:
        rope = {"full_attention": rope, "sliding_attention": {"rope_type": "default", "rope_theta": config["rope_local_base_freq"]}}
    made = AutoConfig.for_model(config["model_type"], **plain, rope_parameters=rope)
    made._attn_implementation = "eager"
    made._experts_implementation = "eager"
    return made


def load_model(directory):
    """The model of a directory with its stored weights converted to float32."""
    config = json.loads((directory / "config.json").read_text())
    model = AutoModelForCausalLM.from_config(transformers_config(config)).float()
    weights = as_loaded(config, {name: w.float() for name, w in load_file(str(directory / "model.safetensors")).items()})
    missing, unexpected = model.load_state_dict(weights, strict=False)
    expected_missing = ["lm_head.weight"] if config["tie_word_embeddings"] else []
    assert sorted(missing) == expected_missing and not unexpected, (missing, unexpected)
    model.tie_weights()
    return config, model.eval()


def make_tiny(config, directory, seed):
    model = AutoModelForCausalLM.from_config(transformers_config(config))
    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, config["torch_dtype"])
    weights = {}
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        if key.endswith((".A_log", ".dt_bias")):
            w = torch.randn(value.shape, generator=generator) - 1.0
        elif config["model_type"] == "gpt_oss" and key.endswith(("sinks", "gate_up_proj")):
            # As large as scores are, and as makes some numbers meet the limit.
            w = torch.randn(value.shape, generator=generator) * (1.5 if value.ndim == 1 else 0.35)
        elif key.endswith((".bias", "_bias")):
            w = 0.5 * torch.randn(value.shape, generator=generator)
        elif value.ndim == 1:
            zero_centred = config["model_type"].startswith(("gemma2", "gemma3", "qwen3_5")) and not key.endswith("linear_attn.norm.weight")
            centre = 0.0 if zero_centred else 1.0
            w = centre + 0.2 * torch.randn(value.shape, generator=generator)
        else:
            w = torch.randn(value.shape, generator=generator) * (1.0 if "embed" in key else 1.5 / value.shape[-1] ** 0.5)
        weights[key] = w.to(dtype).contiguous()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file(as_stored(config, weights), str(directory / "model.safetensors"), metadata={"format": "pt"})


def write_logits(directory, out, ids, positions):
    config, model = load_model(directory)
    write_logits_of(model, config, directory, out, ids, positions)


@torch.no_grad()
def write_logits_of(model, config, directory, out, ids, positions):
    logits = model(torch.tensor([ids])).logits[0].float()
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for position in positions:
        files[str(position)] = f"position_{position}.bin"
        (out / files[str(position)]).write_bytes(logits[position].numpy().astype("<f4").tobytes())
    losses = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
    index = {
        "description": "logits after each of `positions` (0-based) of `ids`; float32 arithmetic on the stored weights; files hold vocab_size little-endian f32",
        "files": files,
        "ids": ids,
        "mean_negative_log_likelihood": losses.double().mean().item(),
        "positions": positions,
        "vocab_size": config["vocab_size"],
        "weights_sha256": hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest(),
    }
    (out / "index.json").write_text(json.dumps(index, sort_keys=True, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tiny", "bundled"))
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", choices=TINY)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "tiny":
        for place, name in enumerate(TINY):
            if arguments.only not in (None, name):
                continue
            seed = place + 5 if place < FIRST_MODELS else zlib.crc32(name.encode())  # so that the order of later ones is free
            directory = arguments.out / name
            make_tiny(TINY[name], directory, seed)
            generator = torch.Generator().manual_seed(seed + 100)
            ids = torch.randint(2, TINY[name]["vocab_size"], (100,), generator=generator).tolist()
            write_logits(directory, arguments.out / "logits" / name, ids, [0, 1, 40, 99])
            if name == "tiny_phi3":  # the other side of longrope
                write_logits(directory, arguments.out / "logits" / "tiny_phi3_short", ids[:32], [0, 1, 15, 31])
        return
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    ids = tokenizer.encode((arguments.model / "heldout.txt").read_text(encoding="utf-8")).ids[:64]
    write_logits(arguments.model, arguments.out, ids, [0, 7, 31, 63])


if __name__ == "__main__":
    main()
