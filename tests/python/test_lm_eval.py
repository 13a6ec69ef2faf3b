# SPDX-License-Identifier: Apache-2.0
"""nibble's class for lm-evaluation-harness against the harness' own for transformers (tools/reference_harness.py); only where the
harness is installed."""

from __future__ import annotations

from typing import Any

import pytest

import nibble
from conftest import MODEL

pytest.importorskip("lm_eval", reason="Optional: lm-evaluation-harness is not installed")

SCORES = [
    (("Once upon a time", " there was a boy"), -27.417842864990234, False),
    (("Tom had a small", " parrot called Pepper."), -8.951093673706055, False),
    (("", " The sun was shining"), -9.821205139160156, False),
    (("The dog ", "ran away."), -29.506603240966797, False),
    (("Tom had a small parrot called Pepper. The sun was shin", "ing"), -1.1920928244535389e-07, True),
]
ROLLING = -1077.97509765625  # of 772 tokens, in two windows


@pytest.fixture(scope="module")
def harness() -> Any:
    from nibble.lm_eval import NibbleLM

    return NibbleLM(nibble.load(MODEL, activations="f32", keys_values="f32"))


def request(kind: str, arguments: tuple[Any, ...]) -> Any:
    from lm_eval.api.instance import Instance

    return Instance(kind, {}, arguments, 0)


def test_scores_are_the_harness_own(harness: Any) -> None:
    made = harness.loglikelihood([request("loglikelihood", pair) for pair, _, _ in SCORES])
    for (score, greedy), (pair, expected, is_greedy) in zip(made, SCORES, strict=True):
        # Both are sums of a few logarithms whose logits have errors of some 1e-6 in f32.
        assert score == pytest.approx(expected, rel=2e-6, abs=1e-6), pair
        assert greedy == is_greedy, pair


def test_long_texts_are_cut_into_the_same_windows(harness: Any) -> None:
    text = (MODEL / "heldout.txt").read_text()[:3000]
    (total,) = harness.loglikelihood_rolling([request("loglikelihood_rolling", (text,))])
    assert total == pytest.approx(ROLLING, rel=1e-6)


def test_texts_end_where_they_are_told(harness: Any) -> None:
    task = ("Once upon a time", {"until": [" Tom"], "max_gen_toks": 60})
    (text,) = harness.generate_until([request("generate_until", task)])
    assert text and text == harness.model.generate("Once upon a time", max_tokens=60, stop=" Tom", min_p=0.0).text
