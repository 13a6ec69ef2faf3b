# SPDX-License-Identifier: Apache-2.0
"""Weights with outliers, chosen, written and read by another hand than nibble's: tests/data/format/outliers.json.

    python tools/reference_outliers.py --out tests/data/format/outliers.json

Follows docs/container.md for what bytes mean, and src/quantize/round/band_outliers.h for which weights are left out: in each tile of 64 rows the
one whose leaving its group gains most, one after the other. Plain rounding: scales by the largest magnitude, nearest codes, errors unweighted.
"""
import argparse
import json
import pathlib

import numpy as np

ROWS, COLS, TILE = 70, 96, 64
CASES = [("int4:g32", 4, 32, 200), ("int3:row", 3, COLS, 100), ("int2:g32", 2, 32, 500), ("int8:row", 8, COLS, 25)]


def matrix():
    state, values = 12345, []
    for i in range(ROWS * COLS):
        total = 0
        for _ in range(4):
            state = (state * 1103515245 + 12345) % (1 << 31)
            total += (state >> 8) % 201 - 100
        values.append(total * 9 if state % 53 == 0 else total)
    return values


def fit(x, bits, scale_type):
    peak = np.abs(x).max()
    if not peak > 0:
        return np.float32(1)
    half = np.float32(127 if bits == 8 else 2 ** (bits - 1) - 0.5)
    return np.float32(scale_type(np.float32(peak / half)))


def codes_of(x, scale, bits):
    low = -127 if bits == 8 else -(2 ** (bits - 1))
    return np.clip(np.rint((x / scale).astype(np.float32)), low, 2 ** (bits - 1) - 1)


class Group:
    def __init__(self, x, bits, scale_type):
        self.x, self.bits, self.scale_type, self.out = x, bits, scale_type, set()

    def errors(self, out):
        """Of each weight, those left out aside, on the grid of the others."""
        x = self.x.copy()
        x[list(out)] = 0
        scale = fit(x, self.bits, self.scale_type)
        error = x - (codes_of(x, scale, self.bits).astype(np.float32) * scale)
        squares = error * error
        squares[list(out)] = 0
        return x, scale, squares

    def loss(self, out):
        total = 0.0
        for value in self.errors(out)[2]:
            total += float(value)
        return total

    def best(self):
        x, _, squares = self.errors(self.out)
        now, found = self.loss(self.out), (0.0, None)
        for at in dict.fromkeys([int(x.argmax()), int(x.argmin()), int(squares.argmax())]):
            gain = now - self.loss(self.out | {at})
            if at not in self.out and gain > found[0]:
                found = (gain, at)
        return found


def encode(x, bits, group, share):
    scale_type = np.float32 if group == COLS else np.float16
    groups = [[Group(x[r, g : g + group], bits, scale_type) for g in range(0, COLS, group)] for r in range(ROWS)]
    tile_places = max(1, (share * TILE * COLS + 5000) // 10000)
    planes = []
    for first in range(0, ROWS, TILE):
        rows = range(first, min(ROWS, first + TILE))
        places = max(1, (share * len(rows) * COLS + 5000) // 10000)
        gains = {(r, g): groups[r][g].best() for r in rows for g in range(COLS // group)}
        for _ in range(places):
            key = max(gains, key=lambda k: (gains[k][0], -k[0], -k[1]))
            if gains[key][1] is None:
                break
            one = groups[key[0]][key[1]]
            one.out.add(gains[key][1])
            gains[key] = one.best()
        counts, columns, addends = [0] * TILE, [], []
        for r in rows:
            for g, one in enumerate(groups[r]):
                for at in sorted(one.out):
                    counts[r - first] += 1
                    columns.append(g * group + at)
                    addends.append(float(one.x[at]))  # what its own code stores is 0
        padding = [0] * (tile_places - len(columns))
        planes.append(
            bytes(counts)
            + np.array(columns + padding, "<u2").tobytes()
            + np.array(addends + padding, "<f2").tobytes()
        )
    decoded, scales = np.zeros((ROWS, COLS), np.float32), []
    for r in range(ROWS):
        for g, one in enumerate(groups[r]):
            rest, scale, _ = one.errors(one.out)
            scales.append(float(scale))
            decoded[r, g * group : (g + 1) * group] = codes_of(rest, scale, bits).astype(np.float32) * scale
    for t, plane in enumerate(planes):
        at = 0
        columns = np.frombuffer(plane, "<u2", tile_places, TILE)
        addends = np.frombuffer(plane, "<f2", tile_places, TILE + 2 * tile_places)
        for r in range(TILE):
            for _ in range(plane[r]):
                decoded[t * TILE + r, columns[at]] += np.float32(addends[at])
                at += 1
    return planes, scales, decoded


def share_text(share):
    return f"{share / 100:.2f}".rstrip("0").rstrip(".") + "%"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    out = arguments.parse_args().out
    values = matrix()
    x = (np.array(values, np.float64) / 1000).astype(np.float32).reshape(ROWS, COLS)
    cases = []
    for name, bits, group, share in CASES:
        planes, scales, decoded = encode(x, bits, group, share)
        cases.append(
            {
                "format": f"{name}+outliers:{share_text(share)}",
                "outliers": [plane.hex() for plane in planes],
                "scales": scales,
                "decoded": [float(v) for v in decoded[[0, 1, 63, 64, 69]].ravel()],
            }
        )
    out.write_text(json.dumps({"rows": ROWS, "cols": COLS, "thousandths": values, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
