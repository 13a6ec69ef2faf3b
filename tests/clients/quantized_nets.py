#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nets that nibble has quantized, by ONNX Runtime: what it computes is what nibble said, and what was meant to be in integers is.

Usage: quantized_nets.py NIBBLE FILE|DIRECTORY... (.onnx, found at any depth). Samples are random, ranges and all: this is of arithmetic, not of accuracy.
Per net and for TensorRT's files, too: the noise against nibble's own run of the same file, in decibels, and how many convolutions and products ONNX Runtime
has fused to operators on codes. Exit code 1 where the two differ by more than half of what rounding costs (TensorRT's files: by all of it), or where fewer are fused than were meant.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from nets import OPEN

# What a convolution or a product is called once it is one of codes.
FUSED = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat")
SAMPLES = 16


def session(path, optimized=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if optimized:
        options.optimized_model_filepath = str(optimized)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def decibels(made, should):
    noise = float(np.sum((made.astype(np.float64) - should.astype(np.float64)) ** 2))
    return float("inf") if noise == 0 else 10 * np.log10(float(np.sum(should.astype(np.float64) ** 2)) / noise)


def run(nibble, *arguments):
    result = subprocess.run([str(a) for a in (nibble, *arguments)], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(result.stderr.strip())
    return result.stdout


def compare(nibble, folder, path, runtime):
    shapes, constants = next((said for part, said in OPEN.items() if part in path.name), ({}, {}))
    generator, samples, said = np.random.default_rng(2), {}, []
    for one in session(path).get_inputs():
        if one.name in constants:
            said += ["--constant", f"{one.name}={constants[one.name]}"]
            continue
        shape = shapes.get(one.name) or [n if isinstance(n, int) and n > 0 else 1 for n in one.shape]
        said += ["--shape", f"{one.name}={','.join(map(str, shape))}"]
        whole = "int" in one.type
        make = (lambda size: generator.integers(0, 256, size).astype(np.int32)) if whole else (lambda size: generator.standard_normal(size).astype(np.float32))
        samples[one.name] = make((SAMPLES, *shape))
    np.savez(folder / "samples.npz", **samples)
    made = json.loads(run(nibble, "quantize", path, "-f", "int8", "--samples", folder / "samples.npz", "--for", runtime, "-o", folder / "q.onnx", "--json", *said))
    onnx.checker.check_model(str(folder / "q.onnx"), full_check=True)
    np.savez(folder / "in.npz", **{n: a[0] for n, a in samples.items()})
    run(nibble, "run", folder / "q.onnx", "--input", folder / "in.npz", "-o", folder / "out.npz")
    ours = np.load(folder / "out.npz")
    running = session(folder / "q.onnx", folder / "optimized.onnx")
    types = {i.name: i.type for i in running.get_inputs()}
    theirs = running.run(None, {n: a[0].astype(np.int64) if types[n] == "tensor(int64)" else a[0] for n, a in samples.items()})
    worst = min(decibels(array, ours[o.name].reshape(array.shape)) for o, array in zip(running.get_outputs(), theirs))
    fused = sum(node.op_type in FUSED for node in onnx.load(folder / "optimized.onnx").graph.node)
    meant = sum(layer["arithmetic"] == "int8" for layer in made["layers"])
    # Sums in f32, which TensorRT's files leave to ONNX Runtime, go another way to codes at halves than nibble's.
    near = worst >= (made["sqnr"] or 100) + (0 if runtime == "tensorrt" else 3)
    passed = near and (runtime == "tensorrt" or fused >= meant)
    print(f"{path.name}, {runtime}: {meant} of {len(made['layers'])} layers in int8, {fused} fused; against f32 {made['sqnr'] or 0:.1f} dB, ONNX Runtime against nibble {worst:.1f} dB{'' if passed else ' WRONG'}")
    return passed


def main():
    files = []
    for name in sys.argv[2:]:
        place = pathlib.Path(name)
        files += [place] if place.is_file() else sorted(place.rglob("*.onnx"))
    results = []
    with tempfile.TemporaryDirectory() as name:
        for path in files:
            for runtime in ("ort", "tensorrt"):
                try:
                    results.append(compare(sys.argv[1], pathlib.Path(name), path, runtime))
                except RuntimeError as error:
                    print(f"{path.name}, {runtime}: {error}")
                    results.append(False)
    print(f"{sum(results)} of {len(results)} quantized nets are what was meant")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
