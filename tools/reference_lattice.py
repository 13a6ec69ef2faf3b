# SPDX-License-Identifier: Apache-2.0
"""The lattice formats e8p2, e8p3 and e8p4 written and read by another hand than nibble's: tests/data/format/lattice.json.

    python tools/reference_lattice.py --out tests/data/format/lattice.json

Follows docs/container.md for what bytes mean: every point is made from that page alone, and the nearest of all is taken (of e8p4's 2^32: some
minutes). With --distortion the mean squared error on normal numbers is printed instead, at several scales: of e8p2 and e8p3, and of 3 and 4 bits as
QuIP# has them (Tseng et al. 2024, section 4.3), the residual of E8P in 256 short points of E8 or in E8P again.
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
    rows, points = rows_of_magnitudes(), np.zeros((65536, 8), np.int64)
    for code in range(65536):
        row, down, signs = rows[code >> 8], code >> 7 & 1, [code >> j & 1 for j in range(7)]
        wants_odd = sum(row) % 4 != 0
        signs.append(int((sum(signs) % 2 == 1) != wants_odd))
        points[code] = [2 * m * (-1 if s else 1) + (-1 if down else 1) for m, s in zip(row, signs)]
    return points


def halves_of_e8(reach):
    """All even or all odd, with a sum that is a multiple of 4."""
    vectors = [v for parity in (0, 1) for v in itertools.product([n for n in range(-reach, reach + 1) if n % 2 == parity], repeat=8)
               if sum(v) % 4 == 0 and sum(n * n for n in v) <= 36]
    return np.array(vectors)


def refinement_rows():
    vectors = halves_of_e8(5)
    distances = ((vectors - ORIGIN) ** 2).sum(axis=1)
    found = np.zeros((0, 8), np.int64)
    for i in sorted(range(len(vectors)), key=lambda i: (distances[i], vectors[i].tolist())):
        difference = vectors[i] - found
        half = difference // 2
        is_twice = (difference % 2 == 0).all(axis=1) & (half % 2 == half[:, :1] % 2).all(axis=1) & (half.sum(axis=1) % 4 == 0)
        if not is_twice.any():
            found = np.vstack([found, vectors[i]])
    assert len(found) == 256
    return np.array(sorted(found.tolist())) - ORIGIN


def values(bits, codes):
    codes = np.asarray(codes, np.int64)
    result = POINTS[codes & 65535]
    if bits > 2:
        result = result + REFINEMENTS[codes >> 16 & 255]
    return 2 * result + REFINEMENTS[codes >> 24] if bits > 3 else result


def nearest_points(y):
    """Of targets [n, 8], the nearest of E8P and the squared distance."""
    errors = (POINTS**2).sum(axis=1).astype(np.float32)[None, :] - 2 * y.astype(np.float32) @ POINTS.T.astype(np.float32)
    codes = errors.argmin(axis=1)
    return codes, ((POINTS[codes] - y) ** 2).sum(axis=1)


def nearest(bits, y):
    """Of one target [8]: the code."""
    if bits == 2:
        return int(nearest_points(y[None, :])[0][0])
    finer = REFINEMENTS if bits == 3 else (REFINEMENTS[:, None, :] + REFINEMENTS[None, :, :] / 2).reshape(-1, 8)
    targets = y / (bits - 2) - finer
    best = (np.inf, 0)
    for first in range(0, len(targets), 256):
        codes, errors = nearest_points(targets[first : first + 256])
        i = int(errors.argmin())
        place = first + i if bits == 3 else (first + i) // 256 | (first + i) % 256 << 8
        best = min(best, (errors[i], int(codes[i]) | place << 16))
    return best[1]


def deviation(bits):
    rng = np.random.default_rng(1)
    squares = (POINTS**2).mean()
    for i in range(bits - 2):
        squares = (1 if i == 0 else 4) * squares + (REFINEMENTS**2).mean()
    assert abs(squares - (values(bits, rng.integers(0, 1 << 8 * bits, 1 << 18)) ** 2).mean()) < 0.02 * squares
    return np.sqrt(squares)


def distortion():
    x = np.random.default_rng(7).standard_normal((500, 8))
    for bits in (2, 3):
        own = deviation(bits)
        for reach in (1.0, 1.05, 1.1, 1.15, 1.2, 1.25):
            found = values(bits, [nearest(bits, one * own / reach) for one in x])
            print(f"e8p{bits}", reach, float(((found * reach / own - x) ** 2).mean()))
    short = halves_of_e8(4)
    squares = (short**2).sum(axis=1)
    single = [v for v in short.tolist() if sorted(map(abs, v)) == [0] * 7 + [4] and v[7] != -4]
    book = np.vstack([short[squares <= 8], single]) * 2  # in quarters
    assert len(book) == 256
    x = np.random.default_rng(7).standard_normal((2000, 8))
    for bits, residual in ((3, 2.04), (4, 3.45)):
        for reach in (1.0, 1.05, 1.1, 1.15, 1.2):
            error = 0.0
            for i in range(0, len(x), 250):
                y = x[i : i + 250] * deviation(2) / reach
                rest = (y - POINTS[nearest_points(y)[0]]) * residual
                points = book if bits == 3 else POINTS
                found = ((points**2).sum(axis=1)[None, :] - 2 * rest @ points.T).argmin(axis=1)
                error += (((rest - points[found]) / residual * reach / deviation(2)) ** 2).sum()
            print(f"residual, {bits} bits", reach, float(error / x.size))


def case(bits, rows, cols):
    rng = np.random.default_rng(7)
    thousandths = np.round(1000 * rng.standard_normal((rows, cols))).astype(int)
    thousandths[rows // 2] = 0
    scales, codes = [], []
    for row in thousandths / 1000:
        scale = np.float16(np.sqrt((row**2).mean()) * REACHES[bits] / deviation(bits))
        scales.append(int(scale.view(np.uint16)))
        codes += [0 if scale == 0 else nearest(bits, octet / np.float64(scale)) for octet in row.reshape(-1, 8)]
    sample = [*range(0, 65536, 997)] if bits == 2 else rng.integers(0, 1 << 8 * bits, 300).tolist()
    return {"rows": rows, "cols": cols, "thousandths": thousandths.ravel().tolist(), "scales": scales, "codes": codes,
            "points": values(bits, codes).ravel().tolist(), "sample": [[code, values(bits, code).tolist()] for code in sample]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--distortion", action="store_true")
    arguments = parser.parse_args()
    assert len(np.unique(POINTS, axis=0)) == 65536
    if arguments.distortion:
        return distortion()
    cases = {"e8p2": case(2, 6, 32), "e8p3": case(3, 6, 32), "e8p4": case(4, 3, 16)}
    arguments.out.write_text(json.dumps(cases) + "\n")


ORIGIN = np.array([0, 0, 0, 0, 0, 1, 1, 1])
POINTS, REFINEMENTS = all_points(), refinement_rows()
REACHES = {2: 1.18, 3: 1.25, 4: 1.32}

if __name__ == "__main__":
    main()
