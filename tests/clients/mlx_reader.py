# SPDX-License-Identifier: Apache-2.0
"""Logits and greedy continuations by MLX (mlx-lm), on the CPU; whatever type floats are stored in. See reading.py."""

import pathlib

import mlx.core as mx
import numpy
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model
from reading import serve


class Model:
    def __init__(self, directory, dtype):
        self.network, _ = load_model(pathlib.Path(directory))
        self.network.set_dtype(getattr(mx, dtype))

    def continuation(self, ids, count):
        return [int(token) for token, _ in generate_step(mx.array(ids), self.network, max_tokens=count)]

    def logits(self, ids):
        return numpy.array(self.network(mx.array([ids]))[0].astype(mx.float32))


if __name__ == "__main__":
    serve(Model)
