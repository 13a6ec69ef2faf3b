#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/templates/constructs.json: templates written here, one for each construct, with the texts that transformers makes of
them, or that it makes none.

  python tools/reference_templates.py tests/data/templates
  python tools/reference_templates.py tests/data/templates --others FOLDER > cases.json

With --others the templates of a folder (*.jinja) are rendered with conversations of all kinds instead and printed, for a comparison that
is not committed. Needs the packages transformers and jinja2 (3.1.6 or later).
"""
import datetime
import json
import pathlib
import sys

import jinja2
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2024, 2, 3, 4, 5, 6)


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = FixedClock

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather of a place & time, e.g. \"Köln\".",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "A town"},
                    "days": {"type": "integer", "enum": [1, 2, 3], "default": 1},
                    "options": {"type": "object", "properties": {"metric": {"type": "boolean"}}},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["place"],
            },
            "return": {"type": "string"},
        },
    }
]
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "id": "abcdef123", "function": {"name": "get_weather", "arguments": {"place": "Köln", "days": 2}}}],
}
USER = {"role": "user", "content": "Hello, what's <new>?"}
CONVERSATIONS = {
    "user": {"messages": [USER]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, USER]},
    "turns": {"messages": [USER, {"role": "assistant", "content": "  Nothing. "}, {"role": "user", "content": "Really?\n"}]},
    "thought": {
        "messages": [
            USER,
            {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nNothing.", "reasoning_content": None},
            {"role": "user", "content": "And?"},
            {"role": "assistant", "content": "Much.", "reasoning_content": "Let me see."},
            {"role": "user", "content": "So?"},
        ]
    },
    "tools": {"messages": [USER], "tools": TOOLS},
    "results": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            USER,
            CALL,
            {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": "{\"sun\": true}"},
            {"role": "assistant", "content": "Sunny."},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": TOOLS,
    },
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]}]},
    "nothing": {"messages": []},
}
OPTIONS = [{}, {"enable_thinking": True}, {"enable_thinking": False}]

# Each prints what it does with a conversation that has text, numbers, None and more.
VARIABLES = {"n": 3, "x": 2.5, "nothing": None, "yes": True, "word": "Straße", "items_list": [3, 1, 2], "nested": {"b": [1, {"c": "d"}], "a": None},
             "people": [{"name": "Bo", "age": 3}, {"name": "al", "age": 1}, {"name": "Cy", "age": 3}], "html": "<a href='x'>&\"</a>"}


def expected(case):
    arguments = {name: case[name] for name in ("messages", "tools", "documents", "add_generation_prompt") if name in case}
    arguments.update({name: case[name] for name in ("bos_token", "eos_token") if case.get(name)})
    arguments.update(case.get("variables", {}))
    messages = [{key: value for key, value in message.items() if value is not None} for message in arguments.pop("messages")]
    try:
        texts, _ = chat_template_utils.render_jinja_template(conversations=[messages], chat_template=case["template"], **arguments)
        return {"text": texts[0]}
    except jinja2.exceptions.TemplateError as error:
        is_own = type(error) is jinja2.exceptions.TemplateError
        return {"raised": error.message} if is_own else {"error": type(error).__name__}
    except Exception as error:  # what Python itself refuses
        return {"error": type(error).__name__}


def other_cases(folder):
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        for name, conversation in CONVERSATIONS.items():
            for options in OPTIONS:
                for prompts in (True, False):
                    case = {"name": f"{path.stem}/{name}/{options}/{prompts}", "template": template, **conversation, "variables": options,
                            "add_generation_prompt": prompts, "bos_token": "<s>", "eos_token": "</s>"}
                    yield {**case, "expected": expected(case)}


def own_cases(folder):
    blocks = (folder / "constructs.txt").read_text(encoding="utf-8").split("\n=====\n")
    for block in blocks:
        name, template = block.split("\n", 1)
        for kind in name.split()[1:] or ["results"]:
            case = {"name": name.split()[0] + "/" + kind, "template": template, **CONVERSATIONS[kind], "variables": VARIABLES,
                    "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
            yield {**case, "expected": expected(case)}


def main():
    folder = pathlib.Path(sys.argv[1])
    if "--others" in sys.argv:
        print(json.dumps(list(other_cases(sys.argv[sys.argv.index("--others") + 1]))))
        return
    cases = list(own_cases(folder))
    shared = {"conversations": CONVERSATIONS, "variables": VARIABLES}
    listed = [{"name": case["name"], "template": case["template"], **case["expected"]} for case in cases]
    text = json.dumps({**shared, "cases": listed}, ensure_ascii=False, indent=1)
    (folder / "constructs.json").write_text(text + "\n", encoding="utf-8")


main()
