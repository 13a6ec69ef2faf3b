#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Spoken digits to learn from and to be judged on, as ten mel-frequency coefficients of 40 frames, and two nets in ONNX with random weights:
cells.onnx (a GRU of 48 units and a matrix) and depthwise.onnx (a small depthwise-separable net, as key words have).

Usage: spoken_digits.py OUT RECORDINGS (Python with numpy, onnx; RECORDINGS: the directory `recordings` of the free spoken digit dataset, or its .tar.gz).
Files are DIGIT_SPEAKER_TAKE.wav at 8 kHz; takes 0 to 4 are the test, as that data set says.
"""

import argparse
import io
import pathlib
import tarfile
import wave

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RATE, WINDOW, HOP, FFT, MELS, KEPT, FRAMES = 8000, 200, 160, 256, 20, 10, 40


def recordings(place):
    """Names and bytes."""
    if place.is_dir():
        for path in sorted(place.rglob("*.wav")):
            yield path.stem, path.read_bytes()
        return
    with tarfile.open(place) as archive:
        for member in sorted((m for m in archive.getmembers() if m.name.endswith(".wav")), key=lambda m: m.name):
            yield pathlib.Path(member.name).stem, archive.extractfile(member).read()


def mel_filters():
    mel = lambda hertz: 2595 * np.log10(1 + hertz / 700)
    edges = 700 * (10 ** (np.linspace(mel(60), mel(RATE / 2), MELS + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall))


def coefficients(sound, filters, cosines):
    """[FRAMES, KEPT]: of the loudest part that is so long; silence behind shorter ones."""
    sound = np.pad(sound, (0, max(0, WINDOW + HOP * (FRAMES - 1) - len(sound))))
    count = 1 + (len(sound) - WINDOW) // HOP
    frames = np.stack([sound[i * HOP : i * HOP + WINDOW] for i in range(count)]) * np.hamming(WINDOW)
    power = np.abs(np.fft.rfft(frames, FFT)) ** 2
    first = int(np.argmax(np.convolve(power.sum(1), np.ones(FRAMES), "valid")))
    return np.log(power[first : first + FRAMES] @ filters.T + 1e-6) @ cosines.T


def drawn(random, *shape):
    return (random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))).astype(np.float32)


def save(path, nodes, weights):
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, path.stem, [value("sound", [1, FRAMES, KEPT])], [value("logits", [1, 10])], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def draw_cells(path, units=48):
    random = np.random.default_rng(1)
    weights = {"w": drawn(random, 1, 3 * units, KEPT), "r": drawn(random, 1, 3 * units, units), "b": np.zeros((1, 6 * units), np.float32),
               "last": drawn(random, 10, units), "last.bias": np.zeros(10, np.float32), "flat": np.array([1, units])}
    save(path, [helper.make_node("Transpose", ["sound"], ["steps"], perm=[1, 0, 2]),
                helper.make_node("GRU", ["steps", "w", "r", "b"], ["", "state"], hidden_size=units, linear_before_reset=1),
                helper.make_node("Reshape", ["state", "flat"], ["told"]),
                helper.make_node("Gemm", ["told", "last", "last.bias"], ["logits"], transB=1)], weights)


def draw_depthwise(path, channels=48):
    random, nodes, weights = np.random.default_rng(1), [helper.make_node("Reshape", ["sound", "picture"], ["h"])], {"picture": np.array([1, 1, FRAMES, KEPT])}

    def convolution(name, source, inputs, outputs, size, stride, groups=1):
        weights[name] = drawn(random, outputs, inputs // groups, size, size)
        for part, array in (("gain", np.ones(outputs)), ("shift", np.zeros(outputs)), ("mean", np.zeros(outputs)), ("variance", np.ones(outputs))):
            weights[f"{name}.{part}"] = array.astype(np.float32)
        nodes.extend([helper.make_node("Conv", [source, name], [name + "/c"], kernel_shape=[size, size], pads=[size // 2] * 4, strides=[stride, stride], group=groups),
                      helper.make_node("BatchNormalization", [name + "/c", *(f"{name}.{p}" for p in ("gain", "shift", "mean", "variance"))], [name + "/n"]),
                      helper.make_node("Relu", [name + "/n"], [name + "/r"])])
        return name + "/r"

    h = convolution("first", "h", 1, channels, 5, 2)
    for i in range(3):
        h = convolution(f"deep{i}", h, channels, channels, 3, 1, channels)
        h = convolution(f"wide{i}", h, channels, channels, 1, 1)
    weights |= {"last": drawn(random, 10, channels), "last.bias": np.zeros(10, np.float32)}
    nodes.extend([helper.make_node("GlobalAveragePool", [h], ["mean"]), helper.make_node("Flatten", ["mean"], ["flat"]),
                  helper.make_node("Gemm", ["flat", "last", "last.bias"], ["logits"], transB=1)])
    save(path, nodes, weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("recordings", type=pathlib.Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    filters = mel_filters()
    cosines = np.cos(np.pi / MELS * np.outer(np.arange(KEPT), np.arange(MELS) + 0.5)) / np.sqrt(MELS)
    sets = {"train": ([], []), "test": ([], [])}
    for name, content in recordings(options.recordings):
        digit, _, take = name.split("_")
        with wave.open(io.BytesIO(content)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
        x, labels = sets["test" if int(take) < 5 else "train"]
        x.append(coefficients(sound, filters, cosines))
        labels.append(int(digit))
    mean, deviation = np.mean(sets["train"][0], (0, 1)), np.std(sets["train"][0], (0, 1))
    for name, (x, labels) in sets.items():
        np.save(options.out / f"{name}.npy", ((np.array(x) - mean) / deviation).astype(np.float32)[:, None])
        np.save(options.out / f"{name}-labels.npy", np.array(labels))
    draw_cells(options.out / "cells.onnx")
    draw_depthwise(options.out / "depthwise.onnx")


if __name__ == "__main__":
    main()
