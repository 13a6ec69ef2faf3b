#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole nets on random inputs, by nibble and by ONNX Runtime or LiteRT: prints the largest difference of each.

Usage: nets.py NIBBLE FILE|DIRECTORY... (.onnx and .tflite, found at any depth). What a net leaves open has to be known: OPEN below says it by part of a file's name.
Exit code 1 where a net that both read differs by more than 1e-4 of its largest output; codes may not differ at all.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

OPEN = {
    "silero": ({"input": (1, 576), "state": (2, 1, 128)}, {"sr": 16000}),
    "rec_infer": ({"x": (1, 3, 48, 320)}, {}),
    "cls_infer": ({"x": (1, 3, 48, 192)}, {}),
    "det_infer": ({"x": (1, 3, 320, 320)}, {}),
}
# Weights in int8 between values in f32: LiteRT rounds these values, too.
HYBRID = ("kws_ref_model_float32",)


def random_input(generator, shape, dtype):
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    low, high = (-128, 128) if dtype == np.int8 else (0, 256)
    return generator.integers(low, high, shape).astype(dtype)


def onnx_runtime(path, generator):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shapes, constants = next((said for part, said in OPEN.items() if part in path.name), ({}, {}))
    types = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    feeds = {}
    for one in session.get_inputs():
        if one.name in constants:
            feeds[one.name] = np.array(constants[one.name], types[one.type])
            continue
        shape = shapes.get(one.name) or [n if isinstance(n, int) and n > 0 else 1 for n in one.shape]
        feeds[one.name] = random_input(generator, shape, types[one.type])
    made = session.run(None, feeds)
    return {n: a for n, a in feeds.items() if n not in constants}, constants, dict(zip((o.name for o in session.get_outputs()), made))


def litert(path, generator):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    feeds = {}
    for one in interpreter.get_input_details():
        feeds[one["name"]] = random_input(generator, one["shape"], one["dtype"])
        interpreter.set_tensor(one["index"], feeds[one["name"]])
    interpreter.invoke()
    return feeds, {}, {one["name"]: interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()}


def compare(nibble, folder, path):
    feeds, constants, expected = (litert if path.suffix == ".tflite" else onnx_runtime)(path, np.random.default_rng(1))
    np.savez(folder / "in.npz", **feeds)
    passed = True
    for simplify in ([], ["--simplify"]):
        command = [nibble, "run", path, "--input", folder / "in.npz", "-o", folder / "out.npz", *simplify]
        for name, number in constants.items():
            command += ["--constant", f"{name}={number}"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            print(f"{path.name}: {result.stderr.strip()}")
            return False
        made = np.load(folder / "out.npz")
        for name, array in expected.items():
            largest = float(np.abs(array.astype(np.float64)).max())
            difference = float(np.abs(made[name].astype(np.float64).reshape(array.shape) - array.astype(np.float64)).max())
            allowed = 0 if array.dtype.kind != "f" else (2e-2 if any(h in path.name for h in HYBRID) else 1e-4) * (1 + largest)
            passed = passed and difference <= allowed
            print(f"{path.name}{' simplified' if simplify else ''}: {name}: largest {largest:.3g}, difference {difference:.2g}{'' if difference <= allowed else ' TOO MUCH'}")
    return passed


def main():
    files = []
    for name in sys.argv[2:]:
        place = pathlib.Path(name)
        files += [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.suffix in (".onnx", ".tflite"))
    with tempfile.TemporaryDirectory() as name:
        results = [compare(sys.argv[1], pathlib.Path(name), path) for path in files]
    print(f"{sum(results)} of {len(results)} nets agree")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
