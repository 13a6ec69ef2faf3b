#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/nets: tiny ONNX nets, each operator that is read in at least one of them, and beside each an .npz of inputs ("in/NAME") and of the
outputs ("out/NAME") that ONNX Runtime makes of them. Needs numpy, onnx and onnxruntime.
"""

import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

F, I8, U8, I32, I64 = (TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64)


class Net:
    def __init__(self, seed, opset):
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.nodes, self.constants, self.inputs, self.outputs, self.feeds = [], [], [], [], {}
        self.listed = []  # constants that are inputs, too

    def input(self, name, *shape, type=F, numbers=None):
        self.inputs.append(helper.make_tensor_value_info(name, type, shape))
        dtype = helper.tensor_dtype_to_np_dtype(type)
        self.feeds[name] = (self.normal(*shape) if numbers is None else np.asarray(numbers)).astype(dtype)
        return name

    def normal(self, *shape):
        return self.random.standard_normal(shape).astype(np.float32)

    def constant(self, array, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape):
        return self.constant(self.normal(*shape) * 0.5)

    def whole(self, *numbers):
        return self.constant(np.array(numbers, dtype=np.int64))

    def add(self, op, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def output(self, *names, type=F):
        for name in names:
            self.outputs.append(helper.make_tensor_value_info(name, type, None))

    def write(self, path):
        listed = [helper.make_tensor_value_info(c.name, c.data_type, list(c.dims)) for c in self.listed]
        graph = helper.make_graph(self.nodes, "tiny", self.inputs + listed, self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=min(10, 3 if self.listed else 10))
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        path.with_suffix(".onnx").write_bytes(model.SerializeToString())
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        made = session.run(None, self.feeds)
        arrays = {f"in/{name}": array for name, array in self.feeds.items()}
        arrays |= {f"out/{value.name}": array for value, array in zip(self.outputs, made)}
        np.savez(path.with_suffix(".npz"), **arrays)


def classifier():  # as old exporters write: constants listed as inputs, norms not folded
    n = Net(1, 8)
    x = n.add("Conv", n.input("image", 2, 3, 8, 8), n.weight(4, 3, 3, 3), n.weight(4), pads=[1, 1, 1, 1])
    norm = [n.constant(np.abs(n.normal(4)) + 0.5), n.weight(4), n.weight(4), n.constant(np.abs(n.normal(4)) + 0.5)]
    x = n.add("Relu", n.add("BatchNormalization", x, *norm, epsilon=1e-3))
    x = n.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = n.add("Mul", n.add("Add", n.add("Conv", x, n.weight(4, 4, 1, 1)), n.weight(4, 1, 1)), n.weight(1, 4, 1, 1))
    x = n.add("Dropout", n.add("Identity", x))
    x = n.add("Gemm", n.add("Flatten", x), n.weight(5, 64), n.weight(5), transB=1, alpha=0.5, beta=2.0)
    n.output(n.add("Softmax", x))
    n.listed = list(n.constants)
    return n


def mobile():
    n = Net(2, 11)
    x = n.add("Conv", n.input("image", 1, 3, 9, 7), n.weight(8, 3, 3, 3), n.weight(8), strides=[2, 2], auto_pad="SAME_UPPER")
    x = n.add("Clip", x, n.constant(np.float32(0)), n.constant(np.float32(6)))
    x = n.add("Conv", x, n.weight(8, 1, 3, 3), group=8, dilations=[2, 1], pads=[2, 1, 2, 1])
    gate = n.add("Clip", n.add("Add", x, n.constant(np.float32(3))), n.constant(np.float32(0)), n.constant(np.float32(6)))
    x = n.add("Div", n.add("Mul", x, gate), n.constant(np.float32(6)))
    pooled = n.add("GlobalAveragePool", x)
    x = n.add("Mul", x, n.add("HardSigmoid", pooled, alpha=1 / 6, beta=0.5))
    x = n.add("Mul", x, n.add("Sigmoid", x))
    x = n.add("AveragePool", x, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], ceil_mode=1, count_include_pad=1)
    n.output(x, n.add("Softmax", x, axis=1), n.add("GlobalMaxPool", x), n.add("AveragePool", x, kernel_shape=[2, 2], auto_pad="SAME_LOWER"))
    return n


def mobile_places():  # what TensorFlow Lite has operators for
    n = Net(12, 13)
    x = n.add("Conv", n.input("image", 1, 4, 9, 7), n.weight(6, 4, 3, 3), n.weight(6), strides=[2, 2], pads=[0, 1, 1, 0])
    x = n.add("Clip", x, n.constant(np.float32(0)), n.constant(np.float32(6)))
    grouped = n.add("Conv", x, n.weight(4, 3, 1, 1), group=2)
    deep = n.add("Conv", x, n.weight(12, 1, 3, 3), n.weight(12), group=6, dilations=[2, 2], pads=[2, 2, 2, 2])
    largest = n.add("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 0, 0, 1])
    means = n.add("AveragePool", x, kernel_shape=[2, 3], pads=[1, 1, 0, 1], count_include_pad=1)
    same = n.add("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    none = n.constant(np.zeros(0, np.float32))
    larger = n.add("Resize", x, none, n.constant(np.array([1, 1, 2, 3], np.float32)), mode="nearest", coordinate_transformation_mode="asymmetric",
                   nearest_mode="floor")
    smooth = n.add("Resize", x, none, n.constant(np.array([1, 1, 2, 2], np.float32)), mode="linear")
    back = n.add("ConvTranspose", x, n.weight(6, 3, 3, 2), n.weight(3), strides=[2, 2], pads=[1, 0, 0, 1])
    joined = n.add("Concat", x, n.add("Neg", x), axis=1)
    cut = n.add("Slice", joined, n.whole(1, 0), n.whole(10, 3), n.whole(1, 3), n.whole(3, 2))
    norm = n.add("Add", n.add("Mul", joined, n.weight(12, 1, 1)), n.weight(1, 12, 1, 1))
    mirrored = n.add("Pad", x, n.whole(0, 0, 1, 2, 0, 0, 2, 1), mode="reflect")
    filled = n.add("Pad", x, n.whole(0, 1, 0, 0, 0, 0, 0, 2), n.constant(np.float32(1.5)))
    n.output(grouped, deep, largest, means, same, larger, smooth, back, cut, norm, mirrored, filled)
    n.output(n.add("ReduceMax", x, axes=[1], keepdims=1), n.add("ReduceMean", x, axes=[2, 3], keepdims=0), n.add("Softmax", x, axis=1))
    line = n.add("Conv", n.input("line", 1, 3, 11), n.weight(5, 3, 4), n.weight(5), strides=[2], pads=[1, 2])
    n.output(line, n.add("MaxPool", line, kernel_shape=[2], strides=[2]), n.add("GlobalAveragePool", line))
    return n


def rows():  # of numbers, for TensorFlow Lite
    n = Net(13, 17)
    x = n.input("rows", 2, 3, 8)
    positive = n.add("Add", n.add("Abs", x), n.constant(np.float32(0.5)))
    n.output(*(n.add(op, x) for op in ("Tanh", "Sigmoid", "Elu", "LeakyRelu", "HardSwish", "Floor", "Ceil", "Sin", "Cos", "Exp")))
    n.output(*(n.add(op, positive) for op in ("Sqrt", "Log", "Reciprocal")))
    n.output(n.add("HardSigmoid", x, alpha=0.25, beta=0.4), n.add("PRelu", x, n.constant(n.normal(8))))
    row = n.constant(n.normal(1, 8) + 3)
    n.output(*(n.add(op, x, row) for op in ("Sub", "Div", "Max", "Min")), n.add("Pow", positive, row))
    turned = n.add("Transpose", x, perm=[0, 2, 1])
    n.output(n.add("MatMul", x, turned), n.add("MatMul", x, n.weight(8, 5)), n.add("LayerNormalization", x, n.weight(8), n.weight(8)))
    n.output(n.add("ReduceSum", x, n.whole(1), keepdims=0), n.add("ReduceMin", x, axes=[2]), n.add("ReduceProd", x, axes=[1]))
    n.output(n.add("Gather", x, n.constant(np.array([2, 0, -2])), axis=1), n.add("Gather", x, n.constant(np.array(1)), axis=2))
    n.output(n.add("Expand", n.add("ReduceMax", x, axes=[1]), n.whole(2, 3, 8)), n.add("Reshape", turned, n.whole(4, 12)))
    return n


def transposed():
    n = Net(3, 13)
    x = n.add("ConvTranspose", n.input("x", 2, 4, 5), n.weight(4, 3, 3), n.weight(6), group=2, strides=[2], pads=[1, 0], output_padding=[1])
    norm = [n.constant(np.abs(n.normal(6)) + 0.5), n.weight(6), n.weight(6), n.constant(np.abs(n.normal(6)) + 0.5)]
    x = n.add("BatchNormalization", x, *norm)
    x = n.add("PRelu", n.add("InstanceNormalization", x, n.weight(6), n.weight(6)), n.weight(6, 1))
    y = n.add("ConvTranspose", n.add("LeakyRelu", n.input("y", 1, 2, 3, 4), alpha=0.2), n.weight(2, 3, 2, 2), strides=[2, 3], dilations=[2, 1])
    n.output(x, y)
    return n


def shapes():
    n = Net(4, 13)
    x = n.input("x", 2, 3, 4)
    shape = n.add("Shape", x)
    first = n.add("Gather", shape, n.constant(np.int64(0)), axis=0)
    rest = n.add("ReduceProd", n.add("Slice", shape, n.whole(1), n.whole(2**63 - 1), n.whole(0)), axes=[0], keepdims=1)
    wanted = n.add("Concat", n.add("Unsqueeze", first, n.whole(0)), n.add("Mul", rest, n.whole(1)), axis=0)
    flat = n.add("Reshape", x, wanted)
    n.output(flat, n.add("Transpose", x, perm=[2, 0, 1]), n.add("Squeeze", n.add("Slice", x, n.whole(-1), n.whole(-5), n.whole(2), n.whole(-2))))
    a, b = n.add("Split", x, n.whole(1, 3), axis=2, outputs=2)
    n.output(n.add("Expand", a, n.whole(2, 3, 5)), n.add("Tile", b, n.whole(1, 2, 1)))
    n.output(n.add("Pad", x, n.whole(0, 1, 2, 0, 1, 1), n.constant(np.float32(0.5))), n.add("Pad", x, n.whole(0, 1, -1, 0, 1, 2), mode="reflect"))
    n.output(n.add("Gather", x, n.constant(np.array([[0, -1], [2, 1]])), axis=1))
    mask = n.add("Equal", n.add("Range", n.constant(np.int64(0)), n.constant(np.int64(4)), n.constant(np.int64(1))), n.whole(2))
    filled = n.add("ConstantOfShape", n.add("Shape", x), value=numpy_helper.from_array(np.array([7], dtype=np.float32)))
    n.output(n.add("Where", mask, x, filled), n.add("Where", n.add("Greater", x, n.constant(np.float32(0))), x, filled))
    rows = n.add("Div", n.add("Cast", n.add("Size", x), to=I64), n.constant(np.int64(5)))
    n.output(n.add("Mul", x, n.add("Cast", rows, to=F)))
    branches = {}
    for name, op in (("then_branch", "Neg"), ("else_branch", "Exp")):
        made = helper.make_tensor_value_info("made", F, None)
        branches[name] = helper.make_graph([helper.make_node(op, [x], ["made"])], name, [], [made])
    n.output(n.add("If", n.add("Equal", n.add("Gather", shape, n.constant(np.int64(2))), n.constant(np.int64(4))), **branches))
    return n


def attention():
    n = Net(5, 17)
    x = n.input("x", 2, 5, 8)
    centred = n.add("Sub", x, n.add("ReduceMean", x, axes=[-1]))
    spread = n.add("Sqrt", n.add("Add", n.add("ReduceMean", n.add("Pow", centred, n.constant(np.float32(2))), axes=[-1]), n.constant(np.float32(1e-5))))
    h = n.add("Add", n.add("Mul", n.add("Div", centred, spread), n.weight(8)), n.weight(8))
    q, k, v = n.add("Split", n.add("Add", n.add("MatMul", h, n.weight(8, 24)), n.weight(24)), axis=2, outputs=3)
    heads = [n.add("Transpose", n.add("Reshape", y, n.whole(0, 0, 2, 4)), perm=p) for y, p in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3]))]
    scores = n.add("Softmax", n.add("Mul", n.add("MatMul", heads[0], heads[1]), n.constant(np.float32(0.5))))
    y = n.add("Reshape", n.add("Transpose", n.add("MatMul", scores, heads[2]), perm=[0, 2, 1, 3]), n.whole(0, 0, -1))
    x = n.add("LayerNormalization", n.add("Add", x, y), n.weight(8), n.weight(8), axis=-1)
    half = n.add("Mul", x, n.add("Add", n.add("Erf", n.add("Div", x, n.constant(np.float32(2**0.5)))), n.constant(np.float32(1))))
    n.output(half, n.add("Einsum", n.add("Reshape", half, n.whole(2, 5, 4, 2)), n.weight(4, 2, 3), equation="btgi,gih->btgh"))
    n.output(n.add("Gemm", n.input("a", 3, 4), n.input("b", 5, 3), n.weight(1, 5), transA=1, transB=1, beta=0.5))
    n.output(n.add("LogSoftmax", x, axis=1))
    return n


def recurrent():
    n = Net(6, 14)
    x = n.input("x", 4, 2, 3)
    y, h, c = n.add("LSTM", x, n.weight(2, 20, 3), n.weight(2, 20, 5), n.weight(2, 40), "", n.input("h0", 2, 2, 5), "", n.weight(2, 15),
                    outputs=3, hidden_size=5, direction="bidirectional")
    n.output(y, h, c)
    y, h = n.add("GRU", x, n.weight(1, 12, 3), n.weight(1, 12, 4), n.weight(1, 24), outputs=2, hidden_size=4, linear_before_reset=1)
    n.output(y, h)
    y, h = n.add("GRU", x, n.weight(1, 12, 3), n.weight(1, 12, 4), outputs=2, hidden_size=4, direction="reverse")
    n.output(y, h)
    return n


def resized():
    n = Net(7, 13)
    x = n.input("x", 1, 4, 3, 5)
    scales = n.constant(np.array([1, 1, 2, 1.5], dtype=np.float32))
    none = n.constant(np.array([], dtype=np.float32))
    n.output(n.add("Resize", x, none, scales, mode="linear"))
    n.output(n.add("Resize", x, none, scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"))
    n.output(n.add("Resize", x, none, none, n.whole(1, 4, 7, 4), mode="linear", coordinate_transformation_mode="align_corners"))
    n.output(n.add("Resize", x, none, none, n.whole(1, 4, 6, 10), mode="cubic", coordinate_transformation_mode="pytorch_half_pixel"))
    n.output(n.add("DepthToSpace", x, blocksize=2, mode="CRD"), n.add("DepthToSpace", x, blocksize=2))
    n.output(n.add("SpaceToDepth", n.add("Slice", x, n.whole(0, 1), n.whole(2, 5), n.whole(2, 3)), blocksize=2))
    return n


def upsampled():
    n = Net(8, 9)
    x = n.input("x", 1, 2, 3, 3)
    n.output(n.add("Upsample", x, n.constant(np.array([1, 1, 2, 3], dtype=np.float32)), mode="nearest"))
    n.output(n.add("Slice", x, starts=[0, -2], ends=[2, 9], axes=[2, 3]), n.add("Clip", x, min=-0.5, max=0.5))
    n.output(n.add("Unsqueeze", n.add("ReduceSum", x, axes=[1, 3], keepdims=0), axes=[0]), n.add("Pad", x, pads=[0, 0, 1, 0, 0, 0, 0, 2], mode="edge"))
    return n


def quantized_pairs():
    n = Net(9, 13)
    scale, zero = n.constant(np.float32(0.03)), n.constant(np.uint8(120))

    def rounded(x):
        return n.add("DequantizeLinear", n.add("QuantizeLinear", x, scale, zero), scale, zero)

    w = n.constant(n.random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8))
    scales, zeros = n.constant(np.array([0.01, 0.02, 0.005, 0.03], dtype=np.float32)), n.constant(np.zeros(4, dtype=np.int8))
    bias = n.add("DequantizeLinear", n.constant(n.random.integers(-999, 999, 4).astype(np.int32)), n.constant(np.float32(0.001)))
    x = n.add("Conv", rounded(n.input("image", 1, 3, 6, 6)), n.add("DequantizeLinear", w, scales, zeros, axis=0), bias)
    x = rounded(n.add("Relu", x))
    n.output(rounded(n.add("Add", x, n.add("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))))
    return n


def quantized_operators():
    n = Net(10, 13)
    x = n.add("QuantizeLinear", n.input("image", 1, 2, 5, 5), n.constant(np.float32(0.02)), n.constant(np.uint8(128)))
    w = n.constant(n.random.integers(-127, 128, (3, 2, 3, 3)).astype(np.int8))
    scales = n.constant(np.array([0.01, 0.02, 0.015], dtype=np.float32))
    bias = n.constant(n.random.integers(-9999, 9999, 3).astype(np.int32))
    one, zero = n.constant(np.float32(0.02)), n.constant(np.uint8(128))
    y = n.add("QLinearConv", x, one, zero, w, scales, n.constant(np.zeros(3, dtype=np.int8)), n.constant(np.float32(0.05)), n.constant(np.uint8(100)), bias)
    n.output(y, type=U8)
    n.output(n.add("ConvInteger", x, w, zero), type=I32)
    flat = n.add("Reshape", y, n.whole(3, 9))
    m = n.constant(n.random.integers(-127, 128, (9, 4)).astype(np.int8))
    n.output(n.add("QLinearMatMul", flat, n.constant(np.float32(0.05)), n.constant(np.uint8(100)), m, n.constant(np.float32(0.01)),
                   n.constant(np.int8(0)), n.constant(np.float32(0.2)), n.constant(np.uint8(90))), type=U8)
    a, scale, at = n.add("DynamicQuantizeLinear", n.input("a", 4, 9), outputs=3)
    product = n.add("MatMulInteger", a, m, at)
    n.output(product, type=I32)
    n.output(n.add("Mul", n.add("Cast", product, to=F), scale))
    return n


def blocks_of_four_bits():
    n = Net(11, 21)
    codes = n.random.integers(-8, 8, (8, 6)).astype(np.int8)
    packed = helper.make_tensor("w", TensorProto.INT4, [8, 6], helper.pack_float32_to_4bit(codes, True).tobytes() if hasattr(helper, "pack_float32_to_4bit") else
                                bytes((int(a) & 15) | ((int(b) & 15) << 4) for a, b in codes.reshape(-1, 2)), raw=True)
    n.constants.append(packed)
    w = n.add("DequantizeLinear", "w", n.constant(np.abs(n.normal(4, 6)) + np.float32(0.1)), axis=0, block_size=2)
    n.output(n.add("MatMul", n.input("x", 3, 8), w))
    n.output(n.add("ReduceSum", "x", n.whole(1), keepdims=0), n.add("Gelu", "x"), n.add("Gelu", "x", approximate="tanh"))
    return n


def elementwise():
    n = Net(12, 18)
    x, y = n.input("x", 2, 3, 4), n.input("y", 3, 1)
    positive = n.add("Add", n.add("Abs", x), n.constant(np.float32(0.1)))
    for op in ("Exp", "Neg", "Erf", "Sign", "Floor", "Ceil", "Round", "Sin", "Cos", "Softplus", "Softsign", "Tanh", "Selu", "Elu", "Celu", "ThresholdedRelu",
               "HardSwish", "HardSigmoid", "Mish"):
        n.output(n.add(op, x))
    for op in ("Log", "Sqrt", "Reciprocal"):
        n.output(n.add(op, positive))
    for op in ("Add", "Sub", "Mul", "Div", "Min", "Max"):
        n.output(n.add(op, x, y))
    n.output(n.add("Pow", positive, y), n.add("Mod", x, y, fmod=1), n.add("Mean", x, y, x), n.add("Sum", x, y, y))
    for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"):
        n.output(n.add(op, x, y), type=TensorProto.BOOL)
    a, b = n.add("Less", x, y), n.add("Greater", x, n.constant(np.float32(-0.5)))
    for op in ("And", "Or", "Xor"):
        n.output(n.add(op, a, b), type=TensorProto.BOOL)
    n.output(n.add("Not", a), n.add("IsNaN", x), type=TensorProto.BOOL)
    for op in ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"):
        n.output(n.add("Reduce" + op, x, n.whole(0, 2)))
    n.output(n.add("ReduceLogSum", positive, n.whole(-1), keepdims=0))
    n.output(n.add("ArgMax", x, axis=-1), n.add("ArgMin", x, axis=1, keepdims=0), type=I64)
    n.output(n.add("Cast", n.add("Mul", x, n.constant(np.float32(9))), to=I32), type=I32)
    return n


NETS = (classifier, mobile, mobile_places, rows, transposed, shapes, attention, recurrent, resized, upsampled, quantized_pairs, quantized_operators, blocks_of_four_bits, elementwise)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "tests/data/nets")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for make in NETS:
        make().write(out / make.__name__)
