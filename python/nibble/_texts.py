# SPDX-License-Identifier: Apache-2.0
"""Texts as callers have them: files, strings, whatever gives strings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Union

from ._errors import NotFoundError

# A path (or several) names files; a mapping has texts by their names; any other iterable gives the pieces of one text.
Texts = Union[str, "os.PathLike[str]", Mapping[str, str], Iterable[str], Iterable["os.PathLike[str]"]]


def _read(path: str | os.PathLike[str]) -> tuple[str, str]:
    try:
        text = Path(path).read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise NotFoundError(f"{os.fspath(path)}: no such text file; a text itself is given as [text]") from None
    return os.fspath(path), text.removeprefix("\ufeff")


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
