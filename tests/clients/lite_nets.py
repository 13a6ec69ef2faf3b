#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nets that nibble writes as TensorFlow Lite, by LiteRT: quantized ones, with a scale for each channel or for each tensor, make the codes that nibble makes of the same
file, float ones the same numbers. Quantized ones are written as C, too, compiled by gcc and run.

Usage: lite_nets.py NIBBLE FILE|DIRECTORY... (.onnx and .tflite in float, found at any depth). Samples are random: this is of arithmetic, not of accuracy. What nibble
refuses to write is told, and passed over. Exit code 1 where LiteRT and nibble differ by more than rounding costs, or floats by 1e-4 of the largest; where weights that
should have one scale have more, or the C code differs from nibble in anything but the last bit of a softmax.
"""

import ctypes
import json
import pathlib
import subprocess
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


def weights_with_scales(path):
    """How many tensors of the file have a scale for each channel."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    return sum(len(one["quantization_parameters"]["scales"]) > 1 for one in interpreter.get_tensor_details())


def by_c(nibble, folder, kind, sample, portrait):
    """What the file makes as C. RuntimeError where nibble refuses to write that."""
    run(nibble, "convert", folder / "net.tflite", "-o", folder / "net.c")
    library = folder / f"{kind.replace(':', '_')}.so"  # a name that was not loaded before
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-fPIC", "-shared", folder / "net.c", "-o", library, "-lm"], check=True)
    outputs = {one["name"]: np.zeros(one["shape"], np.float32) for one in portrait["outputs"]}
    arrays = [np.ascontiguousarray(sample[one["name"]]) for one in portrait["inputs"]] + list(outputs.values())
    assert ctypes.CDLL(str(library)).net_run(*(array.ctypes.data_as(ctypes.c_void_p) for array in arrays)) == 0
    return outputs


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
    for kind in ("float", "int8", "int8:tensor"):
        rounding = ["quantize", path, "-f", kind, "--samples", folder / "samples.npz", "--max-drop", "100", "-o", folder / "net.tflite"]
        made = json.loads(run(nibble, *(["convert", path, "-o", folder / "net.tflite"] if kind == "float" else rounding), "--json", *said))
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
            if kind == "int8:tensor":
                many = weights_with_scales(folder / "net.tflite")
                good, text = good and many == 0, text + f", {many} tensors with a scale for each channel"
            try:
                in_c = by_c(nibble, folder, kind, sample, portrait)
                apart = max(np.abs(array - ours[name].reshape(array.shape)).max() for name, array in in_c.items())
                good, text = good and apart <= (1 / 256 if "softmax" in portrait["kinds"] else 0), text + f"; C against nibble {apart:.1e}"
            except RuntimeError as error:
                text += f"; no C: {str(error).splitlines()[0][:150]}"
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
