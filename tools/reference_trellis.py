# SPDX-License-Identifier: Apache-2.0
"""Trellis formats written and read by another hand than nibble's: tests/data/format/trellis.json.

    python tools/reference_trellis.py --out tests/data/format/trellis.json

Follows docs/container.md for what bytes mean, and the rules of src/format/trellis for which bytes are chosen: a scale from a row's deviation,
the cheapest path by float32 sums, the first of equally cheap ones.
"""
import argparse
import json
import pathlib
import re

import numpy as np

TILE, ROWS, COLS, SEAM = 256, 64, 4, 64
REACH = {1: 0.95, 2: 1.05, 3: 1.12, 4: 1.15, 5: 1.15, 6: 1.15}
SHAPES = [(1, 8), (2, 8), (3, 8), (4, 8), (6, 8), (2, 12), (3, 12), (1, 16)]


def state_values(code_bits, state_bits):
    if state_bits == 8:
        source = (pathlib.Path(__file__).parent.parent / "src/format/trellis/state_values.cpp").read_text()
        tables = re.findall(r"\{\{((?:\s*-?\d+,?)+)\}\}", source)
        return np.array([int(v) for v in tables[code_bits - 1].split(",")])
    values = []
    for state in range(1 << state_bits):
        word = (state * 0xCBAC1FED) % (1 << 32) & 0x3F3F3F3F
        values.append(sum(word.to_bytes(4, "little")) - 126)
    return np.array(values)


def cheapest(y, w, order, values, code_bits, seam):
    """States of the symbols in `order`, along the ring downwards."""
    values = values.astype(np.float32)
    groups, heads = len(values) >> code_bits, 1 << code_bits
    best = np.zeros(groups, np.float32)
    if seam is not None:
        best[:] = np.inf
        best[seam] = 0
    came = []
    for step, symbol in enumerate(order):
        if step:
            costs = cost.reshape(heads, groups)
            came.append(costs.argmin(axis=0))
            best = costs.min(axis=0)
        difference = np.float32(y[symbol]) - values
        cost = np.repeat(best, heads) + difference * difference * np.float32(w[symbol])
    ends = np.arange(len(values)) if seam is None else np.arange(heads) * groups + seam
    state = int(ends[cost[ends].argmin()])
    path = [state]
    for table in reversed(came):
        group = state >> code_bits
        state = int(table[group]) * groups + group
        path.append(state)
    return path[::-1]


def encode_tile(y, w, values, code_bits):
    groups = len(values) >> code_bits
    around = [(SEAM - 1 - i) % TILE for i in range(2 * SEAM)]
    seam = cheapest(y, w, around, values, code_bits, None)[SEAM - 1] % groups
    path = cheapest(y, w, range(TILE - 1, -1, -1), values, code_bits, seam)
    ring = sum((state % (1 << code_bits)) << ((TILE - 1 - i) * code_bits) for i, state in enumerate(path))
    return ring.to_bytes(TILE * code_bits // 8, "little")


def decode(codes, scales, rows, cols, values, code_bits, state_bits):
    out = np.zeros((rows, cols), np.float32)
    tile_bytes, bits = TILE * code_bits // 8, TILE * code_bits
    for row in range(rows):
        unit = row // ROWS * (cols // COLS) * tile_bytes
        for col in range(cols):
            tile = codes[unit + col // COLS * tile_bytes :][:tile_bytes]
            ring = int.from_bytes(tile, "little")
            ring |= ring << bits
            symbol = row % ROWS * COLS + col % COLS
            window = ring >> (symbol * code_bits) & ((1 << state_bits) - 1)
            out[row, col] = np.float32(scales[row]) * np.float32(values[window])
    return out


def encode(x, values, code_bits):
    rows, cols = x.shape
    deviation = np.float32(np.sqrt(np.sum(values.astype(np.float64) ** 2) / len(values)))
    scales = []
    for row in x.astype(np.float64):
        squares = 0.0
        for v in row:
            squares += v * v
        scale = np.float32(np.sqrt(squares / cols)) * np.float32(REACH[code_bits]) / deviation
        scales.append(max(np.float16(scale), np.float16(2.0**-24)) if scale > 0 else np.float16(0))
    codes = b""
    for first in range(0, rows, ROWS):
        for col in range(0, cols, COLS):
            y, w = np.zeros(TILE, np.float32), np.zeros(TILE, np.float32)
            for row in range(first, min(rows, first + ROWS)):
                scale = np.float32(scales[row])
                if scale > 0:
                    at = (row - first) * COLS
                    y[at : at + COLS] = x[row, col : col + COLS] / scale
                    w[at : at + COLS] = scale * scale
            codes += encode_tile(y, w, values, code_bits)
    return codes, np.array(scales, np.float16)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    rng = np.random.default_rng(5)
    rows, cols = 70, 8
    thousandths = np.round(1000 * rng.standard_normal((rows, cols))).astype(int)
    thousandths[3] = 0
    x = (thousandths / 1000).astype(np.float32)
    cases = []
    for code_bits, state_bits in SHAPES:
        values = state_values(code_bits, state_bits)
        codes, scales = encode(x, values, code_bits)
        found = decode(codes, scales, rows, cols, values, code_bits, state_bits)
        cases.append({"format": f"trellis{code_bits}:l{state_bits}", "codes": codes.hex(), "scales": scales.view(np.uint16).tolist(),
                      "windows": np.round(found / np.where(scales == 0, 1, scales.astype(np.float64))[:, None]).astype(int).ravel().tolist()})
        print(cases[-1]["format"], float(((found - x) ** 2).mean()))
    parser.parse_args().out.write_text(json.dumps({"rows": rows, "cols": cols, "thousandths": thousandths.ravel().tolist(), "cases": cases},
                                                  separators=(",", ":")).replace('},{', '},\n{') + "\n")


if __name__ == "__main__":
    main()
