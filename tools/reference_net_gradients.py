# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/train/net_gradients.json: gradients of operations of small nets, and of a net's training steps, as PyTorch finds them.

    python tools/reference_net_gradients.py --out tests/data/train/net_gradients.json

All in float64, of two samples. Numbers that go in are made by number() on both sides; what is differentiated is the sum of the output's numbers,
each times a number of its own. The net's loss is the cross-entropy of two classes' labels. The test that reads the file has the same cases, by name.
"""

import argparse
import json
import math
import pathlib

import torch
import torch.nn.functional as F

KEEP, OUTPUT, INPUTS, WEIGHTS = 9, 7, 10, 100  # digits that are written; what numbers are made from


def number(seed, i):
    return ((i * 7919 + seed * 104729 + i * i * 31) % 4096) / 1024 - 2


def numbers(seed, *shape):
    return torch.tensor([number(seed, i) for i in range(math.prod(shape))], dtype=torch.float64).reshape(shape)


def kept(tensor):
    return [float(f"{x:.{KEEP}g}") for x in tensor.detach().flatten().tolist()]


def case(function, shapes, weights=(), positive=False):
    x = [numbers(INPUTS + k, *shape) for k, shape in enumerate(shapes)]
    x = [(a / 4 + 1.25 if positive else a).requires_grad_() for a in x]
    w = [numbers(WEIGHTS + k, *shape).requires_grad_() for k, shape in enumerate(weights)]
    y = function(*x, *w)
    (y * numbers(OUTPUT, *y.shape)).sum().backward()
    return {"inputs": [kept(a.grad if a.grad is not None else torch.zeros_like(a)) for a in x], "weights": [kept(a.grad) for a in w]}


def gru(behind, ways, clip):
    """As ONNX says it: gates z, r, h; behind: linear_before_reset. ways: 1 forwards, -1 backwards."""

    def function(x, first, w, r, b):
        made = {}
        for d, way in enumerate(ways):
            h, n = first[:, d], first.shape[2]
            for t in range(x.shape[1])[::way]:
                seen, state = x[:, t] @ w[d].T + b[d][: 3 * n], h @ r[d].T + b[d][3 * n :]
                z, s = (torch.sigmoid((seen + state)[:, i * n : (i + 1) * n].clamp(-clip, clip)) for i in (0, 1))
                inner = s * state[:, 2 * n :] if behind else (s * h) @ r[d][2 * n :].T + b[d][5 * n :]
                h = made[t, d] = (1 - z) * torch.tanh((seen[:, 2 * n :] + inner).clamp(-clip, clip)) + z * h
        return torch.stack([torch.stack([made[t, d] for d in range(len(ways))], 1) for t in range(x.shape[1])], 1)

    return function


def lstm(ways, clip, coupled, peepholes):
    """As ONNX says it: gates i, o, f, c; the hidden numbers of a step, then the cell's. peepholes: of i, o, f."""

    def function(x, first, first_cell, w, r, *biases):
        made = {}
        for d, way in enumerate(ways):
            h, c, n = first[:, d], first_cell[:, d], first.shape[2]
            p = numbers(WEIGHTS + 3, len(ways), 3 * n)[d] if peepholes else torch.zeros(3 * n)
            for t in range(x.shape[1])[::way]:
                gates = x[:, t] @ w[d].T + h @ r[d].T
                if biases:
                    gates = gates + biases[0][d][: 4 * n] + biases[0][d][4 * n :]
                gate = lambda i, of_cell=0: (gates[:, i * n : (i + 1) * n] + of_cell).clamp(-clip, clip)
                enters = torch.sigmoid(gate(0, p[:n] * c))
                stays = 1 - enters if coupled else torch.sigmoid(gate(2, p[2 * n :] * c))
                c = stays * c + enters * torch.tanh(gate(3))
                h = torch.sigmoid(gate(1, p[n : 2 * n] * c)) * torch.tanh(c)
                made[t, d] = torch.cat([h, c], 1)
        return torch.stack([torch.stack([made[t, d] for d in range(len(ways))], 1) for t in range(x.shape[1])], 1)

    return function


