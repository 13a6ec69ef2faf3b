# SPDX-License-Identifier: Apache-2.0
"""Texts as callers have them: files, strings, whatever gives strings."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Union

from . import _native
from ._errors import FileError, NotFoundError

# A path (or several) names files; a mapping has texts by their names; any other iterable gives the pieces of one text.
Texts = Union[str, "os.PathLike[str]", Mapping[str, str], Iterable[str], Iterable["os.PathLike[str]"]]


def _read(path: str | os.PathLike[str]) -> tuple[str, str]:
    name = os.fspath(path)
    shown = name if len(name) <= 120 else name[:100] + "..."
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero in it
        if isinstance(error, ValueError) or error.errno in (errno.ENOENT, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EINVAL):
            raise NotFoundError(f"{shown!r}: no such text file; a text itself is given as [text]") from None
        raise FileError(error.errno, f"{error.strerror}; texts are read from files", shown) from None
    text, replaced = _native.judge_text(data, name)
    if replaced:
        warnings.warn(f"{shown}: sequences of bytes that are no UTF-8, read as U+FFFD: {replaced}", stacklevel=4)
    return name, text


def calibration_texts(texts: Texts | None) -> list[tuple[str, str]]:
    """The same under the files' own names, which stand in what is made of them, wherever the files lie."""
    return [(os.path.basename(name) or name, text) for name, text in named_texts(texts)]


def named_texts(texts: Texts | None) -> list[tuple[str, str]]:
    """Names and texts, as the extension takes them. NotFoundError names a file that is not there."""
    if texts is None:
        return []
    if isinstance(texts, (str, os.PathLike)):
        return [_read(texts)]
    if isinstance(texts, Mapping):
        return [(str(name), str(text)) for name, text in texts.items()]
    items = list(texts)
    paths = [item for item in items if isinstance(item, os.PathLike)]
    if paths and len(paths) == len(items):
        return [_read(path) for path in paths]
    if not all(isinstance(item, str) for item in items):
        raise TypeError("texts are paths of files, or strings, or a mapping from names to strings")
    return [("text", "\n".join(map(str, items)))] if items else []
