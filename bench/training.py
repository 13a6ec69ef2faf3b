#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is left of a model at fewer and fewer bits: rounded, rounded with feedback, and trained while it is rounded.

    bench/training.py build/src/cli/nibble MODEL --text calibration.txt --heldout a.txt --heldout b.txt > rows.md
    bench/training.py ... --json rows.json && tools/draw_training.py rows.json docs/training.svg

Loss is the mean KL divergence from the original on the held-out texts (windows of 512, second half scored), in f32 arithmetic. Training is
`nibble train --from MODEL --teacher MODEL --quantize FORMAT` on the same text as gptq's, a part of it held out, with its defaults.
"""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile
import time

from methods import F32, run

FORMATS = "int8:row,int4:g128,int3:g128,int2:g64,ternary:row,binary:row"
METHODS = ("rtn", "gptq", "qat")


def quantize(options, format_name, output):
    return ["quantize", options.model, "-f", format_name, "-o", output]


def make(options, format_name, method, output):
    """The seconds that it took."""
    texts = sum((["--text", text] for text in options.text), [])
    start = time.time()
    if method == "qat":
        run(options.nibble, "train", "--from", options.model, "--teacher", options.model, *texts, "--quantize", format_name, "-o", output,
            "--steps", options.steps, "--held-out", 0.05, "--validate-every", max(1, options.steps // 10), "--patience", 10, *options.train)
    elif method == "gptq":
        run(options.nibble, *quantize(options, format_name, output), "--method", "gptq", *texts, "--samples", options.samples)
    else:
        run(options.nibble, *quantize(options, format_name, output), "--method", "rtn")
    return time.time() - start


def losses(options, output):
    found = []
    for text in options.heldout:
        result = run(options.nibble, "eval", output, "--against", options.model, "--text", text, "--json", *F32)
        found.append(json.loads(result)["kl_mean"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nibble", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--text", action="append", required=True, help="to calibrate with and to learn from")
    parser.add_argument("--heldout", action="append", required=True)
    parser.add_argument("--formats", default=FORMATS)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--keep", type=pathlib.Path, help="a directory for what was trained")
    parser.add_argument("--samples", default="128")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--train", default="", help="more options of `nibble train`, in one word", type=str.split)
    parser.add_argument("--json", type=pathlib.Path, help="the figures, for the picture")
    options = parser.parse_args()
    rows, methods = [], options.methods.split(",")
    names = [pathlib.Path(text).stem for text in options.heldout]
    print("| format | " + " | ".join(f"{method}, {name}" for method in methods for name in names) + " | seconds of gptq, qat |")
    print("|---|" + "---|" * (len(methods) * len(names) + 1), flush=True)
    with tempfile.TemporaryDirectory() as directory:
        for format_name in options.formats.split(","):
            row = {"format": format_name}
            seconds = {}
            for method in methods:
                output = pathlib.Path(directory) / "made"
                try:
                    seconds[method] = make(options, format_name, method, output)
                    row[method] = losses(options, output)
                except RuntimeError as error:
                    print(f"{format_name} {method}: {error}", file=sys.stderr)
                    row[method] = [None] * len(names)
                if options.keep and method == "qat" and output.is_dir():
                    shutil.copytree(output, options.keep / format_name.replace(":", "_"), dirs_exist_ok=True)
                shutil.rmtree(output, ignore_errors=True)
            row["seconds"] = {name: round(value) for name, value in seconds.items()}
            rows.append(row)
            cells = ["-" if loss is None else f"{loss:.4f}" for method in methods for loss in row[method]]
            print(f"| {format_name} | " + " | ".join(cells) + f" | {seconds.get('gptq', 0):.0f}, {seconds.get('qat', 0):.0f} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"texts": names, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
