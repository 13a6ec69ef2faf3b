# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import urllib.request

import pytest

import nibble
from conftest import MODEL


def test_a_server_answers_and_ends(model: nibble.Model) -> None:
    with nibble.serve(MODEL, arguments=["--quiet"]) as server:
        body = json.dumps({"prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}).encode()
        request = urllib.request.Request(server.base_url + "/completions", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            text = json.load(response)["choices"][0]["text"]
        assert text == model.generate("Once upon a time", max_tokens=12).text
        assert server.is_running
    assert not server.is_running


def test_why_it_does_not_come_up_is_told() -> None:
    with pytest.raises(nibble.Error, match="nowhere.gguf"):
        nibble.serve("nowhere.gguf")
