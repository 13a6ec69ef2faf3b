#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tiny_gptq and tests/data/logits/tiny_gptq: a model whose Linears are packed as GPTQ packs them, and its logits.

The model is tests/data/tiny_gqa_llama3rope, its Linears rounded to 4 bits with a scale and a zero point for each 32 inputs: those of layer 0 with inputs
in an order of their own (desc_act), those of layer 1 as they lie. Packed by NumPy, checkpoint_format "gptq"; embedding, head and norms in F16. The
logits are those of the package transformers with the rounded weights, in float32. Needs numpy, torch, safetensors and transformers.
"""

import argparse
import json
import pathlib
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from reference_logits import write_logits

GROUP, BITS = 32, 4


def pack(codes):
    """[lines, n] codes -> [lines, n / 8] words, the first code lowest."""
    words = codes.astype(np.uint32).reshape(codes.shape[0], -1, 8) << np.arange(0, 32, BITS, dtype=np.uint32)
    return np.ascontiguousarray(np.bitwise_or.reduce(words, axis=2)).view(np.int32)


def quantize(weight, g_idx):
    """The tensors of a layer, and the weight that they mean."""
    w = weight.float().numpy()
    groups = int(g_idx.max()) + 1
    low = np.stack([np.minimum(w[:, g_idx == g].min(axis=1), 0) for g in range(groups)], axis=1)
    high = np.stack([np.maximum(w[:, g_idx == g].max(axis=1), 0) for g in range(groups)], axis=1)
    scales = ((high - low) / 15).astype(np.float16)
    wide = scales.astype(np.float32)
    zeros = np.clip(np.rint(-low / wide), 1, 15).astype(np.int64)
    codes = np.clip(np.rint(w / wide[:, g_idx]) + zeros[:, g_idx], 0, 15).astype(np.int64)
    decoded = wide[:, g_idx] * (codes - zeros[:, g_idx]).astype(np.float32)
    tensors = {
        "qweight": pack(codes).T.copy(),
        "qzeros": pack(zeros.T - 1),
        "scales": scales.T.copy(),
        "g_idx": g_idx.astype(np.int32),
    }
    return {key: torch.from_numpy(value) for key, value in tensors.items()}, torch.from_numpy(decoded)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("tests/data"))
    data = parser.parse_args().data
    torch.set_num_threads(1)
    rng = np.random.default_rng(7)
    source = data / "tiny_gqa_llama3rope"
    config = json.loads((source / "config.json").read_text())
    config["torch_dtype"] = "float16"
    packed, decoded = {}, {}
    for name, weight in load_file(str(source / "model.safetensors")).items():
        if "_proj" not in name:
            packed[name] = weight.half()
            decoded[name] = packed[name].float()
            continue
        g_idx = np.arange(weight.shape[1]) // GROUP
        if ".layers.0." in name:
            g_idx = rng.permutation(g_idx)
        layer = name.removesuffix(".weight")
        tensors, decoded[name] = quantize(weight, g_idx)
        packed |= {f"{layer}.{key}": tensor for key, tensor in tensors.items()}
    out = data / "tiny_gptq"
    out.mkdir(exist_ok=True)
    settings = {"bits": BITS, "checkpoint_format": "gptq", "desc_act": True, "group_size": GROUP, "quant_method": "gptq", "sym": False}
    (out / "config.json").write_text(json.dumps(dict(config, quantization_config=settings), indent=2, sort_keys=True) + "\n")
    save_file(packed, str(out / "model.safetensors"), metadata={"format": "pt"})
    with tempfile.TemporaryDirectory() as directory:
        plain = pathlib.Path(directory)
        (plain / "config.json").write_text(json.dumps(config))
        save_file(decoded, str(plain / "model.safetensors"), metadata={"format": "pt"})
        generator = torch.Generator().manual_seed(8)
        ids = torch.randint(2, config["vocab_size"], (100,), generator=generator).tolist()
        write_logits(plain, data / "logits" / "tiny_gptq", ids, [0, 1, 40, 99])


if __name__ == "__main__":
    main()
