# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

import nibble
from conftest import MODEL

Command = Callable[..., Any]


def test_a_conversion_is_the_command_lines(tmp_path: Path, command: Command) -> None:
    listed = command("convert", MODEL, "-o", tmp_path / "command.gguf")
    made = nibble.convert(MODEL, tmp_path / "python.gguf")
    assert (tmp_path / "python.gguf").read_bytes() == (tmp_path / "command.gguf").read_bytes()
    assert made.is_exact and made.output == tmp_path / "python.gguf"
    for key in set(listed) - {"output", "seconds"}:
        assert made.to_dict()[key] == listed[key], key


def test_what_is_lost_is_counted_and_judged(tmp_path: Path) -> None:
    nibble.convert(MODEL, tmp_path / "wide", dtype="f32")
    with pytest.raises(nibble.UnsupportedError):
        nibble.convert(tmp_path / "wide", tmp_path / "half.gguf", dtype="f16")
    text = [(MODEL / "heldout.txt").read_text()[:8000]]
    made = nibble.convert(tmp_path / "wide", tmp_path / "half.gguf", dtype="f16", lossy=True, verify=text)
    assert not made.is_exact and any(one["conversion"] == "rounded" for one in made.tensors)
    assert made.verdict is not None and 0 < made.verdict.candidates[0].kl.value < 1e-4


def test_a_plan_is_the_command_lines(command: Command) -> None:
    line = ["--memory", "8GB", "--bandwidth", "60GB/s", "--context", "4096", "-f", "q8_0,q4_k_m,int4:g32"]
    listed = command("plan", "7B", *line)
    formats = ["q8_0", "q4_k_m", "int4:g32"]
    made = nibble.plan("7B", memory=8_000_000_000, bandwidth=60e9, context=4096, formats=formats)
    for key, value in listed.items():
        assert made.to_dict()[key] == value, key
    assert made.best == listed["best"]["format"]
    with pytest.raises(nibble.InvalidArgumentError, match="memory"):
        nibble.plan("7B", memory=0)
    for bandwidth in (-1.0, float("nan"), float("inf")):
        with pytest.raises(nibble.InvalidArgumentError, match="bandwidth"):
            nibble.plan("7B", memory=8_000_000_000, bandwidth=bandwidth)
    assert nibble.plan("7B", memory=8_000_000_000, headroom=2**64 - 1).best is None
