# SPDX-License-Identifier: Apache-2.0
"""Conversations. The bundled model was not taught to talk; what is tested does not depend on what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

import nibble
from conftest import MODEL

LINES = (
    "{% for tool in tools or [] %}[{{ tool.function.name }}]{% endfor %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content.split('</think>')[-1] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% if think %}<think>{% endif %}{% endif %}"
)
HELLO = [{"role": "user", "content": "Tom had a red ball."}]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chat") / "lines.jinja"
    path.write_text(LINES)
    return path


def test_a_conversation_becomes_the_templates_text(model: nibble.Model, lines: Path) -> None:
    render = model.tokenizer.apply_chat_template
    assert render("你好", chat_template=lines) == "user: 你好\nassistant:"
    assert render(HELLO, chat_template=lines, add_generation_prompt=False) == "user: Tom had a red ball.\n"
    tools = [{"type": "function", "function": {"name": "look"}}]
    assert render("Hi", chat_template=lines, tools=tools, variables={"think": True}) == "[look]user: Hi\nassistant:<think>"
    with pytest.raises(nibble.NotFoundError, match="no chat template"):
        render("Hi")
    with pytest.raises(nibble.InvalidArgumentError):
        render([1], chat_template=lines)  # type: ignore[list-item]


def test_an_answer_is_that_of_the_command_line(model: nibble.Model, lines: Path, command: Callable[..., Any]) -> None:
    text = HELLO[0]["content"]
    expected = command("run", MODEL, "--chat", "--template", lines, "-p", text, "-n", "24")
    answer = model.chat(HELLO, max_tokens=24, chat_template=lines)
    assert (answer.text, answer.reasoning) == (expected["text"], expected["reasoning"])
    assert answer.prompt_tokens == expected["prompt_tokens"]
    assert "".join(map(str, model.chat(HELLO, max_tokens=24, chat_template=lines, stream=True))) == answer.text


def test_what_was_read_is_kept_and_changes_nothing(model: nibble.Model, lines: Path) -> None:
    first = model.chat(HELLO, max_tokens=8, chat_template=lines)
    longer = [*HELLO, first.message, {"role": "user", "content": "What then?"}]
    second = model.chat(longer, max_tokens=8, chat_template=lines)
    assert second.kept_tokens >= first.prompt_tokens
    fresh = nibble.load(MODEL).chat(longer, max_tokens=8, chat_template=lines)
    assert fresh.kept_tokens == 0 and fresh.text == second.text


def test_streams_of_two_conversations_at_once(model: nibble.Model, lines: Path) -> None:
    alone = model.chat("A cat", max_tokens=12, chat_template=lines).text
    first = model.chat(HELLO, max_tokens=12, chat_template=lines, stream=True)
    begun = [next(first)]
    assert model.chat("A cat", max_tokens=12, chat_template=lines).text == alone
    assert "".join(map(str, begun + list(first))) == model.chat(HELLO, max_tokens=12, chat_template=lines).text


def test_a_template_that_was_rewritten_is_read_again(model: nibble.Model, tmp_path: Path) -> None:
    template = tmp_path / "own.jinja"
    for text in (LINES, "{{ messages[0].content }} A dog said: "):
        template.write_text(text)
        answer = model.chat(HELLO, max_tokens=8, chat_template=template)
        assert answer.text == nibble.load(MODEL).chat(HELLO, max_tokens=8, chat_template=template).text
        assert answer.prompt_tokens == len(
            model.tokenizer.encode(
                model.tokenizer.apply_chat_template(HELLO, chat_template=template), add_special=False, parse_special=True
            )
        )


def test_thoughts_come_apart(model: nibble.Model, lines: Path) -> None:
    options: dict[str, Any] = {"max_tokens": 12, "chat_template": lines, "variables": {"think": True}, "ignore_end": True}
    answer = model.chat(HELLO, **options)
    assert answer.reasoning and not answer.text
    assert json.loads(json.dumps(answer.message))["reasoning_content"] == answer.reasoning
    pieces = list(model.chat(HELLO, stream=True, **options))
    assert all(piece.is_reasoning for piece in pieces)
    assert "".join(piece.text for piece in pieces) == answer.reasoning


def test_a_conversation_must_fit(model: nibble.Model, lines: Path) -> None:
    with pytest.raises(nibble.UnusableInputError, match="context 8"):
        model.chat(HELLO, chat_template=lines, context=8)