def norm_stored(x, gain, bias):
    shape = (1, -1, 1, 1)
    mean, variance = numbers(WEIGHTS + 2, 3), numbers(WEIGHTS + 3, 3) / 4 + 1.25
    return (x - mean.reshape(shape)) / torch.sqrt(variance.reshape(shape) + 1e-5) * gain.reshape(shape) + bias.reshape(shape)


def operations():
    made = {
        "convolution": case(lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2), [(2, 4, 5, 6)], [(6, 2, 3, 2), (6,)]),
        "convolution_line": case(lambda x, w: F.conv1d(x, w, stride=2, padding=1), [(2, 3, 7)], [(5, 3, 3)]),
        "depthwise": case(lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=4), [(2, 4, 5, 6)], [(4, 1, 3, 3), (4,)]),
        "linear": case(lambda x, w, b: F.linear(x, w, b), [(2, 7)], [(5, 7), (5,)]),
        "norm_of_batch": case(lambda x, g, b: F.batch_norm(x, None, None, g, b, True, 0, 1e-5), [(2, 3, 4, 5)], [(3,), (3,)]),
        "norm_stored": case(norm_stored, [(2, 3, 4, 5)], [(3,), (3,)]),
        "layer_norm": case(lambda x, g, b: F.layer_norm(x, (4, 5), g, b, 1e-5), [(2, 3, 4, 5)], [(4, 5), (4, 5)]),
        "max_pool": case(lambda x: F.max_pool2d(x, (3, 2), (2, 2), (1, 0)), [(2, 3, 5, 6)]),
        "average_pool": case(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), [(2, 3, 5, 6)]),
        "softmax": case(lambda x: F.softmax(x, 1), [(2, 4, 3)]),
        "log_softmax": case(lambda x: F.log_softmax(x, -1), [(2, 4, 3)]),
        "matrix_product": case(lambda a, b: a @ b, [(2, 3, 4, 5), (2, 1, 5, 2)]),
        "select": case(lambda c, a, b: torch.where(c > 0, a, b), [(2, 3, 4), (2, 3, 4), (2, 1, 4)]),
        "concat": case(lambda a, b: torch.cat([a, b], 1), [(2, 2, 3), (2, 4, 3)]),
        "expand": case(lambda x: x.expand(2, 3, 4), [(2, 3, 1)]),
        "pad": case(lambda x: F.pad(x, (1, 2), "reflect"), [(2, 3, 5)]),
        "reshape": case(lambda x: x.reshape(2, 12), [(2, 3, 4)]),
        "strided_slice": case(lambda x: x[:, 1:3, ::2], [(2, 4, 5)]),
        "transpose": case(lambda x: x.permute(0, 2, 1), [(2, 3, 4)]),
        "resize": case(lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), [(2, 2, 3, 2)]),
        "transposed_convolution": case(lambda x, w, b: F.conv_transpose2d(x, w, b, stride=(2, 1), padding=(1, 0), output_padding=(1, 0), groups=2, dilation=(1, 2)), [(2, 4, 3, 4)], [(4, 3, 3, 2), (6,)]),
        "transposed_line": case(lambda x, w: F.conv_transpose1d(x, w, stride=2, padding=1), [(2, 3, 7)], [(3, 5, 3)]),
        "gru": case(gru(False, (1, -1), 1e9), [(2, 4, 5), (2, 2, 3)], [(2, 9, 5), (2, 9, 3), (2, 18)]),
        "gru_behind": case(gru(True, (1,), 1.25), [(2, 4, 5), (2, 1, 3)], [(1, 9, 5), (1, 9, 3), (1, 18)]),
        "lstm": case(lstm((1, -1), 1e9, False, True), [(2, 4, 5), (2, 2, 3), (2, 2, 3)], [(2, 12, 5), (2, 12, 3), (2, 24)]),
        "lstm_coupled": case(lstm((-1,), 1.25, True, False), [(2, 4, 5), (2, 1, 3), (2, 1, 3)], [(1, 12, 5), (1, 12, 3)]),
        "sigmoid": case(torch.sigmoid, [(2, 9)]),
        "silu": case(F.silu, [(2, 9)]),
    }
    reductions = {
        "mean": lambda x: x.mean((1, 3), keepdim=True),
        "sum": lambda x: x.sum((1, 3), keepdim=True),
        "maximum": lambda x: x.amax((1, 3), keepdim=True),
        "minimum": lambda x: x.amin((1, 3), keepdim=True),
        "l1": lambda x: x.abs().sum((1, 3), keepdim=True),
        "l2": lambda x: torch.linalg.vector_norm(x, dim=(1, 3), keepdim=True),
        "log_sum_exp": lambda x: torch.logsumexp(x, (1, 3), keepdim=True),
        "sum_of_squares": lambda x: (x * x).sum((1, 3), keepdim=True),
    }
    for name, function in reductions.items():
        made["reduce/" + name] = case(function, [(2, 3, 2, 4)])
    made["reduce/log_sum"] = case(lambda x: x.sum((1, 3), keepdim=True).log(), [(2, 3, 2, 4)], positive=True)
    pairs = {
        "add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "minimum": torch.minimum, "maximum": torch.maximum,
        "parametric_relu": lambda a, b: torch.where(a < 0, a * b, a), "greater": lambda a, b: (a > b).double() + 0 * a + 0 * b,
    }
    for name, function in pairs.items():
        made["binary/" + name] = case(function, [(2, 3, 4), (2, 1, 4)])
    for name, function in {"divide": torch.div, "power": torch.pow}.items():
        made["binary/" + name] = case(function, [(2, 3, 4), (2, 1, 4)], positive=True)
    points = {
        "relu": F.relu, "clip": lambda x: x.clamp(-1, 0.75), "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
        "hard_sigmoid": lambda x: (x * 0.5 + 0.4).clamp(0, 1), "hard_swish": lambda x: F.hardswish(x), "elu": lambda x: F.elu(x, 0.7),
        "selu": lambda x: 1.1 * torch.where(x < 0, 1.5 * torch.expm1(x), x), "celu": lambda x: torch.where(x < 0, 0.7 * torch.expm1(x / 0.7), x),
        "thresholded_relu": lambda x: torch.where(x > 0.5, x, 0 * x), "gelu": F.gelu, "mish": F.mish, "softplus": F.softplus,
        "softsign": F.softsign, "tanh": torch.tanh, "exponential": torch.exp, "negative": torch.neg, "absolute": torch.abs, "erf": torch.erf,
        "sine": torch.sin, "cosine": torch.cos, "floor": torch.floor,
    }
    for name, function in points.items():
        made["unary/" + name] = case(function, [(2, 24)])
    for name, function in {"logarithm": torch.log, "square_root": torch.sqrt, "reciprocal": torch.reciprocal}.items():
        made["unary/" + name] = case(function, [(2, 24)], positive=True)
    return made


