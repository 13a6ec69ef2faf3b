#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of methods: what each costs in each format on one model, and how long it takes.

    bench/methods.py build/src/cli/nibble models/tale-4M --text models/tale-4M/calibration.txt --heldout models/tale-4M/heldout.txt

Loss is the mean KL divergence from the original on the held-out text (windows of 512, second half scored), in f32 arithmetic. Prints
Markdown as kept in docs/methods.md. Needs nothing but Python.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

FORMATS = "int4:g128,int3:g128,int2:g64,nf4:g64,ternary:row,q4_0,q4_k,q3_k,q2_k,iq4_xs,iq3_xxs,iq2_xs"
METHODS = "rtn,mse,imatrix,awq,gptq,descent"
BLOCK_PREFIXES = ("q", "iq", "tq", "mxfp", "nvfp")


def run(nibble, *arguments):
    done = subprocess.run([nibble, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout


def measure(options, format_name, method, directory):
    output = pathlib.Path(directory) / ("m.gguf" if format_name.startswith(BLOCK_PREFIXES) else "m")
    arguments = ["quantize", options.model, "-f", format_name, "--method", method, "-o", output, "--json"]
    if method not in ("rtn", "mse"):
        arguments += sum((["--text", text] for text in options.text), ["--samples", options.samples])
    start = time.time()
    run(options.nibble, *arguments)
    seconds = time.time() - start
    engine = ["--activations", "f32", "--kv", "f32", "--json"]
    loss = json.loads(run(options.nibble, "eval", output, "--against", options.model, "--text", options.heldout, *engine))["kl_mean"]
    return loss, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nibble")
    parser.add_argument("model")
    parser.add_argument("--text", action="append", required=True, help="calibration text")
    parser.add_argument("--heldout", required=True, help="text to judge by")
    parser.add_argument("--formats", default=FORMATS)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--samples", default=128)
    options = parser.parse_args()
    methods = options.methods.split(",")
    print("| format | " + " | ".join(methods) + " |")
    print("|---|" + "---|" * len(methods), flush=True)
    for format_name in options.formats.split(","):
        cells = []
        for method in methods:
            with tempfile.TemporaryDirectory() as directory:
                try:
                    loss, seconds = measure(options, format_name, method, directory)
                    cells.append(f"{loss:.5f} ({seconds:.1f} s)")
                except RuntimeError as error:
                    print(f"{format_name} {method}: {error}", file=sys.stderr)
                    cells.append("-")
        print(f"| {format_name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
