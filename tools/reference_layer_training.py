#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch makes of a small layer that learns its rounding to tests/data/train/layer_training.json.

    python tools/reference_layer_training.py --out tests/data/train/layer_training.json

The layer is x + down(silu(gate(h)) * up(h)), h = x / rms(x) * norm; it reads inputs that differ from those by which the original made the
targets. Every matrix is a position for each weight, rounded to the nearest of a scale's points; slopes pass through the rounding
where the position is within the points, scales take the slope of the values while codes stay. Steps by signs (SignRound,
arXiv:2309.05516) keep positions within half a distance of where they began. By curvature a position goes a share of the way to its point less
slope / curvature, and scales go by AdamW; curvature is estimated by gradients of random signs. Where a case is weighed, an error e of the output
counts e^T F e in place of e^T e, with F a moment that the identity damps, and random signs are turned by its factor. Numbers are f32, gradients f64.
"""
import argparse
import json
import math
import pathlib

import torch

HIDDEN, WIDE, LENGTH, WINDOWS, GROUP, STEPS = 32, 32, 16, 4, 32, 6
JUDGED = [3]
FORMATS = {
    "int4:g32": ([c - 8.0 for c in range(16)], 7.5),
    "int2:g32:half": ([-1.5, -0.5, 0.5, 1.5], 1.5),
}
OUT_OF_RANGE, SMALLEST, PROBES, LEAST_CURVATURE, SEED, DAMPING = 0.75, 0.01, 6, 1e-3, 1, 0.1
WORD = (1 << 64) - 1


class Random:
    """xoshiro256** seeded by SplitMix64."""

    def __init__(self, seed):
        self.state = []
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & WORD
            z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & WORD
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
            self.state.append(z ^ (z >> 31))

    def uniform(self):
        rotated = lambda x, k: ((x << k) | (x >> (64 - k))) & WORD
        s = self.state
        result = (rotated((s[1] * 5) & WORD, 7) * 9) & WORD
        t = (s[1] << 17) & WORD
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotated(s[3], 45)
        return (result >> 11) * 2.0**-53


def numbers(seed, *shape, factor=1.0):
    """Multiples of 1/1024 in -2 .. 2, times a factor."""
    count = math.prod(shape)
    i = torch.arange(count, dtype=torch.int64)
    return (((i * 7919 + seed * 104729 + i * i * 31) % 4096) / 1024 - 2).to(torch.float32).mul(factor).reshape(shape)


def short(x):
    """Enough digits for f32."""
    return [float(f"{value:.9g}") for value in x.flatten().tolist()]


class Rounded:
    def __init__(self, weight, points, widest, within):
        self.points = torch.tensor(points)
        groups = weight.reshape(-1, GROUP)
        self.first = (groups.abs().amax(1) / widest).half().float()
        self.codes, start = self.nearest(groups, self.first)
        self.distance = self.first[:, None].expand_as(groups) * (points[1] - points[0])
        limit = within * self.distance
        self.begin = start + torch.minimum(torch.maximum(groups - start, -limit), limit)
        self.size = torch.maximum(self.first, SMALLEST * self.first.max())
        self.offset, self.change = torch.zeros_like(groups), torch.zeros_like(self.first)
        self.shape = weight.shape

    def nearest(self, x, scale):
        values = scale[:, None, None] * self.points
        codes = (x[:, :, None] - values).abs().argmin(2)
        return codes, scale[:, None] * self.points[codes]

    def values(self):
        """As they would be stored, with slopes: in f64."""
        scale = (self.first + self.size * self.change).half().float()
        position = self.begin + self.distance * self.offset
        codes, value = self.nearest(position, scale)
        self.point = value
        self.v = torch.zeros_like(self.offset, dtype=torch.float64, requires_grad=True)
        self.c = torch.zeros_like(self.change, dtype=torch.float64, requires_grad=True)
        inside = ((position - value).abs() <= OUT_OF_RANGE * self.distance).double()
        codes_stay = (scale.double() + self.size.double() * self.c)[:, None] * self.points[codes].double()
        return (codes_stay + inside * self.distance.double() * self.v).reshape(self.shape), value.reshape(self.shape)


def layer(x, norm, gate, up, down):
    h = x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * norm
    g = h @ gate.T
    return x + (g * torch.sigmoid(g) * (h @ up.T)) @ down.T


def moment_of(seed):
    """What errors of the output count: positive definite, 1 for the mean of its diagonal."""
    a = numbers(seed, HIDDEN, HIDDEN).double()
    moment = a @ a.T
    return (moment / moment.diagonal().mean()).float()


def learn(name, rule, rate, grid_rate, seed, weighed=False):
    points, widest = FORMATS[name]
    norm = 1 + numbers(seed, HIDDEN, factor=0.1)
    weights = [numbers(seed + 1, WIDE, HIDDEN, factor=0.1), numbers(seed + 2, WIDE, HIDDEN, factor=0.1), numbers(seed + 3, HIDDEN, WIDE, factor=0.1)]
    own = numbers(seed + 4, WINDOWS, LENGTH, HIDDEN)
    x = own + numbers(seed + 5, WINDOWS, LENGTH, HIDDEN, factor=0.03125)
    target = layer(own.double(), norm.double(), *[w.double() for w in weights]).float()
    within = 0.45 if rule == "signs" else 0.0
    parts = [Rounded(w, points, widest, within) for w in weights]
    scales = [short(p.first) for p in parts]
    learnt = [w for w in range(WINDOWS) if w not in JUDGED]
    moment = torch.eye(HIDDEN, dtype=torch.float64)
    if weighed:
        moment = (moment_of(seed + 6) + DAMPING * torch.eye(HIDDEN)).double() / (1 + DAMPING)
    root = torch.linalg.cholesky(moment)

    def size(e):
        return ((e @ moment) * e).sum()
    tensors = [t for p in parts for t in (p.offset, p.change)]
    optimizer = torch.optim.AdamW([p.change for p in parts], eps=1e-14, weight_decay=0)
    smallest, closest = 1.0, 1.0

    def find_curvature():
        rows, cols = [0] * 3, [0] * 3
        for probe in range(PROBES):
            matrices = [p.values()[1].double().requires_grad_() for p in parts]
            y = layer(x[learnt].double(), norm.double(), *matrices)
            random = Random(SEED * 1000003 + probe)
            signs = torch.tensor([-1.0 if random.uniform() < 0.5 else 1.0 for _ in range(y.numel())], dtype=torch.float64).reshape(y.shape)
            y.backward(signs @ root.T)
            for i, matrix in enumerate(matrices):
                rows[i] = rows[i] + (matrix.grad**2).mean(1) * 2 / y.numel() / PROBES
                cols[i] = cols[i] + (matrix.grad**2).mean(0) * 2 / y.numel() / PROBES
        for p, row, col in zip(parts, rows, cols):
            mean = row.mean()
            p.curvature = (torch.clamp(row / mean, min=LEAST_CURVATURE)[:, None] * torch.clamp(col / mean, min=LEAST_CURVATURE) * mean).reshape(-1, GROUP).float()

    def judge():
        with torch.no_grad():
            y = layer(x[JUDGED].double(), norm.double(), *[p.values()[1].double() for p in parts])
        t = target[JUDGED].double()
        return (size(y - t) / size(t)).item()

    def state():
        return [short(p.values()[1]) for p in parts]

    if rule == "curvature":
        find_curvature()
    errors, best = [judge()], state()
    for step in range(STEPS):
        values = [p.values()[0] for p in parts]
        y = layer(x[learnt].double(), norm.double(), *values)
        (size(y - target[learnt].double()) / y.numel()).backward()
        for p in parts:
            position = p.begin + p.distance * p.offset
            gap = (position[:, :, None] - (p.first + p.size * p.change).half().float()[:, None, None] * p.points).abs().sort(2).values
            closest = min(closest, ((gap[:, :, 1] - gap[:, :, 0]) / p.distance).min().item())
            for gradient in (p.v.grad, p.c.grad) if rule == "signs" else (p.c.grad,):
                moved = gradient[gradient != 0].abs()
                smallest = min(smallest, (moved.min() / moved.max()).item())
        if rule == "signs":
            factor = 1 - step / STEPS
            for p in parts:
                p.offset = (p.offset - rate * factor * p.v.grad.sign().float()).clamp(-0.5, 0.5)
                p.change = (p.change - grid_rate * factor * p.c.grad.sign().float()).clamp(-0.5, 0.5)
        else:
            for group in optimizer.param_groups:
                group["lr"] = grid_rate * 0.5 * (1 + math.cos(math.pi * step / STEPS))
            for p in parts:
                p.change.grad = p.c.grad.float()
            optimizer.step()
            for p in parts:
                bend = p.curvature * p.distance**2
                least = (p.point - p.begin) / p.distance - (p.v.grad.float() / bend).clamp(-1, 1)
                p.offset = p.offset + rate * (least - p.offset)
        errors.append(judge())
        if errors[-1] < min(errors[:-1]):
            best = state()
    return smallest, {"closest": closest, "format": name, "rule": rule, "rate": rate, "grid_rate": grid_rate, "seed": seed, "weighed": weighed, "scales": scales,
                      "targets": short(target), "errors": errors, "values": best}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = []
    for name in FORMATS:
        for rule, rate, grid_rate, weighed in (("signs", 1 / STEPS, 1 / 64, False), ("curvature", 0.15, 1 / 64, False), ("curvature", 0.15, 1 / 64, True)):
            # No slope so small that f32 could give it another sign, no position so near to the middle of two points.
            for seed in range(10, 2000, 10):
                smallest, case = learn(name, rule, rate, grid_rate, seed, weighed)
                if smallest > 2e-6 and case["closest"] > 3e-6 and case["errors"].index(min(case["errors"])) > 0:
                    break
            else:
                raise SystemExit(f"no seed does for {name} by {rule}")
            print(name, rule, case["seed"], smallest, case.pop("closest"), [f"{e:.4g}" for e in case["errors"]])
            cases.append(case)
    shape = {"hidden": HIDDEN, "wide": WIDE, "length": LENGTH, "windows": WINDOWS, "steps": STEPS}
    options.out.write_text(json.dumps({"torch": torch.__version__.split("+")[0], **shape, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
