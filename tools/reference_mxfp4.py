#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tiny_gptoss_mxfp4 and tests/data/logits/tiny_gptoss_mxfp4: experts in MXFP4 as gpt-oss is released, and the model's logits.

The model is tests/data/tiny_gptoss in BF16 with random codes and scales in place of its experts' matrices. The logits are those of the package
transformers, in float32, with the matrices that its own reader makes of blocks and scales. Needs torch, safetensors and transformers.
"""

import argparse
import json
import pathlib
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from reference_logits import write_logits


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("tests/data"))
    data = parser.parse_args().data
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(9)
    source = data / "tiny_gptoss"
    config = json.loads((source / "config.json").read_text())
    config["torch_dtype"] = "bfloat16"
    packed, decoded = {}, {}
    for name, weight in load_file(str(source / "model.safetensors")).items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            packed[name] = weight.bfloat16()
            decoded[name] = packed[name].float()
            continue
        experts, cols, rows = weight.shape
        blocks = torch.randint(0, 256, (experts, rows, cols // 32, 16), generator=generator, dtype=torch.uint8)
        largest = 126 if "gate_up" in name else 124
        scales = torch.randint(largest - 3, largest, (experts, rows, cols // 32), generator=generator, dtype=torch.uint8)
        packed |= {name + "_blocks": blocks, name + "_scales": scales}
        decoded[name] = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).contiguous()
        assert decoded[name].shape == weight.shape
    out = data / "tiny_gptoss_mxfp4"
    out.mkdir(exist_ok=True)
    left = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    settings = {"modules_to_not_convert": left, "quant_method": "mxfp4"}
    (out / "config.json").write_text(json.dumps(dict(config, quantization_config=settings), indent=2, sort_keys=True) + "\n")
    save_file(packed, str(out / "model.safetensors"), metadata={"format": "pt"})
    with tempfile.TemporaryDirectory() as directory:
        plain = pathlib.Path(directory)
        (plain / "config.json").write_text(json.dumps(config))
        save_file(decoded, str(plain / "model.safetensors"), metadata={"format": "pt"})
        ids = torch.randint(2, config["vocab_size"], (100,), generator=generator).tolist()
        write_logits(plain, data / "logits" / "tiny_gptoss_mxfp4", ids, [0, 1, 40, 99])


if __name__ == "__main__":
    main()
