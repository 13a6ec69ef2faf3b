#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What rounded inputs of Linears cost, by exact integer arithmetic in numpy: for widths that no kernel multiplies (4 bits), too.

    tools/simulate_activations.py build/src/cli/nibble ORIGINAL MODEL... --text heldout.txt --calibration calibration.txt
        [--inputs f32,a8:token,a4:token,a4:g32,a4:static] [--windows 30]

ORIGINAL and MODELs are directories of Llama's network; MODELs are in the container nibble with symmetric integers (int4:g128, int8:row) or in
floating point. Their planes, parts and signs are read as docs/container.md has them, by nothing of nibble's. An input of a Linear is rounded as

    aB:token    a scale for each token              aB:gN    for each N columns of a token
    aB:static   one for all that a site reads, the least squared error on --calibration windows

with B bits and no zero point, behind the rotation where the tensor has one: x' = T x. Products are sums of integers within a group of columns,
exact, times both scales. Loss: mean KL divergence from ORIGINAL, both in f32 apart from that, windows of 512 of which the second half counts.
A row for each model, a column for each kind of inputs, as Markdown. Needs numpy.
"""
import argparse
import json
import pathlib
import re
import subprocess

import numpy

WINDOW = 512
SCORED = slice(WINDOW // 2, WINDOW - 1)  # whose predictions count
DTYPES = {"F32": "<f4", "F16": "<f2", "U8": "u1", "I8": "i1", "I32": "<i4", "I64": "<i8"}
SITES = {"q_proj": "attention", "k_proj": "attention", "v_proj": "attention", "o_proj": "o", "gate_proj": "mlp", "up_proj": "mlp", "down_proj": "down"}


def read_tensors(directory):
    tensors = {}
    for path in sorted(pathlib.Path(directory).glob("*.safetensors")):
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        for name, entry in json.loads(raw[8 : 8 + length]).items():
            if name == "__metadata__":
                continue
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            if entry["dtype"] == "BF16":
                values = (numpy.frombuffer(raw[begin:end], "<u2").astype("<u4") << 16).view("<f4")
            else:
                values = numpy.frombuffer(raw[begin:end], DTYPES[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"])
    return tensors


def hadamard(size):
    """Sylvester's matrix, divided by the root."""
    h = numpy.ones((1, 1), "<f4")
    while len(h) < size:
        h = numpy.block([[h, h], [h, -h]])
    return (h / numpy.sqrt(size)).astype("<f4")


