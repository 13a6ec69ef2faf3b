#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes fuzz/corpus/safetensors/NAME: seeds in which other programs have quantized a small matrix or a few.

A seed is a byte (1: config.json, 3: quantize_config.json), that file, a zero, and the weights, as fuzz_safetensors reads them. Needs what
reference_quantized.py needs.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save

from reference_quantized import MODELS, CompressedTensors

SKIPPED = ("tiny_gptoss_mxfp4", "tiny_w8a8")  # stacks; the same as tiny_compressed_tensors


def names_of(packer):
    if not isinstance(packer, CompressedTensors):
        return ["model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"]
    parts = [f"self_attn.{part}_proj" for part in "qkvo"] + [f"mlp.{part}_proj" for part in ("gate", "up", "down")]
    return [f"model.layers.{layer}.{part}.weight" for layer in (0, 1) for part in parts]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("fuzz/corpus/safetensors"))
    out = parser.parse_args().out
    generator = torch.Generator().manual_seed(3)
    for name, make in MODELS.items():
        if name in SKIPPED:
            continue
        packer = make()
        tensors = {}
        for key in names_of(packer):
            cols = 32 if key.endswith("1.mlp.down_proj.weight") else 64
            tensors |= packer.pack(key, torch.randn(16, cols, generator=generator))[0]
        kind, text = 1, json.dumps(packer.settings())
        (out / name.removeprefix("tiny_")).write_bytes(bytes([kind]) + text.encode() + b"\0" + save(tensors))
        if name == "tiny_gptq":
            text = json.dumps(packer.settings()["quantization_config"])
            (out / "quantize_config").write_bytes(bytes([3]) + text.encode() + b"\0" + save(tensors))


if __name__ == "__main__":
    main()
