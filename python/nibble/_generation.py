# SPDX-License-Identifier: Apache-2.0
"""Texts as they are made: what they are asked for by, and how they come piece by piece."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, TypeVar, Union

from ._progress import ProgressFunction


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


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def streamed(make: Callable[[Callable[[Piece], bool], ProgressFunction], object]) -> Iterator[Piece]:
    """The pieces that make() tells, which runs in a thread of its own until the caller leaves the loop."""
    pieces: queue.SimpleQueue[Union[Piece, _Failed, None]] = queue.SimpleQueue()
    left = threading.Event()

    def tell(piece: Piece) -> bool:
        pieces.put(piece)
        return not left.is_set()

    def report(stage: str, item: str, done: int, total: int) -> bool:
        return not left.is_set()

    def work() -> None:
        try:
            make(tell, report)
            pieces.put(None)
        except BaseException as error:  # the caller's to see
            pieces.put(_Failed(error))

    def pull() -> Iterator[Piece]:
        thread = threading.Thread(target=work, name="nibble-stream")
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, _Failed):
                    raise piece.error
                yield piece
        finally:
            left.set()
            thread.join()

    return pull()
