# SPDX-License-Identifier: Apache-2.0
"""Random models whose rows are multiples of 256 long, one of each network that llama.cpp reads, for tests/peer_logits.

    python3 random_models.py TESTS_DATA TOKENIZER_MODEL OUT [NAME...]

They are the tiny models under TESTS_DATA in other sizes, with the tokenizer of TOKENIZER_MODEL. Prints their names. Weights are as large as
makes every layer count; norms and biases differ from 1 and 0, so that none can be left out unseen.
"""

import array
import json
import math
import pathlib
import random
import shutil
import struct
import sys

HIDDEN, WIDE, HEADS, KV_HEADS, HEAD, EXPERTS = 256, 512, 4, 2, 64, 4
NEAR = [1.0 + 0.05 * i for i in range(24)]
FAR = [1.5 + 0.5 * i for i in range(24)]
DELTA = {"linear_num_key_heads": 2, "linear_num_value_heads": 6, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
         "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0, "partial_rotary_factor": 0.25}}
# llama.cpp norms latent vectors by the model's epsilon.
LATENT = {"q_lora_rank": 256, "kv_lora_rank": 256, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32, "v_head_dim": 64,
          "n_routed_experts": 2 * EXPERTS, "moe_intermediate_size": 256, "head_dim": 32, "num_key_value_heads": HEADS}
# name: tiny model, what its configuration says otherwise. llama.cpp slides Gemmas only, and normalizes every routing.
MODELS = {
    "llama": ("tiny_gqa_llama3rope", {}),
    "llama-yarn": ("tiny_yarn", {}),
    "qwen2-yarn": ("tiny_qwen2", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}),
    "mistral": ("tiny_mistral", {"sliding_window": None}),
    "mixtral": ("tiny_mixtral", {"num_local_experts": EXPERTS, "num_experts_per_tok": 2, "intermediate_size": 256}),
    "qwen2": ("tiny_qwen2", {}),
    "qwen3": ("tiny_qwen3", {}),
    "qwen3moe": ("tiny_qwen3moe", {"num_experts": EXPERTS, "moe_intermediate_size": 256}),
    "qwen35": ("tiny_qwen35", DELTA),
    "qwen35moe": ("tiny_qwen35moe", dict(DELTA, num_experts=EXPERTS, moe_intermediate_size=256, shared_expert_intermediate_size=512)),
    "gemma2": ("tiny_gemma2", {"query_pre_attn_scalar": HEAD}),
    "gemma3": ("tiny_gemma3", {"query_pre_attn_scalar": HEAD}),
    "gemma3-yarn": ("tiny_gemma3", {"query_pre_attn_scalar": HEAD,
                                    "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}),
    # Every token to all experts: llama.cpp's GELU sends some elsewhere.
    "gemma4": ("tiny_gemma4", {"global_head_dim": 2 * HEAD, "hidden_size_per_layer_input": 256}),
    "gemma4-unified": ("tiny_gemma4_unified", {"global_head_dim": 2 * HEAD}),
    "gemma4moe": ("tiny_gemma4_moe", {"global_head_dim": 2 * HEAD, "num_experts": EXPERTS, "top_k_experts": EXPERTS, "moe_intermediate_size": 256}),
    "phi3-long": ("tiny_phi3", {"sliding_window": None, "rope_scaling": {"type": "longrope", "short_factor": NEAR, "long_factor": FAR}}),
    # llama.cpp makes contexts multiples of 256, and looks at those.
    "phi3-short": ("tiny_phi3", {"sliding_window": None, "original_max_position_embeddings": 256, "max_position_embeddings": 1024,
                                 "rope_scaling": {"type": "longrope", "short_factor": NEAR, "long_factor": FAR}}),
    "glm": ("tiny_glm", {}),
    "glm4": ("tiny_glm4", {}),
    "glm4moe": ("tiny_glm4moe", {"n_routed_experts": EXPERTS, "moe_intermediate_size": 256}),
    "mistral3": ("tiny_mistral3", {}),
    "deepseek2": ("tiny_deepseek2", LATENT),
    "glm4-moe-lite": ("tiny_glm4_moe_lite", dict(LATENT, n_routed_experts=EXPERTS, rms_norm_eps=1e-6)),
    "smollm3": ("tiny_smollm3", {}),
    "olmo2": ("tiny_olmo2", {}),
    "olmo3": ("tiny_olmo3", {}),
    "olmoe": ("tiny_olmoe", {"num_key_value_heads": HEADS, "num_experts": EXPERTS, "intermediate_size": 256}),
    "granite": ("tiny_granite", {"attention_multiplier": 0.1}),
    "granite4": ("tiny_granite_hybrid", {"attention_multiplier": 0.1, "shared_intermediate_size": 512}),
    "granitemoe": ("tiny_granitemoe", {"attention_multiplier": 0.1, "num_local_experts": EXPERTS, "intermediate_size": 256,
                                       "shared_intermediate_size": 512}),
    "ernie45": ("tiny_ernie45", {}),
    "hunyuan": ("tiny_hunyuan", {}),
    "qwen2moe": ("tiny_qwen2moe", {"num_experts": EXPERTS, "moe_intermediate_size": 256, "shared_expert_intermediate_size": 512}),
    "lfm2": ("tiny_lfm2", {"block_ff_dim": 512, "block_auto_adjust_ff_dim": False}),
    # The positions of the released models, whose borders llama.cpp makes whole; and none that are stretched.
    "gptoss": ("tiny_gptoss", {"num_local_experts": EXPERTS, "intermediate_size": 256, "sliding_window": 32,
                               "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "truncate": False}}),
    "gptoss-plain": ("tiny_gptoss", {"num_local_experts": EXPERTS, "intermediate_size": 256, "sliding_window": 32,
                                     "rope_scaling": {"rope_type": "default"}}),
}


def read_header(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        return [name for name in json.loads(file.read(size)) if name != "__metadata__"]


def number_of_expert(name):
    number = name.partition(".experts.")[2].partition(".")[0]
    return int(number) if number.isdigit() else 0


def shape_of_gemma4(name, config):
    words = name.split(".")
    if not name.startswith("model.layers."):
        width = config.get("hidden_size_per_layer_input", 0)
        every = config["num_hidden_layers"] * width
        return {
            "embed_tokens": [config["vocab_size"], HIDDEN],
            "norm": [HIDDEN],
            "embed_tokens_per_layer": [config["vocab_size"], every],
            "per_layer_model_projection": [every, HIDDEN],
            "per_layer_projection_norm": [width],
        }[words[1]]
    layer, part = int(words[2]), words[-2]
    is_full = config["layer_types"][layer] == "full_attention"
    head = config["global_head_dim"] if is_full else HEAD
    shared = layer >= config["num_hidden_layers"] - config.get("num_kv_shared_layers", 0)
    wide = WIDE * (2 if shared and config.get("use_double_wide_mlp") else 1)
    kv = (config.get("num_global_key_value_heads") or KV_HEADS) if is_full else KV_HEADS
    expert = config.get("moe_intermediate_size")
    whole = {
        "layer_scalar": [1],
        "scale": [HIDDEN],
        "per_expert_scale": [EXPERTS],
        "gate_up_proj": [EXPERTS, 2 * (expert or 0), HIDDEN],
        "down_proj": [EXPERTS, HIDDEN, expert],
    }
    if words[-1] in whole:
        return whole[words[-1]]
    if part in ("q_norm", "k_norm"):
        return [head]
    if "norm" in part:
        return [HIDDEN]
    return {
        "q_proj": [HEADS * head, HIDDEN],
        "k_proj": [kv * head, HIDDEN],
        "v_proj": [kv * head, HIDDEN],
        "o_proj": [HIDDEN, HEADS * head],
        "gate_proj": [wide, HIDDEN],
        "up_proj": [wide, HIDDEN],
        "down_proj": [HIDDEN, wide],
        "proj": [EXPERTS, HIDDEN],
        "per_layer_input_gate": [config.get("hidden_size_per_layer_input"), HIDDEN],
        "per_layer_projection": [HIDDEN, config.get("hidden_size_per_layer_input")],
    }[part]


def shape_of_latent(name, config):
    part, turns = name.split(".")[-2], config["qk_rope_head_dim"]
    length, kept = config["qk_nope_head_dim"] + turns, config["kv_lora_rank"]
    return {
        "gate": [config["n_routed_experts"], HIDDEN],
        "q_a_proj": [config["q_lora_rank"], HIDDEN],
        "q_a_layernorm": [config["q_lora_rank"]],
        "q_b_proj": [HEADS * length, config["q_lora_rank"]],
        "kv_a_proj_with_mqa": [kept + turns, HIDDEN],
        "kv_a_layernorm": [kept],
        "kv_b_proj": [HEADS * (config["qk_nope_head_dim"] + config["v_head_dim"]), kept],
        "o_proj": [HIDDEN, HEADS * config["v_head_dim"]],
    }.get(part)


def shape_of(name, config):
    if config["model_type"].startswith("gemma4"):
        return shape_of_gemma4(name, config)
    if name.endswith("e_score_correction_bias"):
        return [config["n_routed_experts"]]
    own = shape_of_latent(name, config) if "kv_lora_rank" in config else None
    if own is not None:
        return own
    words = name.split(".")
    part, is_bias = words[-2], words[-1] == "bias"
    query, key_value = HEADS * HEAD, config["num_key_value_heads"] * HEAD
    dense = config.get("block_ff_dim", config["intermediate_size"])
    expert = config.get("moe_intermediate_size", dense)
    wide = expert if ".experts." in name else dense
    if ".shared_experts." in name:
        wide = expert * config["n_shared_experts"]
    if ".shared_expert." in name:
        wide = config["shared_expert_intermediate_size"]
    if "model_type" in config and config["model_type"].startswith("qwen3_5"):
        heads, width = config["linear_num_value_heads"], config["linear_value_head_dim"]
        keys, values = config["linear_num_key_heads"] * config["linear_key_head_dim"], heads * width
        own = {
            "q_proj": [2 * query, HIDDEN],
            "in_proj_qkv": [2 * keys + values, HIDDEN],
            "in_proj_z": [values, HIDDEN],
            "in_proj_b": [heads, HIDDEN],
            "in_proj_a": [heads, HIDDEN],
            "out_proj": [HIDDEN, values],
            "conv1d": [2 * keys + values, 1, config["linear_conv_kernel_dim"]],
            "shared_expert_gate": [1, HIDDEN],
        }
        if part in own:
            return own[part]
        if words[-1] in ("A_log", "dt_bias"):
            return [heads]
        if name.endswith("linear_attn.norm.weight"):
            return [width]
        if words[-1] == "gate_up_proj":
            return [EXPERTS, 2 * expert, HIDDEN]
        if words[-1] == "down_proj":
            return [EXPERTS, HIDDEN, expert]
    shared = config.get("shared_intermediate_size", 0)
    own = {  # of Granite and LFM 2
        "block_sparse_moe.input_linear": [EXPERTS, 2 * expert, HIDDEN],
        "block_sparse_moe.output_linear": [EXPERTS, HIDDEN, expert],
        "router.layer": [EXPERTS, HIDDEN],
        "shared_mlp.input_linear": [2 * shared, HIDDEN],
        "shared_mlp.output_linear": [HIDDEN, shared],
        "shared_expert_gate": [1, HIDDEN],
        "conv.in_proj": [3 * HIDDEN, HIDDEN],
        "conv.out_proj": [HIDDEN, HIDDEN],
        "conv.conv": [HIDDEN, 1, config.get("conv_L_cache")],
        "self_attn.out_proj": [HIDDEN, query],
        "q_layernorm": [HEAD],
        "k_layernorm": [HEAD],
        "query_layernorm": [HEAD],
        "key_layernorm": [HEAD],
        "operator_norm": [HIDDEN],
        "ffn_norm": [HIDDEN],
        "embedding_norm": [HIDDEN],
    }
    for ending, shape in own.items():
        if name.removesuffix(".weight").endswith("." + ending):
            return shape
    if part in ("q_norm", "k_norm") and config["model_type"].startswith("olmo"):
        return [query if part == "q_norm" else key_value]
    whole = {  # no "weight" behind their names: stacks, columns by rows
        "sinks": [HEADS],
        "gate_up_proj": [EXPERTS, HIDDEN, 2 * wide],
        "down_proj": [EXPERTS, wide, HIDDEN],
        "gate_up_proj_bias": [EXPERTS, 2 * wide],
        "down_proj_bias": [EXPERTS, HIDDEN],
    }
    if words[-1] in whole:
        return whole[words[-1]]
    if part in ("q_norm", "k_norm"):
        return [HEAD]
    if part == "norm" or part.endswith("layernorm"):
        return [HIDDEN]
    rows, cols = {
        "embed_tokens": (config["vocab_size"], HIDDEN),
        "lm_head": (config["vocab_size"], HIDDEN),
        "q_proj": (query, HIDDEN),
        "k_proj": (key_value, HIDDEN),
        "v_proj": (key_value, HIDDEN),
        "o_proj": (HIDDEN, query),
        "qkv_proj": (query + 2 * key_value, HIDDEN),
        "gate_up_proj": (2 * wide, HIDDEN),
        "gate_proj": (wide, HIDDEN),
        "up_proj": (wide, HIDDEN),
        "down_proj": (HIDDEN, wide),
        "w1": (wide, HIDDEN),
        "w3": (wide, HIDDEN),
        "w2": (HIDDEN, wide),
        "gate": (EXPERTS, HIDDEN),
        "router": (EXPERTS, HIDDEN),
    }[part]
    return [rows] if is_bias else [rows, cols]


def values_of(name, shape, centre, rng):
    count = math.prod(shape)
    if name.endswith("sinks"):
        return array.array("f", (1.5 * rng.gauss(0, 1) for _ in range(count)))
    if name.endswith((".bias", "_bias")):  # numbers that halves have, too: some readers keep biases so
        return array.array("f", struct.unpack(f"<{count}e", struct.pack(f"<{count}e", *(0.3 * rng.gauss(0, 1) for _ in range(count)))))
    if len(shape) == 1:
        return array.array("f", (centre + 0.2 * (centre or 1) * rng.gauss(0, 1) for _ in range(count)))
    if name.endswith(("A_log", "dt_bias")):
        return array.array("f", (rng.gauss(0, 1) - 1 for _ in range(count)))
    # Heads and tied embeddings of about this size keep probabilities away from certainty.
    scale = 0.1 if "embed" in name else (0.15 if "lm_head" in name else 1.2 / shape[-1] ** 0.5)
    return array.array("f", (scale * rng.gauss(0, 1) for _ in range(count)))


def make(directory, tiny, changes, tokenizer):
    rng = random.Random(directory.name)
    config = json.loads((tiny / "config.json").read_text())
    vocabulary = json.loads((tokenizer / "config.json").read_text())
    config.update(hidden_size=HIDDEN, intermediate_size=WIDE, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD)
    config.update({key: vocabulary[key] for key in ("vocab_size", "bos_token_id", "eos_token_id")})
    config.update(changes)
    if "vocab_size_per_layer_input" in config:
        config["vocab_size_per_layer_input"] = config["vocab_size"]
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for side in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / side, directory / side)
    tensors, offset = {}, 0
    names = [n for n in read_header(tiny / "model.safetensors") if number_of_expert(n) < config.get("n_routed_experts", EXPERTS)]
    is_centred = config["model_type"].startswith(("gemma2", "gemma3", "qwen3_5"))
    for name in sorted(names):
        centre = 0.0 if is_centred and not name.endswith("linear_attn.norm.weight") else 1.0
        shape = shape_of(name, config)
        if config["model_type"].startswith("gemma4") and name.endswith("q_norm.weight"):
            centre = shape[0] ** -0.5  # scores are not divided by anything
        bytes_ = values_of(name, shape, centre, rng).tobytes()
        tensors[name] = (shape, offset, bytes_)
        offset += len(bytes_)
    header = {name: {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(b)]} for name, (shape, at, b) in tensors.items()}
    text = json.dumps(header).encode()
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, b in tensors.values():
            file.write(b)


def main():
    data, tokenizer, out = map(pathlib.Path, sys.argv[1:4])
    for name, (tiny, changes) in MODELS.items():
        if len(sys.argv) > 4 and name not in sys.argv[4:]:
            continue
        make(out / name, data / tiny, changes, tokenizer)
        print(name)


if __name__ == "__main__":
    main()
