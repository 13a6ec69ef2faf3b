# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

import nibble
from conftest import MODEL

HELD_OUT = MODEL / "heldout.txt"
Command = Callable[..., Any]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verdict") / "small.gguf"
    nibble.quantize(MODEL, "q4_0", path)
    return path


@pytest.fixture(scope="module")
def verdict(small: Path) -> nibble.Verdict:
    """Of as many windows as intervals need."""
    return nibble.evaluate({"<q4_0>": small}, HELD_OUT, against=MODEL, max_windows=30)


def same(ours: Any, theirs: Any, where: str = "") -> None:
    """All that the command line says, we say."""
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            assert key in ours, f"{where}.{key}"
            same(ours[key], value, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for number, value in enumerate(theirs):
            same(ours[number], value, f"{where}[{number}]")
    elif not where.endswith(".model"):
        assert ours == theirs, where


def test_figures_are_those_of_the_command_line(small: Path, command: Command) -> None:
    expected = command("eval", small, "--against", MODEL, "--text", HELD_OUT, "--windows", "3", "--layers", "--split", "2")
    verdict = nibble.evaluate(small, HELD_OUT, against=MODEL, max_windows=3, layers=True, split_windows=2)
    same(verdict.to_dict(), expected)
    candidate = verdict.candidates[0]
    assert candidate.kl.low is None and candidate.kl.no_interval == "too few blocks"
    assert candidate["kl_mean"] == candidate.kl
    assert set(candidate.figures) == {metric["key"] for metric in nibble.metrics()}


def test_a_models_own_perplexity(command: Command) -> None:
    expected = command("eval", MODEL, "--text", HELD_OUT, "--windows", "4")
    verdict = nibble.evaluate(MODEL, HELD_OUT, max_windows=4)
    same(verdict.to_dict(), expected)
    assert verdict.perplexity.value == expected["perplexity"] and not verdict.candidates


def test_acceptance_is_by_bounds(verdict: nibble.Verdict) -> None:
    kl = verdict["<q4_0>"].kl
    assert kl.low is not None and kl.high is not None and kl.low < kl.value < kl.high
    assert verdict.accept("kl<=0.5, top1>=0.5")
    refused = verdict.accept("kl<=0.0001")
    assert not refused and refused.judgement == "rejected"
    assert refused.to_dict()["requirements"][0]["metric"] == "kl_mean"
    with pytest.raises(nibble.InvalidArgumentError):
        verdict.accept("beauty>=1")


def test_a_comparison_is_the_command_lines(command: Command) -> None:
    formats = ["q8_0", "q4_k_m", "int4:g32"]
    expected = command("compare", MODEL, "--text", HELD_OUT, "-f", ",".join(formats), "--windows", "2", "-r", "1")
    made = nibble.compare(MODEL, HELD_OUT, formats, max_windows=2)
    for candidate, listed in zip(made.verdict.candidates, expected["formats"], strict=True):
        assert candidate.name == listed["format"]
        assert candidate.kl.value == listed["kl_mean"]
        assert made.formats[candidate.name].bits_per_weight == listed["bits_per_weight"]
    assert list(made.to_dict()["formats"]) == formats


def test_a_comparison_reads_texts_that_come_once() -> None:
    """Every format is calibrated on the same text, and no file is named that is gone."""
    text = HELD_OUT.read_text()[:20000].split("\n")
    options: dict[str, Any] = {"method": "imatrix", "max_windows": 1}
    made = nibble.compare(MODEL, iter(text), ["q4_0", "q4_1"], calibration=iter(text), **options)
    listed = nibble.compare(MODEL, text, ["q4_1"], calibration=text, **options)
    assert made.verdict["q4_1"].kl.value == listed.verdict["q4_1"].kl.value
    for one in made.formats.values():
        assert not one.written and "output" not in one.to_dict() and "not written" in repr(one)
        with pytest.raises(FileNotFoundError, match="keeps no files"):
            one.output
    assert list(nibble.compare(MODEL, text, "q4_0", max_windows=1).formats) == ["q4_0"]


def test_notebooks_show_a_table(verdict: nibble.Verdict) -> None:
    html = verdict._repr_html_()
    assert "&lt;q4_0&gt;" in html and "<script" not in html and html.count("<svg") == 1
    assert "perplexity" in nibble.evaluate(MODEL, HELD_OUT, max_windows=1)._repr_html_()


def test_several_models_need_an_original(small: Path) -> None:
    with pytest.raises(TypeError, match="against"):
        nibble.evaluate({"a": small, "b": MODEL}, HELD_OUT)
