#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/NAME and tests/data/logits/NAME: small models whose matrices are packed as other programs pack them, and their logits.

    python tools/reference_quantized.py [NAME ...]

Each takes one of the tiny models of reference_logits.py, or a smaller one of another family, packs its matrices, and has them decoded by the program that reads them so. The logits are
those of the package transformers with the decoded matrices, in float32; of tiny_w8a8 and tiny_bitnet_packed, whose inputs are rounded, too, those of transformers' own loading.

    tiny_awq                  version "gemm", packed by NumPy, decoded by AutoAWQ 0.2.7
    tiny_llama_bitnet         ternary, packed and decoded by transformers
    tiny_bitsandbytes         NF4 with doubly quantized scales in layer 0, FP4 in layer 1; by bitsandbytes 0.50
    tiny_compressed_tensors   a format for each matrix of a layer, mixed by names and expressions; by compressed-tensors 0.20
    tiny_fp8_blocks           blocks of 32 x 32; packed by torch, decoded by transformers
    tiny_gptoss_mxfp4         experts in random MXFP4, decoded by transformers
    tiny_gptq                 layer 0 with inputs in an order of their own (desc_act), layer 1 as they lie; packed by NumPy
    tiny_llm_int8             LLM.int8; by bitsandbytes 0.50
    tiny_mlx                  affine, mxfp4, mxfp8 and nvfp4 with settings of layers' own, embedding included; by mlx 0.32
    tiny_w8a8                 int8 rows, inputs rounded on one grid for each matrix; by compressed-tensors 0.20

of BitNet itself:

    tiny_bitnet_packed        ternary, run by transformers with inputs rounded to 8 bits

of Qwen 2, whose q, k and v have biases, Qwen 3, whose queries and keys are normed, and Qwen 3 with experts:

    tiny_qwen2_bitsandbytes   NF4; by bitsandbytes 0.50
    tiny_qwen2_gptq_v2        zero points as they are; packed and decoded by GPTQModel 7.7
    tiny_qwen3_modelopt       an algorithm for each layer, FP8 and NVFP4; by ModelOpt 0.47
    tiny_qwen3moe_awq         as tiny_awq
    tiny_qwen3moe_compressed  4 bits with zero points in groups, packed; by compressed-tensors 0.20
    tiny_qwen3moe_fp8         as tiny_fp8_blocks
    tiny_qwen3moe_gptq        desc_act, and "dynamic" settings of modules of their own; packed and decoded by GPTQModel 7.7
    tiny_qwen3moe_mlx         experts in stacks, whole model by mlx-lm 0.32

Needs numpy, torch, safetensors, transformers, and the packages autoawq (awq/utils/packing_utils.py is all that is imported of it), bitsandbytes,
compressed-tensors, accelerate, gptqmodel, nvidia-modelopt, mlx[cpu] and mlx-lm.
"""

import argparse
import json
import pathlib
import tempfile
import zlib

import quantized_families
import quantized_packers
import torch
from reference_logits import make_tiny, write_logits, write_logits_of
from safetensors.torch import load_file, save_file

MODELS = {
    "tiny_awq": quantized_packers.Awq,
    "tiny_llama_bitnet": quantized_packers.Bitnet,
    "tiny_bitnet_packed": quantized_packers.BitnetAsReleased,
    "tiny_bitsandbytes": quantized_packers.Bitsandbytes,
    "tiny_compressed_tensors": quantized_packers.CompressedTensors,
    "tiny_fp8_blocks": quantized_packers.Fp8Blocks,
    "tiny_gptoss_mxfp4": quantized_packers.GptOss,
    "tiny_gptq": quantized_packers.Gptq,
    "tiny_llm_int8": quantized_packers.LlmInt8,
    "tiny_mlx": quantized_packers.Mlx,
    "tiny_qwen2_bitsandbytes": quantized_families.Qwen2Bitsandbytes,
    "tiny_qwen2_gptq_v2": quantized_families.Qwen2GptqV2,
    "tiny_qwen3_modelopt": quantized_families.Qwen3Modelopt,
    "tiny_qwen3moe_awq": quantized_families.Qwen3MoeAwq,
    "tiny_qwen3moe_compressed": quantized_families.Qwen3MoeCompressed,
    "tiny_qwen3moe_fp8": quantized_families.Qwen3MoeFp8,
    "tiny_qwen3moe_gptq": quantized_families.Qwen3MoeGptq,
    "tiny_qwen3moe_mlx": quantized_families.Qwen3MoeMlx,
    "tiny_w8a8": quantized_packers.W8A8,
}


def write_model(name, data):
    packer = MODELS[name]()
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory)
        if isinstance(packer.source, dict):
            make_tiny(packer.source, source, zlib.crc32(packer.source["model_type"].encode()))
        else:
            source = data / packer.source
        config = json.loads((source / "config.json").read_text())
        weights = load_file(str(source / "model.safetensors"))
        packed, decoded = packer.pack_model(source, weights)
    assert decoded.keys() == weights.keys()
    for key, weight in weights.items():
        assert decoded[key].shape == weight.shape and decoded[key].dtype == torch.float32
    config["torch_dtype"] = str(packer.dtype).removeprefix("torch.")
    out = data / name
    out.mkdir(exist_ok=True)
    (out / "config.json").write_text(json.dumps(config | packer.settings(), indent=2, sort_keys=True) + "\n")
    save_file(packed, str(out / "model.safetensors"), metadata={"format": "pt"})
    with tempfile.TemporaryDirectory() as directory:
        plain = pathlib.Path(directory)
        (plain / "config.json").write_text(json.dumps(config))
        save_file(decoded, str(plain / "model.safetensors"), metadata={"format": "pt"})
        generator = getattr(packer, "generator", torch.Generator().manual_seed(packer.seed))
        ids = torch.randint(2, config["vocab_size"], (100,), generator=generator).tolist()
        if packer.runs_itself:
            from transformers import AutoModelForCausalLM

            model = AutoModelForCausalLM.from_pretrained(str(out), dtype=torch.float32, attn_implementation="eager").eval()
            write_logits_of(model, config, out, data / "logits" / name, ids, [0, 1, 40, 99])
        else:
            write_logits(plain, data / "logits" / name, ids, [0, 1, 40, 99])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *MODELS], metavar="NAME")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("tests/data"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or MODELS:
        write_model(name, arguments.data)


if __name__ == "__main__":
    main()
