#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a model's outlier twin: the same function, harder to quantize.

A share of every norm's output channels is multiplied by a factor, and the columns of the Linears that read them are divided by it. Trained
models of several billion parameters look like this by themselves; small ones do not, so their twins stand in for them in tests of awq and
smoothquant.

    tools/make_outlier_twin.py models/tale-4M twin [--share 0.01] [--factor 30] [--seed 0]

Weights are written in F32. Needs numpy and safetensors.
"""
import argparse
import json
import pathlib
import shutil

import numpy
from safetensors import safe_open
from safetensors.numpy import save_file

READERS = {
    "input_layernorm": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "post_attention_layernorm": ["mlp.gate_proj", "mlp.up_proj"],
}


def read_tensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    with safe_open(path, framework="numpy") as file:
        tensors = {}
        for name in file.keys():
            if header[name]["dtype"] == "BF16":
                begin, end = header[name]["data_offsets"]
                raw = numpy.memmap(path, dtype="u1", mode="r")
                start = 8 + int.from_bytes(bytes(raw[:8]), "little")
                bits = numpy.frombuffer(raw[start + begin : start + end].tobytes(), dtype="<u2").astype("<u4") << 16
                tensors[name] = bits.view("<f4").reshape(header[name]["shape"])
            else:
                tensors[name] = file.get_tensor(name).astype("<f4")
        return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--share", type=float, default=0.01, help="of a norm's channels, at least one")
    parser.add_argument("--factor", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    tensors = read_tensors(options.model / "model.safetensors")
    random = numpy.random.default_rng(options.seed)
    layer = 0
    while f"model.layers.{layer}.input_layernorm.weight" in tensors:
        for norm, readers in READERS.items():
            prefix = f"model.layers.{layer}."
            weight = tensors[prefix + norm + ".weight"].copy()
            channels = random.choice(len(weight), size=max(1, round(options.share * len(weight))), replace=False)
            weight[channels] *= options.factor
            tensors[prefix + norm + ".weight"] = weight
            for reader in readers:
                columns = tensors[prefix + reader + ".weight"].copy()
                columns[:, channels] /= options.factor
                tensors[prefix + reader + ".weight"] = columns
        layer += 1

    options.output.mkdir(parents=True, exist_ok=True)
    for path in options.model.iterdir():
        if path.is_file() and path.suffix in (".json", ".model", ".txt"):
            shutil.copy(path, options.output / path.name)
    config = json.loads((options.model / "config.json").read_text())
    config["torch_dtype"] = "float32"
    (options.output / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({name: numpy.ascontiguousarray(tensor) for name, tensor in tensors.items()}, options.output / "model.safetensors", metadata={"format": "pt"})
    print(f"{options.output}: {layer} layers, outliers x{options.factor:g} in {options.share:.1%} of the norms' channels")


if __name__ == "__main__":
    main()
