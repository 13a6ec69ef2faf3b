# SPDX-License-Identifier: Apache-2.0
"""Conversations: as the text that a model reads, and its answers, with what was read kept for the next one."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Iterator, Union

from . import _native

Message = Mapping[str, Any]
TemplateChoice = Union[str, "os.PathLike[str]"]

# The longest conversation unless more is asked for, in tokens: what is held of one grows with it.
LONGEST_BY_DEFAULT = 32768


@dataclass(frozen=True)
class Answer:
    """What a model answered. str() of it is the text."""

    text: str
    reasoning: str  # what it thought before, without marks; "" where its template knows no such thing
    stop_reason: str  # "end_token", "stop_text", "max_tokens", "context_full"
    prompt_tokens: int  # of the whole conversation
    kept_tokens: int  # of these, read before and not again
    new_tokens: int  # reasoning and marks, too
    prompt_seconds: float
    decode_seconds: float
    decode_tokens: int

    @property
    def message(self) -> dict[str, str]:
        """What goes behind the conversation for the next question."""
        message = {"role": "assistant", "content": self.text}
        return message | {"reasoning_content": self.reasoning} if self.reasoning else message

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class AnswerPiece:
    """A piece of an answer, or of the thoughts before it, as it is made. str() of it is the text."""

    text: str
    is_reasoning: bool = False

    def __str__(self) -> str:
        return self.text


def messages_json(messages: str | Sequence[Message]) -> str:
    """A text alone is what the user says."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return json.dumps(list(messages), ensure_ascii=False)


def template_options(
    chat_template: TemplateChoice,
    tools: Sequence[Mapping[str, Any]] | None,
    documents: Sequence[Mapping[str, Any]] | None,
    variables: Mapping[str, Any] | None,
    add_generation_prompt: bool,
) -> dict[str, object]:
    """As the extension takes them."""
    return {
        "chat_template": os.fspath(chat_template),
        "tools": "" if tools is None else json.dumps(list(tools), ensure_ascii=False),
        "documents": "" if documents is None else json.dumps(list(documents), ensure_ascii=False),
        "variables": "" if variables is None else json.dumps(dict(variables), ensure_ascii=False),
        "add_generation_prompt": add_generation_prompt,
    }


class ChatMemory:
    """What a model has read of the last conversation, lent to one answer at a time; others get one of their own."""

    def __init__(self, native: _native.LoadedModel) -> None:
        self._native = native
        self._lock = threading.Lock()
        self._held: dict[tuple[object, ...], _native.Chat] = {}

    @contextmanager
    def lend(self, context: int, chat_template: str) -> Iterator[_native.Chat]:
        context = context or min(self._native.context, LONGEST_BY_DEFAULT)
        if not self._lock.acquire(blocking=False):
            yield _native.Chat(self._native, context, chat_template)
            return
        try:
            key = (context, chat_template, _written(chat_template))
            if key not in self._held:
                self._held = {key: _native.Chat(self._native, context, chat_template)}
            yield self._held[key]
        finally:
            self._lock.release()


def _written(chat_template: str) -> tuple[int, int, int] | None:
    """What tells one content of a template's file from the next; None: it names no file."""
    try:
        found = os.stat(chat_template) if chat_template else None
    except (OSError, ValueError):
        return None
    return None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)