def signs(x):
    """1 and -1, with the slope of a clip."""
    through = x.clamp(-1, 1)
    return through + (torch.where(x >= 0, 1.0, -1.0).double() - through).detach()


def net():
    """Convolution, norm, signs, convolution, norm, Relu, pooling, matrix: the parts in this order."""
    shapes = [(4, 2, 3, 3), (4,), (4,), (4,), (6, 4, 3, 3), (6,), (6,), (3, 24), (3,)]
    weights = [(numbers(WEIGHTS + k, *shape) / 2).requires_grad_() for k, shape in enumerate(shapes)]
    w0, b0, g0, s0, w1, g1, s1, w2, b2 = weights
    mean, variance = [torch.zeros(4).double(), torch.zeros(6).double()], [torch.ones(4).double(), torch.ones(6).double()]
    x, labels = numbers(INPUTS, 5, 2, 4, 4), torch.tensor([0, 2, 1, 1, 0])
    h = F.batch_norm(F.conv2d(x, w0, b0, padding=1), mean[0], variance[0], g0, s0, True, 0.1, 1e-5)
    h = F.batch_norm(F.conv2d(signs(h), w1, None, padding=1), mean[1], variance[1], g1, s1, True, 0.1, 1e-5)
    logits = F.linear(F.max_pool2d(F.relu(h), 2).flatten(1), w2, b2)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return {"loss": float(f"{loss.item():.{KEEP}g}"), "weights": [kept(w.grad) for w in weights], "mean": [kept(m) for m in mean],
            "variance": [kept(v) for v in variance]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    torch.set_num_threads(1)
    made = {"operations": operations(), "net": net()}
    parser.parse_args().out.write_text(json.dumps(made, separators=(",", ":")).replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
