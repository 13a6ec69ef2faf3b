#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch's automatic differentiation makes of rounding in training to tests/data/train/estimators.json.

    python tools/reference_estimators.py --out tests/data/train/estimators.json

Each case is one run of weights that share a scale: masters, a scale, slopes of a loss in the rounded values, and what follows of them. Rules
are written as their papers have them, with detach() where slopes pass through: LSQ (arXiv:1902.08153), SEQ and binary weights of ParetoQ
(arXiv:2502.02631), BitNet b1.58 (arXiv:2402.17764), ternary weight networks (arXiv:1605.04711), trained ternary
quantization (arXiv:1612.01064), XNOR-Net's binary weights (arXiv:1603.05279).
"""
import argparse
import json
import pathlib

import torch

COUNT = 48


def masters():
    """No rounding tie for any of the scales below."""
    return torch.tensor([((17 * i) % 29 - 14) * 0.0131 + 0.0007 * (i % 5) + 0.0003 for i in range(COUNT)])


def slopes():
    return torch.tensor([((11 * i) % 19 - 9) / 8 for i in range(COUNT)])


def passing(rounded, x):
    """The value of the first, the slopes of the second."""
    return x + (rounded - x).detach()


def scaled_gradient(x, factor):
    return x * factor + (x - x * factor).detach()


def lsq(w, s, low, high, middle=0.0):
    s = scaled_gradient(s, (w.numel() * high) ** -0.5)
    clipped = torch.clamp(w / s, low, high)
    return s * passing(torch.round(clipped - middle) + middle, clipped)


def seq(w, s, levels, shift):
    """alpha = levels * s, so that the points are those of the format at the scale s. The factor goes by the largest level, 2/3 alpha of ternary
    numbers, for which ParetoQ's program has 1."""
    largest = (round(0.99 * levels - shift) + shift) / levels
    factor = (w.numel() * largest) ** -0.5
    alpha = scaled_gradient(s, factor) * levels
    clipped = torch.clamp(w / alpha, -0.99, 0.99) * levels - shift
    return alpha * (passing(torch.round(clipped), clipped) + shift) / levels


def binary_learned(w, s):
    held = s.detach()
    s = scaled_gradient(s, w.numel() ** -0.5)
    inside = torch.clamp(w, -held, held)
    return s * torch.sign(w).detach() + inside - inside.detach()


def absmean(w):
    s = w.abs().mean().clamp(min=1e-5).detach()
    return passing(torch.clamp(torch.round(w / s), -1, 1) * s, w), s


def twn(w):
    kept = (w.abs() > 0.7 * w.abs().mean()).detach()
    s = w.abs()[kept].mean().detach()
    return passing(torch.sign(w) * kept * s, w), s


def ttq(w, positive, negative):
    """The slopes of what is kept are multiplied by its number, which PyTorch would not do by itself."""
    factor = w.numel() ** -0.5
    up, down = (w > 0.05 * w.abs().max()).float().detach(), (w < -0.05 * w.abs().max()).float().detach()
    weighted = w * (positive * up + negative * down + 1 - up - down).detach()
    values = scaled_gradient(positive, factor) * up - scaled_gradient(negative, factor) * down
    return values + weighted - weighted.detach()


def bwn(w):
    s = w.abs().mean().detach()
    clipped = torch.clamp(w, -1, 1)
    return passing(torch.sign(w) * s, clipped), s


def case(name, format_name, rule, scale=None, stretch=1.0):
    w = (masters() * stretch).requires_grad_()
    if scale is None:
        learned = []
        values, found = rule(w)
        scales = [found]
    else:
        scales = learned = [torch.tensor(s, requires_grad=True) for s in scale]
        values = rule(w, *learned)
    values.backward(slopes())
    return {"estimator": name, "format": format_name, "scales": [s.item() for s in scales], "stretch": stretch, "values": values.tolist(),
            "by_masters": w.grad.tolist(), "by_scales": [s.grad.item() for s in learned]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    cases = [
        case("lsq", "int4:row", lambda w, s: lsq(w, s, -8, 7), (0.0217,)),
        case("lsq", "int8:row", lambda w, s: lsq(w, s, -127, 127), (0.00111,)),
        case("lsq", "int2:row:half", lambda w, s: lsq(w, s, -1.5, 1.5, 0.5), (0.0813,)),
        case("lsq", "ternary:row", lambda w, s: lsq(w, s, -1, 1), (0.1013,)),
        case("lsq", "q4_0", lambda w, s: lsq(w, s, -8, 7), (0.0217,)),
        case("lsq", "binary:row", binary_learned, (0.0917,)),
        case("seq", "ternary:row", lambda w, s: seq(w, s, 1.5, 0.0), (0.1013,)),
        case("seq", "int2:row:half", lambda w, s: seq(w, s, 2.0, 0.5), (0.0813,)),
        case("absmean", "ternary:row", absmean),
        case("twn", "ternary:row", twn),
        case("ttq", "table2:row", ttq, (0.0917, 0.1101)),
        case("bwn", "binary:row", bwn, stretch=7.0),
    ]
    options.out.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "masters": masters().tolist(), "slopes": slopes().tolist(),
                                       "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
