# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import nibble
from conftest import MODEL
from nibble.__main__ import program

Matrix = npt.NDArray[np.float32]
BLOCKS = ["q8_0", "q4_0", "q4_k", "q6_k", "iq4_nl", "mxfp4"]


@pytest.fixture(scope="module")
def weights() -> Matrix:
    return np.random.default_rng(3).standard_normal((24, 512)).astype(np.float32)


def test_bytes_are_those_of_a_model_file(tmp_path: Path) -> None:
    """A tensor out of a file that the command line wrote, read as the GGUF format says where it lies."""
    output = tmp_path / "small.gguf"
    subprocess.run([program(), "quantize", MODEL, "-f", "q4_k", "-o", output], check=True, capture_output=True)
    name = "model.layers.0.mlp.gate_proj.weight"
    encoded = nibble.encode(nibble.open_model(MODEL).read_tensor(name), "q4_k")
    stored = encoded.tobytes()
    assert output.read_bytes().count(stored) == 1
    inside = nibble.open_model(output).read_tensor("blk.0.ffn_gate.weight")
    assert np.array_equal(encoded.decode(), inside)


@pytest.mark.parametrize("format", [*BLOCKS, "int8:row", "int4:g32", "int4:g64:asym", "bf16", "f32"])
def test_there_and_back(format: str, weights: Matrix) -> None:
    encoded = nibble.encode(weights, format)
    stored = encoded.decode()
    assert stored.shape == weights.shape and stored.dtype == np.float32
    assert np.square(stored - weights).sum() < 0.05 * np.square(weights).sum()
    # What is stored once is stored again as the same numbers by formats whose grids do not move.
    assert np.array_equal(nibble.decode(encoded.planes, format, encoded.shape), stored)
    if len(encoded.planes) == 1:
        assert np.array_equal(nibble.decode(encoded.tobytes(), format, encoded.shape), stored)
        assert np.array_equal(nibble.decode(memoryview(encoded.tobytes()), format, encoded.shape), stored)


def test_planes_are_what_they_say(weights: Matrix) -> None:
    encoded = nibble.encode(weights, "int4:g32:asym")
    turned = dict(reversed(list(encoded.planes.items())))
    assert list(turned) != list(encoded.planes)
    assert np.array_equal(nibble.decode(turned, encoded.format, encoded.shape), encoded.decode())
    scales = encoded.planes["scales"]
    for wrong in (
        replace(scales, name="scale"),
        replace(scales, type="F32" if scales.type != "F32" else "F16"),
        replace(scales, shape=scales.shape[::-1]),
    ):
        with pytest.raises(nibble.InvalidArgumentError, match="scales"):
            nibble.decode({**encoded.planes, "scales": wrong}, encoded.format, encoded.shape)


def test_q8_0_is_what_its_definition_says(weights: Matrix) -> None:
    """Blocks of 32: a half-precision scale amax / 127, and 32 whole numbers."""
    blocks = weights.reshape(-1, 32)
    scale = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
    codes = np.rint(blocks / scale).astype(np.int8)
    raw = np.frombuffer(nibble.encode(weights, "q8_0").tobytes(), np.uint8).reshape(-1, 34)
    assert np.array_equal(raw[:, :2].copy().view(np.float16), scale.astype(np.float16))
    # A quotient that lies between two codes may be rounded either way.
    assert np.abs(raw[:, 2:].copy().view(np.int8).astype(int) - codes).max() <= 1
    assert (raw[:, 2:].copy().view(np.int8) == codes).mean() > 0.999


def test_any_array_that_shares_its_memory(weights: Matrix) -> None:
    expected = nibble.encode(weights, "q4_0").tobytes()
    assert nibble.encode(memoryview(weights.data), "q4_0").tobytes() == expected
    assert nibble.encode(np.asfortranarray(weights), "q4_0").tobytes() == expected
    assert nibble.encode(weights.astype(np.float64), "q4_0").tobytes() == expected

    class Shared:  # as PyTorch and others offer it
        def __dlpack__(self, **options: object) -> object:
            return weights.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return weights.__dlpack_device__()

    assert nibble.encode(Shared(), "q4_0").tobytes() == expected
    weights.flags.writeable = False
    assert nibble.encode(weights, "q4_0").tobytes() == expected


def test_torch_tensors(weights: Matrix) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.from_numpy(np.array(weights)).requires_grad_()
    assert nibble.encode(tensor, "q4_0").tobytes() == nibble.encode(weights, "q4_0").tobytes()
    with pytest.raises(TypeError, match="float32"):
        nibble.encode(tensor.to(torch.bfloat16), "q4_0")


def test_importance_changes_what_is_chosen(weights: Matrix) -> None:
    importance = np.geomspace(1e-3, 1e3, weights.shape[1])

    def loss(stored: Matrix) -> float:
        return float((np.square(stored - weights) * importance).sum())

    plain = nibble.encode(weights, "q4_k", method="mse").decode()
    weighed = nibble.encode(weights, "q4_k", method="imatrix", importance=importance).decode()
    assert loss(weighed) < loss(plain)


def test_matrices_that_make_no_sense_are_refused(weights: Matrix) -> None:
    with pytest.raises(nibble.InvalidArgumentError, match="two dimensions"):
        nibble.encode(weights[0], "q4_0")
    with pytest.raises(TypeError, match="int64"):
        nibble.encode(np.arange(64).reshape(2, 32), "q4_0")
    with pytest.raises(nibble.CorruptError):
        nibble.encode(np.full((1, 32), np.nan), "q4_0")
    with pytest.raises(nibble.UnsupportedError):
        nibble.encode(weights[:, :33], "q4_0")
    with pytest.raises(nibble.InvalidArgumentError):
        nibble.encode(weights, "q4_nothing")
    with pytest.raises(nibble.Error):
        nibble.decode(b"\0" * 100, "q4_0", (1, 32))
    with pytest.raises(nibble.InvalidArgumentError, match="format and shape"):
        nibble.decode(b"\0")
    with pytest.raises(nibble.InvalidArgumentError, match="several planes"):
        nibble.encode(weights, "int4:g32").tobytes()
