# SPDX-License-Identifier: Apache-2.0
"""The lattice format e8p2 written and read by another hand than nibble's: tests/data/format/lattice.json.

    python tools/reference_lattice.py --out tests/data/format/lattice.json

Follows docs/container.md for what bytes mean: every point is made from that page alone, and the nearest of all 65,536 is taken. With
--distortion the mean squared error on normal numbers at several scales is printed instead.
"""
import argparse
import itertools
import json
import pathlib

import numpy as np


def rows_of_magnitudes():
    vectors = list(itertools.product((1, 3, 5), repeat=8))  # in lexicographic order
    rows = [v for v in vectors if sum(m * m for m in v) <= 40]
    rows += [v for v in vectors if sorted(v) == [1, 1, 1, 3, 3, 3, 3, 3]][: 256 - len(rows)]
    return rows


def all_points():
    points = np.zeros((65536, 8), np.int64)
    for code in range(65536):
        row, down, signs = ROWS[code >> 8], code >> 7 & 1, [code >> j & 1 for j in range(7)]
        wants_odd = sum(row) % 4 != 0
        signs.append(int((sum(signs) % 2 == 1) != wants_odd))
        points[code] = [2 * m * (-1 if s else 1) + (-1 if down else 1) for m, s in zip(row, signs)]
    return points


def nearest(y, points):
    errors = (points**2).sum(axis=1)[None, :] - 2 * y @ points.T
    return errors.argmin(axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--distortion", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(7)
    points = all_points()
    assert len(np.unique(points, axis=0)) == 65536
    deviation = np.sqrt((points.astype(np.float64) ** 2).mean())
    print(f"deviation {deviation:.6f}, mean {points.mean():.6f}")
    if arguments.distortion:
        x = rng.standard_normal((4000, 8))
        for reach in (0.9, 0.94, 0.97, 1.0, 1.03, 1.06, 1.1):
            scale = reach / deviation
            codes = np.concatenate([nearest(x[i : i + 250] / scale, points) for i in range(0, len(x), 250)])
            print(reach, float(((points[codes] * scale - x) ** 2).mean()))
        return
    rows, cols = 6, 32
    thousandths = np.round(1000 * rng.standard_normal((rows, cols))).astype(int)
    thousandths[3] = 0
    x = thousandths / 1000
    scales, codes = [], []
    for row in x:
        scale = np.float16(np.sqrt((row**2).mean()) * REACH / deviation)
        scales.append(int(scale.view(np.uint16)))
        codes += [0] * (cols // 8) if scale == 0 else nearest(row.reshape(-1, 8) / np.float64(scale), points).tolist()
    arguments.out.write_text(json.dumps({"rows": rows, "cols": cols, "thousandths": thousandths.ravel().tolist(), "scales": scales,
                                         "codes": codes, "points": points[codes].ravel().tolist(),
                                         "sample": [[code, points[code].tolist()] for code in range(0, 65536, 997)]}) + "\n")


ROWS, REACH = rows_of_magnitudes(), 1.18

if __name__ == "__main__":
    main()
