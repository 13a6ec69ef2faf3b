# SPDX-License-Identifier: Apache-2.0
"""nibble makes neural networks small, proves what that cost, and runs them.

    import nibble

    model = nibble.load("small.gguf")
    print(model.generate("Once upon a time", max_tokens=50))

docs/python.md of the source has a page on all of it. Everything raises nibble.Error, of which there are kinds.
"""

from __future__ import annotations

from . import _native
from ._chat import Answer, AnswerPiece
from ._conversion import Converted, Plan, convert, plan
from ._errors import (
    Cancelled,
    CorruptError,
    Error,
    FileError,
    InvalidArgumentError,
    NotFoundError,
    ResourceError,
    UnsupportedError,
    UnusableInputError,
)
from ._generation import Generation, SamplingOptions
from ._matrices import EncodedMatrix, Plane, decode, encode, formats
from ._models import Checkpoint, Model, ModelInfo, TensorInfo, Tokenizer, load, open_model
from ._progress import Progress, ProgressFunction
from ._quantization import Quantized, Statistics, calibrate, containers, fits, load_statistics, methods, quantize, recipe
from ._server import Server, serve
from ._verdicts import Acceptance, Candidate, Comparison, Figure, Verdict, compare, evaluate, metrics

__version__: str = _native.version()

__all__ = [
    "Acceptance",
    "Answer",
    "AnswerPiece",
    "Cancelled",
    "Candidate",
    "Checkpoint",
    "Comparison",
    "Converted",
    "CorruptError",
    "EncodedMatrix",
    "Error",
    "Figure",
    "FileError",
    "Generation",
    "InvalidArgumentError",
    "Model",
    "ModelInfo",
    "NotFoundError",
    "Plan",
    "Plane",
    "Progress",
    "ProgressFunction",
    "Quantized",
    "ResourceError",
    "SamplingOptions",
    "Server",
    "Statistics",
    "TensorInfo",
    "Tokenizer",
    "UnsupportedError",
    "UnusableInputError",
    "Verdict",
    "calibrate",
    "compare",
    "containers",
    "convert",
    "decode",
    "encode",
    "evaluate",
    "fits",
    "formats",
    "load",
    "load_statistics",
    "methods",
    "metrics",
    "open_model",
    "plan",
    "quantize",
    "recipe",
    "serve",
]
