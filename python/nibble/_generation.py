# SPDX-License-Identifier: Apache-2.0
"""Texts as they are made: what they are asked for by, and how they come piece by piece."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar, Union

from ._progress import Progress, ProgressFunction, reporting


@dataclass(frozen=True)
class Generation:
    """A text that was made, and how. str() of it is the text."""

    text: str
    tokens: list[int]  # without the end token
    stop_reason: str  # "end_token", "stop_text", "max_tokens", "context_full"
    prompt_tokens: int
    prompt_seconds: float
    decode_seconds: float  # of the passes after the prompt's
    decode_tokens: int  # how many such passes there were

    def __str__(self) -> str:
        return self.text


class SamplingOptions(TypedDict, total=False):
    """What else can be said of how tokens are chosen."""

    top_k: int  # keep the k most probable tokens; 0: all. 40 by default
    min_p: float  # drop tokens less probable than this share of the most probable one; 0: none. 0.05 by default
    repetition_penalty: float  # > 1 makes tokens that were seen less probable
    repetition_window: int  # how many last tokens count as seen; 0: all. 64 by default
    ignore_end: bool  # go on past end tokens
    context: int  # room for prompt and answer in tokens; 0, the default: as much as is needed


def sampling_options(
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop: str | Sequence[str],
    more: SamplingOptions | Mapping[str, object],
) -> dict[str, object]:
    """As the extension takes them. TypeError for a name that is no option."""
    for name in more:
        if name not in SamplingOptions.__annotations__:
            known = ", ".join(SamplingOptions.__annotations__)
            raise TypeError(f"there is no option '{name}'; known are max_tokens, temperature, top_p, seed, stop, {known}")
    return {
        "max_tokens": max_tokens,
        "temperature": float(temperature),
        "top_p": float(top_p),
        "seed": seed,
        "stop": [stop] if isinstance(stop, str) else list(stop),
        **more,
    }


Piece = TypeVar("Piece")

# Pieces that wait for a reader; a model that is further ahead waits itself.
_AHEAD = 64


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Stream(Generic[Piece]):
    """Pieces on their way from the thread that makes them."""

    # Those that a script leaves open are stopped before the interpreter goes: nothing may run in it then.
    _running: set[_Stream[Any]] = set()

    def __init__(self, make: Callable[[Callable[[Piece], bool], ProgressFunction], object], progress: Progress) -> None:
        self._make = make
        self._progress = progress
        self._pieces: queue.Queue[Union[Piece, _Failed, None]] = queue.Queue(_AHEAD)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nibble-stream", daemon=True)

    def start(self) -> None:
        _Stream._running.add(self)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the model has stopped."""
        self._left.set()
        if threading.current_thread() is not self._thread:  # where a generator is collected there
            self._thread.join()
        _Stream._running.discard(self)

    def next(self) -> Piece | None:
        """None behind the last one. What was raised where they are made is raised here."""
        piece = self._pieces.get()
        if isinstance(piece, _Failed):
            raise piece.error
        return piece

    def _put(self, piece: Union[Piece, _Failed, None]) -> bool:
        while not self._left.is_set():
            try:
                self._pieces.put(piece, timeout=0.05)
                break
            except queue.Full:
                continue
        return not self._left.is_set()

    def _work(self) -> None:
        try:
            with reporting(self._progress) as told:

                def report(stage: str, item: str, done: int, total: int) -> object:
                    return not self._left.is_set() and (told is None or told(stage, item, done, total))

                self._make(self._put, report)
            self._put(None)
        except BaseException as error:  # the caller's to see
            self._put(_Failed(error))

    @staticmethod
    def stop_all() -> None:
        for stream in list(_Stream._running):
            stream.stop()


atexit.register(_Stream.stop_all)


def streamed(
    make: Callable[[Callable[[Piece], bool], ProgressFunction], object], progress: Progress = False
) -> Generator[Piece, None, None]:
    """The pieces that make() tells, which runs in a thread of its own until the caller leaves the loop, or the interpreter.

    make is given what to tell pieces to, and what to report progress to, which comes to `progress` in that thread.
    """
    stream = _Stream(make, progress)
    stream.start()
    try:
        while (piece := stream.next()) is not None:
            yield piece
    finally:
        stream.stop()
