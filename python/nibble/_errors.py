# SPDX-License-Identifier: Apache-2.0
"""What the library throws, as Python's exceptions: nibble.Error, and of each kind a class that is one of Python's own, too."""

from __future__ import annotations


class Error(Exception):
    """Base of everything that nibble raises about files, values and the machine.

    kind: "invalid_argument", "not_found", "corrupt", "unsupported", "unusable_input", "io", "resource", "cancelled", "internal".
    setting: the argument that would mend it, "" where none would.
    """

    kind: str = "internal"
    setting: str = ""


class InvalidArgumentError(Error, ValueError):
    """The caller asked for something that makes no sense."""

    kind = "invalid_argument"


class NotFoundError(Error, FileNotFoundError):
    """A file or a tensor that should be there is not."""

    kind = "not_found"


class CorruptError(Error):
    """A file contradicts its own format."""

    kind = "corrupt"


class UnsupportedError(Error):
    """Valid, but nothing here can take it."""

    kind = "unsupported"


class UnusableInputError(Error, ValueError):
    """A sound input that does not serve what was asked: a text shorter than a window, a prompt longer than the context."""

    kind = "unusable_input"


class FileError(Error, OSError):
    """The operating system refused."""

    kind = "io"


class ResourceError(Error, MemoryError):
    """Memory, disk or another limit ran out."""

    kind = "resource"


class Cancelled(Error):
    """A progress callback returned False."""

    kind = "cancelled"


_CLASSES: dict[str, type[Error]] = {
    one.kind: one
    for one in (
        InvalidArgumentError,
        NotFoundError,
        CorruptError,
        UnsupportedError,
        UnusableInputError,
        FileError,
        ResourceError,
        Cancelled,
    )
}


def error_of(kind: str, message: str, setting: str) -> Error:
    """Called by the extension."""
    error = _CLASSES.get(kind, Error)(message)
    error.setting = setting
    return error
