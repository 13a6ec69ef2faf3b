#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/format/{nf4,fp4}_double.bin: what bitsandbytes stores for a small matrix with doubly quantized scales.

130 rows of 192, blocks of 64: 390 scale codes, 2 scales of scales (f32), their offset (f32), and the codes, two to a byte, first high. The matrix is
made from hashed row-major indices, exact in f32, and again in tests/format/double_quantization_test.cpp. Also decodes with NumPy and
compares with what bitsandbytes decodes. Needs numpy, torch and bitsandbytes (0.50.2 was used).
"""

import argparse
import pathlib

import bitsandbytes.functional as bnb
import numpy as np
import torch

ROWS, COLS, BLOCK, RUN = 130, 192, 64, 256


def matrix():
    index = np.arange(ROWS * COLS, dtype=np.uint64)
    mask = np.uint64(0xFFFFFFFF)
    value = (index * np.uint64(2654435761) + np.uint64(12345)) & mask
    value = ((value ^ (value >> np.uint64(15))) * np.uint64(2246822519)) & mask
    u = ((value >> np.uint64(8)).astype(np.int64) - 2**23).astype(np.float32) * np.float32(2.0**-23)
    spread = (1 + (index // np.uint64(COLS)) % np.uint64(7)).astype(np.float32)
    x = (u * u * u * spread * np.float32(2.0**-6)).reshape(ROWS, COLS)
    x[5, :BLOCK] = 0
    return x


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/data/format"))
    arguments = parser.parse_args()
    x = matrix()
    dynamic = bnb.create_dynamic_map().numpy()
    for points in ("nf4", "fp4"):
        packed, state = bnb.quantize_4bit(torch.from_numpy(x), blocksize=BLOCK, quant_type=points, compress_statistics=True)
        packed, scales = packed.numpy().ravel(), state.absmax.numpy().ravel()
        nested, offset = state.state2.absmax.numpy(), np.float32(state.offset)
        assert state.state2.blocksize == RUN
        real = dynamic[scales] * np.repeat(nested, RUN)[: len(scales)] + offset
        codes = np.stack((packed >> 4, packed & 15), axis=1).ravel()
        decoded = (state.code.numpy()[codes].reshape(-1, BLOCK) * real[:, None]).reshape(ROWS, COLS)
        assert np.array_equal(decoded, bnb.dequantize_4bit(torch.from_numpy(packed.reshape(-1, 1)), state).numpy())
        parts = (scales.astype(np.uint8), nested.astype("<f4"), np.array([offset], "<f4"), packed)
        (arguments.out / f"{points}_double.bin").write_bytes(b"".join(part.tobytes() for part in parts))


if __name__ == "__main__":
    main()