class Linear:
    """Integers [rows, cols], a scale for each group, and how inputs are rotated; or numbers."""

    def __init__(self, tensors, name, listed):
        self.size, self.codes = 0, None
        if listed is None:
            self.values = tensors[name + ".weight"].astype("<f4")
            return
        spelled = re.fullmatch(r"int(\d)(?::g(\d+)|:row)?(?::sym)?(?::f16|:bf16|:f32)?", listed["format"])
        if not spelled:
            raise SystemExit(f"{name}: not integers on a symmetric grid: {listed['format']}")
        bits, (rows, cols) = int(spelled[1]), listed["shape"]
        packed = numpy.unpackbits(tensors[name + ".codes"], axis=1, bitorder="little")[:, : cols * bits].reshape(rows, cols, bits)
        self.codes = (packed.astype("<i4") << numpy.arange(bits)).sum(axis=2) - (1 << (bits - 1))
        self.scales = tensors[name + ".scales"].astype("<f4").reshape(rows, -1)
        self.group = int(spelled[2]) if spelled[2] else cols
        parts = listed.get("parts", {})
        if set(parts) - {"planes", "input_transform"} or set(parts.get("planes", [])) - {"input_signs"}:
            raise SystemExit(f"{name}: parts that are not simulated: {parts}")
        if "input_transform" in parts:
            self.size = int(parts["input_transform"].removeprefix("hadamard"))
            signs = tensors.get(name + ".input_signs", numpy.zeros(cols // 8, "u1"))
            if signs.dtype == numpy.uint8:
                signs = 1 - 2 * numpy.unpackbits(signs, bitorder="little").astype("i1")
            self.signs, self.h = signs.astype("<f4"), hadamard(self.size)
        self.codes = self.codes.astype("<f4")
        self.values = self.codes * numpy.repeat(self.scales, self.group, axis=1)[:, :cols]

    def seen(self, x):
        """What is rounded of an input."""
        return x if self.size == 0 else ((x * self.signs).reshape(-1, self.size) @ self.h).reshape(x.shape)

    def multiply(self, x, rounding):
        x = self.seen(x)
        if self.codes is None or rounding is None:
            return x @ self.values.T
        step = int(numpy.gcd(self.group, rounding.run or self.group))
        y = numpy.zeros((len(x), len(self.codes)), "<f4")
        for begin in range(0, x.shape[1], step):
            columns = slice(begin, begin + step)
            codes, scale = rounding.apply(x, columns)
            # Integers whose sums are below 2^24: exact in f32.
            y += (codes @ self.codes[:, columns].T) * (scale * self.scales[:, begin // self.group])
        return y


class Rounding:
    def __init__(self, spelling, static_scale=None):
        bits, grain = re.fullmatch(r"a(\d+):(\w+)", spelling).groups()
        self.limit, self.run, self.static = (1 << (int(bits) - 1)) - 1, int(grain[1:]) if grain[0] == "g" and grain[1:].isdigit() else 0, static_scale

    def apply(self, x, columns):
        if self.static is not None:
            scale = self.static
        elif self.run:
            run = columns.start // self.run * self.run
            scale = numpy.abs(x[:, run : run + self.run]).max(axis=1, keepdims=True) / self.limit
        else:
            scale = numpy.abs(x).max(axis=1, keepdims=True) / self.limit
        scale = numpy.maximum(scale, 1e-30)
        return numpy.clip(numpy.rint(x[:, columns] / scale), -self.limit, self.limit), scale


class Model:
    def __init__(self, directory):
        self.config = json.loads((pathlib.Path(directory) / "config.json").read_text())
        if self.config["model_type"] != "llama" or self.config.get("rope_scaling"):
            raise SystemExit(f"{directory}: not Llama's network as it is simulated here")
        self.tensors = read_tensors(directory)
        listed = self.config.get("quantization_config", {}).get("tensors", {})
        heads, hidden = self.config["num_attention_heads"], self.config["hidden_size"]
        self.heads, self.kv_heads = heads, self.config["num_key_value_heads"]
        self.head_dim = self.config.get("head_dim") or hidden // heads
        self.linears = {}
        for layer in range(self.config["num_hidden_layers"]):
            for kind in SITES:
                block = "self_attn" if kind in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
                name = f"model.layers.{layer}.{block}.{kind}"
                self.linears[layer, kind] = Linear(self.tensors, name, listed.get(name + ".weight"))
        inverse = self.config.get("rope_theta", 10000.0) ** (-numpy.arange(0, self.head_dim, 2) / self.head_dim)
        angles = numpy.outer(numpy.arange(WINDOW), inverse)
        self.cosine, self.sine = numpy.cos(angles)[:, None], numpy.sin(angles)[:, None]
        self.rounding = {}  # by layer and site
        self.observe = None  # called with layer, site, what is rounded

    def norm(self, x, name):
        return x / numpy.sqrt((x.astype("<f8") ** 2).mean(axis=1, keepdims=True) + self.config["rms_norm_eps"]).astype("<f4") * self.tensors[name].astype("<f4")

    def linear(self, layer, kind, x):
        linear, site = self.linears[layer, kind], SITES[kind]
        if self.observe is not None and linear.codes is not None:
            self.observe((layer, site), linear.seen(x))
        return linear.multiply(x, self.rounding.get((layer, site)))

    def turn(self, x, heads):
        x = x.reshape(len(x), heads, self.head_dim)
        a, b = x[..., : self.head_dim // 2], x[..., self.head_dim // 2 :]
        c, s = self.cosine[: len(x)], self.sine[: len(x)]
        return numpy.concatenate([a * c - b * s, b * c + a * s], axis=2).astype("<f4")

    def attention(self, layer, h):
        q, k = self.turn(self.linear(layer, "q_proj", h), self.heads), self.turn(self.linear(layer, "k_proj", h), self.kv_heads)
        v = self.linear(layer, "v_proj", h).reshape(len(h), self.kv_heads, self.head_dim)
        later = numpy.triu(numpy.full((len(h), len(h)), -numpy.inf, "<f4"), 1)
        out = numpy.empty_like(q)
        for head in range(self.heads):
            shared = head * self.kv_heads // self.heads
            scores = q[:, head] @ k[:, shared].T / numpy.sqrt(self.head_dim) + later
            shares = numpy.exp(scores - scores.max(axis=1, keepdims=True))
            out[:, head] = shares / shares.sum(axis=1, keepdims=True) @ v[:, shared]
        return self.linear(layer, "o_proj", out.reshape(len(h), -1))

    def logits(self, ids):
        x = self.tensors["model.embed_tokens.weight"][ids].astype("<f4")
        for layer in range(self.config["num_hidden_layers"]):
            x = x + self.attention(layer, self.norm(x, f"model.layers.{layer}.input_layernorm.weight"))
            h = self.norm(x, f"model.layers.{layer}.post_attention_layernorm.weight")
            gate = self.linear(layer, "gate_proj", h)
            x = x + self.linear(layer, "down_proj", gate / (1 + numpy.exp(-gate)) * self.linear(layer, "up_proj", h))
        head = self.tensors.get("lm_head.weight", self.tensors["model.embed_tokens.weight"]).astype("<f4")
        return self.norm(x, "model.norm.weight") @ head.T

    def fit_static(self, spelling, windows):
        """Of each site the scale of least squared error among shares of the largest magnitude."""
        seen = {}
        self.rounding, self.observe = {}, lambda site, x: seen.setdefault(site, []).append(x)
        for ids in windows:
            self.logits(ids)
        self.observe = None
        limit = Rounding(spelling).limit
        for site, pieces in seen.items():
            x = numpy.concatenate(pieces).ravel()
            x = x[:: max(1, len(x) // 400000)]
            scales = numpy.abs(numpy.concatenate(pieces)).max() * 0.8 ** numpy.arange(28) / limit
            errors = [((numpy.clip(numpy.rint(x / s), -limit, limit) * s - x) ** 2).mean() for s in scales]
            self.rounding[site] = Rounding(spelling, scales[int(numpy.argmin(errors))])

    def choose(self, spelling, windows):
        if spelling == "f32":
            self.rounding = {}
        elif spelling.endswith(":static"):
            self.fit_static(spelling, windows)
        else:
            self.rounding = {(layer, site): Rounding(spelling) for layer in range(self.config["num_hidden_layers"]) for site in SITES.values()}


def log_softmax(x):
    x = x.astype("<f8")
    x -= x.max(axis=1, keepdims=True)
    return x - numpy.log(numpy.exp(x).sum(axis=1, keepdims=True))


def windows_of(options, text, count):
    printed = subprocess.run([options.nibble, "tokenize", options.original, "--text", text, "--json"], capture_output=True, text=True, check=True).stdout
    found = json.loads(printed)
    ids = numpy.array(found["ids"] if isinstance(found, dict) else found)
    windows = [ids[i * WINDOW : (i + 1) * WINDOW].copy() for i in range(min(count, len(ids) // WINDOW))]
    for window in windows:
        window[0] = ids[0]  # where the tokenizer puts a begin token before the text
    return windows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("nibble")
    parser.add_argument("original")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--text", required=True)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--inputs", default="f32,a8:token,a8:static,a4:token,a4:g32,a4:static")
    parser.add_argument("--windows", type=int, default=30)
    options = parser.parse_args()
    windows, calibration = windows_of(options, options.text, options.windows), windows_of(options, options.calibration, 8)
    original = Model(options.original)
    wanted = [log_softmax(original.logits(ids)[SCORED]) for ids in windows]
    inputs = options.inputs.split(",")
    print("| | " + " | ".join(f"`{name}`" if name != "f32" else "in f32" for name in inputs) + " |\n|---|" + "---|" * len(inputs), flush=True)
    for path in options.models:
        model, cells = Model(path), []
        for spelling in inputs:
            model.choose(spelling, calibration)
            losses = []
            for ids, p in zip(windows, wanted):
                q = log_softmax(model.logits(ids)[SCORED])
                losses.append((numpy.exp(p) * (p - q)).sum(axis=1).mean())
            cells.append(f"{numpy.mean(losses):.5f}")
        print(f"| {pathlib.Path(path).name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
