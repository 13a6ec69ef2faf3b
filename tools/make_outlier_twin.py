#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a model's outlier twin: the same function, harder to quantize.

A share of every norm's output channels is multiplied by a factor, and the columns of the Linears that read them are divided by it; with
--gated-factor the same befalls the gated products that the down projections read. With --massive some units are added to every gated product, in
whole blocks of 256 columns: they are enormous for some tokens and small for others, and nothing reads them, their columns of down being zeros.
With --key-factor one pair of each head's keys, which rotary positions turn into one another, is multiplied and the queries' divided, with --value-factor
one channel of each head's values and the columns of the output projection that read it: what is kept of a text gets outliers (models without
biases or norms there, whose rotary positions turn halves).
Trained models of several billion parameters look like this by themselves; small ones do not, so their twins stand in for them in tests of awq,
smoothquant and rounded inputs.

    tools/make_outlier_twin.py models/fable-5M twin [--share 0.01] [--factor 30] [--gated-factor 1] [--massive 0] [--key-factor 1] [--value-factor 1] [--seed 0]

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


MASSIVE_FACTOR = 300  # of an up projection's row; the product is with a gate that is open for half of the tokens


def scale_gated(tensors, prefix, share, factor, random):
    """Rows of up times factor, columns of down divided by it."""
    up, down = tensors[prefix + "mlp.up_proj.weight"].copy(), tensors[prefix + "mlp.down_proj.weight"].copy()
    channels = random.choice(len(up), size=max(1, round(share * len(up))), replace=False)
    up[channels] *= factor
    down[:, channels] /= factor
    tensors[prefix + "mlp.up_proj.weight"], tensors[prefix + "mlp.down_proj.weight"] = up, down


def add_massive_units(tensors, prefix, count, random):
    gate, up, down = (tensors[f"{prefix}mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
    hidden, added = gate.shape[1], (count + 255) // 256 * 256
    new = {"gate": numpy.zeros((added, hidden), "<f4"), "up": numpy.zeros((added, hidden), "<f4")}
    new["gate"][:count] = random.normal(size=(count, hidden)) / numpy.sqrt(hidden)
    new["up"][:count] = MASSIVE_FACTOR * random.normal(size=(count, hidden)) / numpy.sqrt(hidden)
    tensors[prefix + "mlp.gate_proj.weight"] = numpy.concatenate([gate, new["gate"]])
    tensors[prefix + "mlp.up_proj.weight"] = numpy.concatenate([up, new["up"]])
    tensors[prefix + "mlp.down_proj.weight"] = numpy.concatenate([down, numpy.zeros((len(down), added), "<f4")], axis=1)


def scale_rows(tensors, name, rows, factor):
    tensors[name] = tensors[name].copy()
    tensors[name][rows] *= factor


def scale_cached(tensors, prefix, config, key_factor, value_factor, random):
    """Of each kv head one pair (i, i + half) of keys and one channel of values; what reads them is divided."""
    heads, kv_heads = config["num_attention_heads"], config.get("num_key_value_heads", config["num_attention_heads"])
    dim = config.get("head_dim") or config["hidden_size"] // heads
    names = {part: f"{prefix}self_attn.{part}_proj.weight" for part in "qkvo"}
    output = numpy.ascontiguousarray(tensors[names["o"]].T)
    for head in range(kv_heads):
        readers = range(head * heads // kv_heads, (head + 1) * heads // kv_heads)
        pair, channel = random.integers(dim // 2), random.integers(dim)
        scale_rows(tensors, names["k"], [head * dim + pair, head * dim + pair + dim // 2], key_factor)
        scale_rows(tensors, names["q"], [reader * dim + i for reader in readers for i in (pair, pair + dim // 2)], 1 / key_factor)
        scale_rows(tensors, names["v"], [head * dim + channel], value_factor)
        output[[reader * dim + channel for reader in readers]] /= value_factor
    tensors[names["o"]] = output.T


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--share", type=float, default=0.01, help="of a norm's channels, at least one")
    parser.add_argument("--factor", type=float, default=30)
    parser.add_argument("--gated-factor", type=float, default=1, help="the same share of the gated products' channels")
    parser.add_argument("--massive", type=int, default=0, help="units to add to every gated product")
    parser.add_argument("--key-factor", type=float, default=1, help="of one pair of dimensions of each head's keys")
    parser.add_argument("--value-factor", type=float, default=1, help="of one channel of each head's values")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    tensors = read_tensors(options.model / "model.safetensors")
    config = json.loads((options.model / "config.json").read_text())
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
        prefix = f"model.layers.{layer}."
        if options.gated_factor != 1:
            scale_gated(tensors, prefix, options.share, options.gated_factor, random)
        if options.massive > 0:
            add_massive_units(tensors, prefix, options.massive, random)
        if options.key_factor != 1 or options.value_factor != 1:
            scale_cached(tensors, prefix, config, options.key_factor, options.value_factor, random)
        layer += 1

    options.output.mkdir(parents=True, exist_ok=True)
    for path in options.model.iterdir():
        if path.is_file() and path.suffix in (".json", ".model", ".txt"):
            shutil.copy(path, options.output / path.name)
    config["torch_dtype"] = "float32"
    config["intermediate_size"] = len(tensors["model.layers.0.mlp.up_proj.weight"])
    (options.output / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({name: numpy.ascontiguousarray(tensor) for name, tensor in tensors.items()}, options.output / "model.safetensors", metadata={"format": "pt"})
    print(f"{options.output}: {layer} layers, outliers x{options.factor:g} in {options.share:.1%} of the norms' channels")


if __name__ == "__main__":
    main()
