# SPDX-License-Identifier: Apache-2.0
"""How far work is: a bar on a terminal, or whatever the caller does with the reports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, Union

# Called as (stage, item, done, total), at most ten times a second; False stops the work with nibble.Cancelled.
ProgressFunction = Callable[[str, str, int, int], object]
# None: a bar where standard error is a terminal. True: a bar. False: nothing. Or a function.
Progress = Union[ProgressFunction, bool, None]


class Bar:
    """One line that is written over, with the stage, the share that is done and what is at work."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = 0

    def __call__(self, stage: str, item: str, done: int, total: int) -> None:
        share = min(done / total, 1.0) if total > 0 else 0.0
        filled = int(share * 24)
        line = f"{stage:<12} {'█' * filled}{'·' * (24 - filled)} {share:4.0%} {item[:34]}"
        self._stream.write("\r" + line.ljust(self._shown))
        self._stream.flush()
        self._shown = len(line)

    def close(self) -> None:
        if self._shown:
            self._stream.write("\r" + " " * self._shown + "\r")
            self._stream.flush()
        self._shown = 0


@contextmanager
def reporting(progress: Progress) -> Iterator[ProgressFunction | None]:
    """What the extension calls meanwhile; a bar is wiped away when the work is over."""
    if progress is None:
        progress = bool(sys.stderr is not None and sys.stderr.isatty())
    if progress is False:
        yield None
    elif progress is True:
        bar = Bar()
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield progress
