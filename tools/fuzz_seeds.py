#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes fuzz/corpus/safetensors/NAME: seeds in which other programs have quantized a small matrix or a few.

A seed is a byte (1: config.json, 3: quantize_config.json), that file, a zero, and the weights, as fuzz_safetensors reads them. Needs what
reference_quantized.py needs, or, with --from-models, only the package safetensors: then those are written that are parts of the models in tests/data.
"""

import argparse
import json
import pathlib
import re

from safetensors.torch import load_file, save

PACKED = ("tiny_awq", "tiny_llama_bitnet", "tiny_bitsandbytes", "tiny_compressed_tensors", "tiny_fp8_blocks", "tiny_gptq", "tiny_llm_int8", "tiny_mlx")
# Parts of models as they lie in tests/data.
PARTS = {
    "tiny_qwen3_modelopt": r"mlp\.up_proj|1\.mlp\.down_proj",
    "tiny_qwen3moe_gptq": r"layers\.0\.mlp\.experts\.[01]\.(up|down)_proj",
    "tiny_qwen3moe_mlx": r"layers\.0\.mlp\.switch_mlp",
}


def names_of(packer):
    from quantized_packers import CompressedTensors

    if not isinstance(packer, CompressedTensors):
        return ["model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"]
    parts = [f"self_attn.{part}_proj" for part in "qkvo"] + [f"mlp.{part}_proj" for part in ("gate", "up", "down")]
    return [f"model.layers.{layer}.{part}.weight" for layer in (0, 1) for part in parts]


def write_seed(path, kind, settings, tensors):
    path.write_bytes(bytes([kind]) + json.dumps(settings).encode() + b"\0" + save(tensors))


def write_packed(out):
    import torch
    from reference_quantized import MODELS

    generator = torch.Generator().manual_seed(3)
    for name in PACKED:
        packer = MODELS[name]()
        tensors = {}
        for key in names_of(packer):
            cols = 32 if key.endswith("1.mlp.down_proj.weight") else 64
            tensors |= packer.pack(key, torch.randn(16, cols, generator=generator))[0]
        write_seed(out / name.removeprefix("tiny_"), 1, packer.settings(), tensors)
        if name == "tiny_gptq":
            write_seed(out / "quantize_config", 3, packer.settings()["quantization_config"], tensors)


def write_parts(out, data):
    for name, pattern in PARTS.items():
        config = json.loads((data / name / "config.json").read_text())
        settings = {key: value for key, value in config.items() if key.startswith("quantization")}
        tensors = {key: tensor for key, tensor in load_file(str(data / name / "model.safetensors")).items() if re.search(pattern, key)}
        write_seed(out / name.removeprefix("tiny_"), 1, settings, tensors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("fuzz/corpus/safetensors"))
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("tests/data"))
    parser.add_argument("--from-models", action="store_true")
    arguments = parser.parse_args()
    if not arguments.from_models:
        write_packed(arguments.out)
    write_parts(arguments.out, arguments.data)


if __name__ == "__main__":
    main()
