# SPDX-License-Identifier: Apache-2.0
"""nibble makes neural networks small, proves what that cost, and runs them.

    import nibble

    model = nibble.load("small.gguf")
    print(model.generate("Once upon a time", max_tokens=50))

docs/python.md of the source has a page on all of it. Everything raises nibble.Error, of which there are kinds.
"""

from __future__ import annotations

from . import _native
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
from ._models import Checkpoint, Model, ModelInfo, TensorInfo, Tokenizer, load, open_model
from ._progress import Progress, ProgressFunction

__version__: str = _native.version()

__all__ = [
    "Cancelled",
    "Checkpoint",
    "CorruptError",
    "Error",
    "FileError",
    "Generation",
    "InvalidArgumentError",
    "Model",
    "ModelInfo",
    "NotFoundError",
    "Progress",
    "ProgressFunction",
    "ResourceError",
    "SamplingOptions",
    "TensorInfo",
    "Tokenizer",
    "UnsupportedError",
    "UnusableInputError",
    "load",
    "open_model",
]
