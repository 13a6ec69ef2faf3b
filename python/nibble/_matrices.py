# SPDX-License-Identifier: Apache-2.0
"""A matrix of one's own in any format, and back: NumPy, PyTorch, whatever has a buffer or DLPack. Nothing is copied on the way in
where it is float32, contiguous and in the processor's memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from . import _native
from ._errors import InvalidArgumentError
from ._models import machine_options


@dataclass(frozen=True)
class Plane:
    """One stored array. Block formats have one without a name; planar ones have "codes", "scales" and so on."""

    name: str
    type: str  # of the elements, as safetensors spells it: "U8", "F16"
    shape: tuple[int, ...]  # of a block format: [rows, bytes in a row]
    bytes: npt.NDArray[np.uint8]  # flat


@dataclass(frozen=True)
class EncodedMatrix:
    """[rows, cols], with the bytes that a file of this format would hold."""

    format: str
    shape: tuple[int, int]
    planes: Mapping[str, Plane]

    @property
    def nbytes(self) -> int:
        return sum(plane.bytes.size for plane in self.planes.values())

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.nbytes / (self.shape[0] * self.shape[1])

    def tobytes(self) -> bytes:
        """Of a block format: what a GGUF file holds."""
        if len(self.planes) != 1:
            raise InvalidArgumentError(f"{self.format} keeps several planes: {', '.join(self.planes)}")
        return next(iter(self.planes.values())).bytes.tobytes()

    def decode(self) -> npt.NDArray[np.float32]:
        return decode(self)


def float_array(array: Any) -> npt.NDArray[np.float32]:
    """As float32 and contiguous; the array itself where it is both."""
    if hasattr(array, "detach"):  # a tensor of PyTorch that learns
        array = array.detach()
    if not isinstance(array, np.ndarray) and hasattr(array, "__dlpack__"):
        try:
            array = np.from_dlpack(array)
        except (BufferError, RuntimeError, TypeError) as error:  # a type that NumPy lacks, or another device
            raise TypeError(f"the array cannot be shared with NumPy ({error}); give it as float32 in the processor's memory") from error
    values = np.asarray(array)
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"weights are floating-point numbers; given {values.dtype}")
    return np.ascontiguousarray(values, dtype=np.float32)


def encode(
    array: Any,
    format: str,
    *,
    method: str = "rtn",
    fit: str = "",
    importance: Any = None,
    threads: int = 0,
    instruction_set: str | None = None,
) -> EncodedMatrix:
    """A matrix [rows, cols] in a format: the same bytes as a model's tensor would get, for any number of threads.

    method: one that asks for no second moments. importance: [cols], the mean squares of the inputs.
    """
    weights = float_array(array)
    if weights.ndim != 2:
        raise InvalidArgumentError(f"a matrix has two dimensions; the array's shape is {weights.shape}")
    options = {"format": format, "method": method, "fit": fit, **machine_options(threads, instruction_set)}
    weighing = None if importance is None else float_array(importance)
    planes = [Plane(**fields) for fields in _native.encode_matrix(weights, options, weighing)]
    return EncodedMatrix(format, (weights.shape[0], weights.shape[1]), {plane.name: plane for plane in planes})


def decode(
    data: Union[EncodedMatrix, Mapping[str, Plane], Any], format: str | None = None, shape: tuple[int, int] | None = None
) -> npt.NDArray[np.float32]:
    """The numbers that are stored, [rows, cols].

    data: what encode() gave; or, with format and shape, its planes, or of a block format the bytes (anything with a buffer).
    """
    if isinstance(data, EncodedMatrix):
        return decode(data.planes, data.format, data.shape)
    if format is None or shape is None:
        raise InvalidArgumentError("bytes alone do not say what they are; give format and shape")
    rows, cols = shape
    if isinstance(data, Mapping):
        planes = [vars(plane) for plane in data.values()]
    else:
        flat = np.frombuffer(data, np.uint8)
        if rows <= 0 or flat.size % rows != 0:
            raise InvalidArgumentError(f"bytes of {rows} rows are a multiple of {rows}; given {flat.size}")
        planes = [{"name": "", "type": "", "shape": (), "bytes": flat}]
    return _native.decode_matrix(format, rows, cols, planes)


def formats() -> list[dict[str, Any]]:
    """name, description, group, bits_per_weight and row_multiple of every format and mix; planar families have more members."""
    return _native.list_formats()
