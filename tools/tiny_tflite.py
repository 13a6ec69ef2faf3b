#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/nets/codes.tflite and floats.tflite: tiny nets of every kind of layer that keyword and image nets have, in int8 and in f32, and beside
each an .npz of inputs ("in/NAME") and of the outputs ("out/NAME") that LiteRT makes of them. Needs flatc, numpy and ai-edge-litert.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np

SCHEMA = pathlib.Path(__file__).parent.parent / "src/io/tflite/tflite.fbs"
TYPES = {np.dtype(np.float32): 0, np.dtype(np.int32): 2, np.dtype(np.int8): 9}
CODES = {"ADD": 0, "AVERAGE_POOL_2D": 1, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 9, "MAX_POOL_2D": 17, "RESHAPE": 22, "SOFTMAX": 25}

VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "RESHAPE": 1}  # that take int8


class Net:
    def __init__(self, seed, is_coded):
        self.random = np.random.default_rng(seed)
        self.is_coded = is_coded
        self.tensors, self.buffers, self.operators, self.codes = [], [{}], [], []

    def tensor(self, name, shape, dtype, scales=None, zeros=None, dimension=0, data=None):
        entry = {"name": name, "shape": list(shape), "type": TYPES[np.dtype(dtype)], "buffer": 0}
        if scales is not None:
            entry["quantization"] = {"scale": [float(s) for s in scales], "zero_point": list(zeros or [0] * len(scales)), "dimension": dimension}
        if data is not None:
            entry["buffer"] = len(self.buffers)
            self.buffers.append({"data": list(np.ascontiguousarray(data).tobytes())})
        self.tensors.append(entry)
        return len(self.tensors) - 1

    def value(self, name, shape, scale, zero):
        return self.tensor(name, shape, np.int8, [scale], [zero]) if self.is_coded else self.tensor(name, shape, np.float32)

    def weights(self, name, shape, inputs_scale, channel, outputs, per_channel=True):
        if not self.is_coded:
            w = self.tensor(name, shape, np.float32, data=self.random.standard_normal(shape).astype(np.float32) * 0.3)
            return w, self.tensor(name + "_bias", [outputs], np.float32, data=self.random.standard_normal(outputs).astype(np.float32))
        scales = self.random.uniform(0.002, 0.01, outputs if per_channel else 1).astype(np.float32)
        w = self.tensor(name, shape, np.int8, scales, None, channel, self.random.integers(-127, 128, shape).astype(np.int8))
        bias = self.random.integers(-2000, 2000, outputs).astype(np.int32)
        return w, self.tensor(name + "_bias", [outputs], np.int32, scales * np.float32(inputs_scale), None, 0, bias)

    def add(self, kind, inputs, output, table=None, **options):
        if kind not in self.codes:
            self.codes.append(kind)
        entry = {"code_index": self.codes.index(kind), "inputs": inputs, "outputs": [output]}
        if table:
            entry |= {"options_type": table, "options": options}
        self.operators.append(entry)
        return output

    def write(self, path, inputs, outputs, flatc):
        model = {
            "version": 3,
            "codes": [{"old_code": CODES[c], "version": VERSIONS.get(c, 2) if self.is_coded else 1, "code": CODES[c]} for c in self.codes],
            "subgraphs": [{"tensors": self.tensors, "inputs": inputs, "outputs": outputs, "operators": self.operators, "name": "main"}],
            "description": "tiny",
            "buffers": self.buffers,
        }
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "m.json").write_text(json.dumps(model))
            subprocess.run([flatc, "-b", "-o", folder, SCHEMA, pathlib.Path(folder) / "m.json"], check=True)
            path.with_suffix(".tflite").write_bytes((pathlib.Path(folder) / "m.tfl").read_bytes() if (pathlib.Path(folder) / "m.tfl").exists() else
                                                    (pathlib.Path(folder) / "m.bin").read_bytes())
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path.with_suffix(".tflite")), num_threads=1)
        interpreter.allocate_tensors()
        arrays = {}
        for detail in interpreter.get_input_details():
            shape = detail["shape"]
            x = self.random.integers(-128, 128, shape).astype(np.int8) if self.is_coded else self.random.standard_normal(shape).astype(np.float32)
            interpreter.set_tensor(detail["index"], x)
            arrays["in/" + detail["name"]] = x
        interpreter.invoke()
        for detail in interpreter.get_output_details():
            arrays["out/" + detail["name"]] = interpreter.get_tensor(detail["index"])
        np.savez(path.with_suffix(".npz"), **arrays)


def make(is_coded):
    n = Net(5, is_coded)
    x = n.value("image", [1, 8, 7, 3], 0.02, -5)
    w, b = n.weights("conv", [4, 3, 3, 3], 0.02, 0, 4)
    y = n.add("CONV_2D", [x, w, b], n.value("convolved", [1, 4, 4, 4], 0.01531, -128), "Convolution", padding=0, stride_w=2, stride_h=2, activation=1)
    w, b = n.weights("depthwise", [1, 3, 3, 4], 0.01531, 3, 4)
    d = n.add("DEPTHWISE_CONV_2D", [y, w, b], n.value("separated", [1, 4, 4, 4], 0.00973, -128), "DepthwiseConvolution", padding=0, stride_w=1, stride_h=1,
              multiplier=1, activation=3)
    s = n.add("ADD", [y, d], n.value("sum", [1, 4, 4, 4], 0.02117, -100), "Sum", activation=0)
    m = n.add("MAX_POOL_2D", [s], n.value("largest", [1, 2, 2, 4], 0.02117, -100), "Pooling", padding=1, stride_w=2, stride_h=2, filter_w=2, filter_h=2)
    a = n.add("AVERAGE_POOL_2D", [s], n.value("means", [1, 2, 2, 4], 0.02117, -100), "Pooling", padding=1, stride_w=2, stride_h=2, filter_w=2, filter_h=2)
    t = n.add("ADD", [m, a], n.value("both", [1, 2, 2, 4], 0.03, -90), "Sum", activation=1)
    shape = n.tensor("shape", [2], np.int32, data=np.array([1, 16], dtype=np.int32))
    f = n.add("RESHAPE", [t, shape], n.value("flat", [1, 16], 0.03, -90), "Reshape", shape=[1, 16])
    w, b = n.weights("classes", [5, 16], 0.03, 0, 5, per_channel=False)
    c = n.add("FULLY_CONNECTED", [f, w, b], n.value("scores", [1, 5], 0.1713, 10), "FullyConnected")
    p = n.add("SOFTMAX", [c], n.value("shares", [1, 5], 1 / 256, -128), "Softmax", beta=1.0)
    return n, [x], [p, c, a]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "tests/data/nets")
    parser.add_argument("--flatc", default="flatc")
    arguments = parser.parse_args()
    for name, is_coded in (("codes", True), ("floats", False)):
        net, inputs, outputs = make(is_coded)
        net.write(arguments.out / name, inputs, outputs, arguments.flatc)
