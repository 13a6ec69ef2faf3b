#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nets that nibble writes as TensorFlow Lite, by LiteRT: quantized ones make the codes that nibble makes of the same file, float ones the same numbers.

Usage: lite_nets.py NIBBLE FILE|DIRECTORY... (.onnx and .tflite in float, found at any depth). Samples are random: this is of arithmetic, not of accuracy. What nibble
refuses to write is told, and passed over. Exit code 1 where the two differ by more than rounding costs, or floats by 1e-4 of the largest.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from nets import OPEN
from quantized_nets import decibels, run

SAMPLES = 8


def outputs(path, sample):
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    for one in interpreter.get_input_details():
        interpreter.set_tensor(one["index"], sample[one["name"]].astype(one["dtype"]))
    interpreter.invoke()
    return {one["name"]: interpreter.get_tensor(one["index"]).astype(np.float64) for one in interpreter.get_output_details()}


def compare(nibble, folder, path):
    shapes, constants = next((said for part, said in OPEN.items() if part in path.name), ({}, {}))
    said = [word for name, number in constants.items() for word in ("--constant", f"{name}={number}")]
    said += [word for name, shape in shapes.items() for word in ("--shape", f"{name}={','.join(map(str, shape))}")]
    portrait = json.loads(run(nibble, "inspect", path, "--json", *said))
    generator = np.random.default_rng(2)
    whole = {one["name"]: one["type"].startswith("i") for one in portrait["inputs"]}
    samples = {one["name"]: (generator.integers(0, 256, (SAMPLES, *one["shape"])) if whole[one["name"]] else generator.standard_normal((SAMPLES, *one["shape"]))).astype(np.float32)
               for one in portrait["inputs"]}
    np.savez(folder / "samples.npz", **samples)
    sample = {name: array[0] for name, array in samples.items()}
    np.savez(folder / "in.npz", **sample)
    passed = True
    for kind, command in (("float", ["convert", path, "-o", folder / "net.tflite"]),
                          ("int8", ["quantize", path, "-f", "int8", "--samples", folder / "samples.npz", "--max-drop", "100", "-o", folder / "net.tflite"])):
        made = json.loads(run(nibble, *command, "--json", *said))
        run(nibble, "run", folder / "net.tflite", "--input", folder / "in.npz", "-o", folder / "out.npz")
        theirs = outputs(folder / "net.tflite", sample)
        ours = {name: np.asarray(array, np.float64).reshape(theirs[name].shape) for name, array in np.load(folder / "out.npz").items()}
        if kind == "float":
            worst = max(np.abs(ours[name] - theirs[name]).max() / max(np.abs(theirs[name]).max(), 1e-30) for name in theirs)
            good, text = worst <= 1e-4, f"largest difference {worst:.1e} of the largest output"
        else:
            worst = min(decibels(ours[name], array) for name, array in theirs.items())
            apart = np.mean([np.mean(array != ours[name]) for name, array in theirs.items()])
            good = worst >= (made["sqnr"] or 100)
            text = f"{100 * apart:.2f} % of numbers differ; against f32 {made['sqnr'] or 0:.1f} dB, LiteRT against nibble {worst:.1f} dB"
        print(f"{path.name}, {kind}: {text}{'' if good else ' WRONG'}")
        passed = passed and good
    return passed


def main():
    files = []
    for name in sys.argv[2:]:
        place = pathlib.Path(name)
        files += sorted(p for p in place.rglob("*") if p.suffix in (".onnx", ".tflite")) if place.is_dir() else [place]
    passed = True
    for path in files:
        with tempfile.TemporaryDirectory() as folder:
            try:
                passed = compare(sys.argv[1], pathlib.Path(folder), path) and passed
            except RuntimeError as error:
                message = str(error)
                known = "is not written to TensorFlow Lite" in message or "is quantized already" in message or "not known" in message
                print(f"{path.name}: {message if known else 'FAILED ' + message}")
                passed = passed and known
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
