#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which way of choosing grids suits which format: the figures of docs/fits.md.

For every format and every fit: quantizes a model with nibble, measures the mean divergence from the original on held-out text, and the
squared error of the Linear weights, as a share of their sum of squares, with NumPy. Prints a Markdown table per model.

    tools/measure_fits.py build/src/cli/nibble models/fable-5M:models/fable-5M/heldout.txt --windows 24
"""

import argparse
import json
import pathlib
import struct
import subprocess
import tempfile

import numpy as np

FORMATS = [
    "int8:row", "int8:tensor:asym", "int6:g64", "int5:g64", "int4:g32", "int4:g128", "int4:g32:asym", "int4:row", "int3:g64:sym", "int2:g32:sym",
    "int2:g32:signed", "int2:g64:half", "int2:g64:asym", "ternary:row", "nf4:g64", "nf4:g64:dq", "fp4:g64", "e2m1:g32:e8m0", "fp8:row", "table4:row",
    "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "iq4_nl", "iq4_xs", "iq3_xxs", "mxfp4", "nvfp4", "tq2_0",
]
FITS = ["absmax", "search", "percentile:99.9", "percentile:97", "entropy"]
TERNARY = ["absmean", "threshold"]


def run(*command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{result.stderr}")
    return json.loads(result.stdout)


def read_linears(directory):
    """The Linear weights of a Hugging Face directory as f32, by name."""
    tensors = {}
    for path in sorted(pathlib.Path(directory).glob("*.safetensors")):
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8 : 8 + size]).items():
            if not name.endswith("_proj.weight"):
                continue
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            kind = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}[entry["dtype"]]
            values = np.frombuffer(data[begin:end], kind)
            if entry["dtype"] == "BF16":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            tensors[name] = values.astype(np.float64)
    return tensors


def measure(nibble, model, text, windows, fmt, fit, scratch):
    planar = ":" in fmt
    output = scratch / ("q" if planar else "q.gguf")
    subprocess.run(["rm", "-rf", output, scratch / "f32"], check=True)
    run(nibble, "quantize", model, "-f", fmt, "--fit", fit, "-o", output, "--json", "-t", 1)
    verdict = run(nibble, "eval", output, "--against", model, "--text", text, "--windows", windows, "--json", "-t", 1)
    run(nibble, "quantize", output, "-f", "f32", "-o", scratch / "f32", "--json", "-t", 1)
    original, rounded = read_linears(model), read_linears(scratch / "f32")
    error = sum(np.sum((original[name] - rounded[name]) ** 2) for name in original)
    return verdict["kl_mean"], error / sum(np.sum(w**2) for w in original.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nibble", type=pathlib.Path)
    parser.add_argument("models", nargs="+", metavar="MODEL:TEXT", help="a Hugging Face directory and the text to measure it on")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--windows", type=int, default=24)
    arguments = parser.parse_args()
    for pair in arguments.models:
        model, text = pair.split(":")
        print(f"\n{pathlib.Path(model).name}: KL, and squared error as a share of the weights' squares\n")
        print("| format | " + " | ".join(FITS + TERNARY) + " |\n|---" * 1 + "|---" * len(FITS + TERNARY) + "|", flush=True)
        for fmt in arguments.formats.split(","):
            cells = []
            for fit in FITS + (TERNARY if fmt.startswith(("ternary", "tq")) else []):
                with tempfile.TemporaryDirectory() as scratch:
                    kl, mse = measure(arguments.nibble, model, text, arguments.windows, fmt, fit, pathlib.Path(scratch))
                cells.append((kl, mse))
            best = min(cells)
            texts = [("**{:.5f}** {:.3g}" if cell == best else "{:.5f} {:.3g}").format(*cell) for cell in cells]
            print(f"| `{fmt}` | " + " | ".join(texts + [""] * (len(FITS + TERNARY) - len(texts))) + " |", flush=True)


if __name__ == "__main__":
    main()
