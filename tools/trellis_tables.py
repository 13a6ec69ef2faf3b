# SPDX-License-Identifier: Apache-2.0
"""The tables of the trellis formats of 8 state bits, as src/format/trellis/state_values.cpp has them.

    python tools/trellis_tables.py --code-bits 2 --rounds 150 --tiles 400

Lloyd's iteration along cheapest paths: tiles of normal numbers are coded, and each state's value becomes the mean of what was coded by it.
Begins with quantiles in a scattered order. Prints the loss on other numbers, as a share of their squares, and the table.
"""
import argparse
from statistics import NormalDist

import numpy as np

TILE, STATE_BITS, PEAK = 256, 8, 127


def hashed(states):
    x = np.arange(states, dtype=np.uint64) * np.uint64(0xCBAC1FED) & np.uint64(0x3F3F3F3F)
    return sum((x >> np.uint64(8 * i) & np.uint64(0xFF)).astype(np.int64) for i in range(4)) - 126


def cheapest(y, values, code_bits, seam=None):
    """y [tiles, symbols]; seam [tiles]: the bits that a path begins and ends with, or None. The states [tiles, symbols]."""
    n, steps = y.shape
    heads, groups = 1 << code_bits, len(values) >> code_bits
    v = values.astype(np.float32)
    best = np.zeros((n, groups), np.float32)
    if seam is not None:
        best[:] = 1e30
        best[np.arange(n), seam] = 0
    came = np.zeros((steps, n, groups), np.uint8)
    for t in range(steps):
        if t > 0:
            costs = cost.reshape(n, heads, groups)
            came[t] = costs.argmin(axis=1)
            best = costs.min(axis=1)
        difference = y[:, t : t + 1] - v[None]
        cost = np.repeat(best, heads, axis=1) + difference * difference
    if seam is None:
        state = cost.argmin(axis=1)
    else:
        state = cost.reshape(n, heads, groups)[np.arange(n), :, seam].argmin(axis=1) * groups + seam
    path = np.zeros((n, steps), np.int64)
    for t in range(steps - 1, -1, -1):
        path[:, t] = state
        group = state >> code_bits
        state = came[t, np.arange(n), group].astype(np.int64) * groups + group
    return path


def encode(y, values, code_bits):
    half = TILE // 2
    turned = np.concatenate([y[:, half:], y[:, :half]], axis=1)
    seam = cheapest(turned, values, code_bits)[:, half - 1] & ((len(values) >> code_bits) - 1)
    return cheapest(y, values, code_bits, seam)


def train(code_bits, tiles, rounds, rng):
    states = 1 << STATE_BITS
    order = np.argsort(np.argsort(hashed(65536)[np.arange(states) * 257 % 65536] + 1e-3 * rng.standard_normal(states)))
    table = np.array([NormalDist().inv_cdf((i + 0.5) / states) for i in range(states)])[order]
    for _ in range(rounds):
        x = rng.standard_normal((tiles, TILE)).astype(np.float32)
        path = encode(x, table, code_bits)
        total = np.bincount(path.ravel(), weights=x.ravel(), minlength=states)
        count = np.bincount(path.ravel(), minlength=states)
        table = np.where(count > 0, total / np.maximum(count, 1), table)
    return np.clip(np.round(table * PEAK / np.abs(table).max()), -PEAK, PEAK).astype(int)


def loss(values, code_bits, tiles, reach):
    x = np.random.default_rng(99).standard_normal((tiles, TILE)).astype(np.float32)
    scale = reach / np.sqrt((values.astype(np.float64) ** 2).mean())
    return ((x - values[encode(x / scale, values, code_bits)] * scale) ** 2).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code-bits", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--tiles", type=int, default=400)
    options = parser.parse_args()
    table = train(options.code_bits, options.tiles, options.rounds, np.random.default_rng(7))
    for reach in (0.95, 1.0, 1.05, 1.1, 1.15):
        print(f"reach {reach}: {loss(table, options.code_bits, 200, reach):.5f}")
    print(", ".join(map(str, table)))


if __name__ == "__main__":
    main()
