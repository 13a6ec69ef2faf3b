# SPDX-License-Identifier: Apache-2.0
"""How well a model predicts texts, and how far quantized models are from their original."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union

from . import _native
from ._models import Checkpoint, Model, PathLike, checkpoint_of, listed, machine_options
from ._progress import Progress, reporting
from ._quantization import Quantized, Statistics, quantize
from ._texts import Texts, named_texts
from ._verdict_page import verdict_html

AnyModel = Union[PathLike, Checkpoint, Model]


@dataclass(frozen=True)
class Figure:
    """A measured number and its 95 % interval, where there is one."""

    value: float
    stderr: float | None = None  # if tokens were independent, as llama.cpp prints
    low: float | None = None
    high: float | None = None
    lower_bound: float | None = None  # each bound alone holds with 95 %
    upper_bound: float | None = None
    no_interval: str | None = None  # why there is none

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.5g}" if self.low is None else f"{self.value:.5g} [{self.low:.5g}, {self.high:.5g}]"


@dataclass(frozen=True)
class Candidate:
    """One model against the original, over all texts. Metrics go by the keys of nibble.metrics()."""

    name: str
    figures: Mapping[str, Figure]

    def __getitem__(self, metric: str) -> Figure:
        return self.figures[metric]

    @property
    def kl(self) -> Figure:
        """The mean divergence from the original's predictions, in nats."""
        return self.figures["kl_mean"]

    @property
    def perplexity(self) -> Figure:
        return self.figures["perplexity"]

    @property
    def perplexity_ratio(self) -> Figure:
        """Over the original's."""
        return self.figures["perplexity_ratio"]

    @property
    def top1_agreement(self) -> Figure:
        """The share of positions where both put the same token first."""
        return self.figures["top1_agreement"]


@dataclass(frozen=True)
class Acceptance:
    """Whether requirements are met by their bounds. True where they are."""

    judgement: str  # "accepted", "rejected", "undecided"
    fields: Mapping[str, Any] = field(repr=False)

    def __bool__(self) -> bool:
        return self.judgement == "accepted"

    def to_dict(self) -> dict[str, Any]:
        return dict(self.fields)


def _figures(fields: Mapping[str, Any]) -> dict[str, Figure]:
    return {name: Figure(**one) for name, one in fields.items() if isinstance(one, dict)}


class Verdict:
    """Plain data: to_dict() has all of it, under the keys of `nibble eval --json`. A table in notebooks."""

    def __init__(self, native: _native.PairedVerdict) -> None:
        self._native = native
        self._fields = native.to_dict()

    @property
    def perplexity(self) -> Figure:
        """The original's, over all texts."""
        return Figure(**self._fields["original_perplexity"])

    @property
    def candidates(self) -> list[Candidate]:
        return [Candidate(one["model"], _figures(one["figures"])) for one in self._fields["candidates"]]

    def __getitem__(self, name: str) -> Candidate:
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    @property
    def windows(self) -> int:
        return int(self._fields["windows"])

    @property
    def tokens(self) -> int:
        """How many were scored."""
        return int(self._fields["tokens"])

    def accept(self, requirements: str, candidate: int = 0) -> Acceptance:
        """ "kl<=0.02, top1>=0.97": judged by one-sided 95 % bounds; undecided where more text is needed."""
        fields = self._native.accept(candidate, requirements)
        return Acceptance(fields["judgement"], fields)

    def to_dict(self) -> dict[str, Any]:
        fields = dict(self._fields)
        perplexity = fields.pop("original_perplexity")
        reading = {key: fields[key] for key in ("protocol", "context", "windows", "tokens")}
        original = {"perplexity": perplexity["value"], "perplexity_stderr": perplexity.get("stderr"), **reading}
        original |= {key: perplexity[key] for key in ("low", "high", "no_interval") if key in perplexity}
        candidates = fields.pop("candidates")
        contests = fields.pop("contests")
        if not candidates:
            return {**original, **fields}
        head = original if len(candidates) > 1 else {**_summary(candidates[0]["figures"]), **reading}
        return {**head, **fields, "original": original, "candidates": candidates, "contests": contests}

    def __repr__(self) -> str:
        lines = [f"<nibble.Verdict on {self.tokens:,} tokens: original perplexity {self.perplexity}"]
        lines += [
            f"  {one.name}: perplexity {one.perplexity.value:.5g}, KL {one.kl}, same top-1 {one.top1_agreement.value:.1%}"
            for one in self.candidates
        ]
        return "\n".join(lines) + ">"

    def _repr_html_(self) -> str:
        return verdict_html(self._fields)


# Keys of a single candidate, with the metric and the part of its figure that they have.
_SUMMARY = {
    "perplexity": ("perplexity", "value"),
    "perplexity_stderr": ("perplexity", "stderr"),
    "kl_mean": ("kl_mean", "value"),
    "kl_stderr": ("kl_mean", "stderr"),
    "kl_p999": ("kl_p999", "value"),
    "kl_max": ("kl_max", "value"),
    "top1_agreement": ("top1_agreement", "value"),
    "perplexity_ratio": ("perplexity_ratio", "value"),
    "perplexity_ratio_stderr": ("perplexity_ratio", "stderr"),
}


def _summary(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {key: figures[metric].get(part) for key, (metric, part) in _SUMMARY.items()}


def metrics() -> list[dict[str, str]]:
    """key, title and meaning of everything that a verdict measures."""
    return _native.list_metrics()


def evaluate(
    models: AnyModel | Mapping[str, AnyModel],
    texts: Texts,
    *,
    against: AnyModel | None = None,
    protocol: Literal["llama.cpp", "paper"] = "llama.cpp",
    context: int = 0,
    max_windows: int = 0,
    parse_special: bool = False,
    layers: bool = False,
    split_windows: int = 0,
    activations: str = "automatic",
    activation_format: str = "",
    keys_values: str = "automatic",
    threads: int = 0,
    instruction_set: str | None = None,
    progress: Progress = None,
) -> Verdict:
    """How well a model predicts texts; with `against`, how far one or several are from that original, in one pass.

    models: one, or several by name. texts: files (paths), or texts themselves (a list of strings, or by name).
    context: tokens in a window; 0: the protocol's own. max_windows: of each text; 0: all.
    layers: also how far each layer's output is from the original's. split_windows: in so many windows, what of the loss
    is the stored weights'.
    """
    named = dict(models) if isinstance(models, Mapping) else {_name_of(models): models}
    if against is None and len(named) != 1:
        raise TypeError("several models are measured against an original: against=")
    options: dict[str, object] = {
        "protocol": protocol,
        "context": context,
        "max_windows": max_windows,
        "parse_special": parse_special,
        "layers": layers,
        "split_windows": split_windows,
        "activations": activations,
        "activation_format": activation_format,
        "keys_values": keys_values,
        **machine_options(threads, instruction_set),
    }
    candidates = [(name, checkpoint_of(one)._native) for name, one in named.items()]
    if against is None:
        original = candidates.pop()[1]
    else:
        original = checkpoint_of(against)._native
    with reporting(progress) as report:
        return Verdict(_native.evaluate(candidates, original, named_texts(texts), options, report))


def _name_of(model: AnyModel) -> str:
    return str(checkpoint_of(model).path) if isinstance(model, (Checkpoint, Model)) else os.fspath(model)


@dataclass(frozen=True)
class Comparison:
    """What each format costs on one model; a table in notebooks."""

    verdict: Verdict
    formats: Mapping[str, Quantized]

    def to_dict(self) -> dict[str, Any]:
        sizes = {name: {key: one.to_dict()[key] for key in _SIZES} for name, one in self.formats.items()}
        return {**self.verdict.to_dict(), "formats": sizes}

    def __repr__(self) -> str:
        lines = [f"<nibble.Comparison on {self.verdict.tokens:,} tokens"]
        lines += [
            f"  {one.name}: {self.formats[one.name].bits_per_weight:.2f} bits, KL {one.kl}" for one in self.verdict.candidates
        ]
        return "\n".join(lines) + ">"

    def _repr_html_(self) -> str:
        return verdict_html(self.verdict._fields, {name: one.bits_per_weight for name, one in self.formats.items()})


_SIZES = ("bits_per_weight", "linear_bits_per_weight", "output_bytes", "substitutions")


def compare(
    model: AnyModel,
    texts: Texts,
    formats: str | Sequence[str] = ("q8_0", "q6_k", "q4_k_m", "q4_0", "int4:g32"),
    *,
    method: str = "rtn",
    calibration: Statistics | Texts | None = None,
    protocol: Literal["llama.cpp", "paper"] = "llama.cpp",
    context: int = 0,
    max_windows: int = 0,
    threads: int = 0,
    instruction_set: str | None = None,
    progress: Progress = None,
) -> Comparison:
    """Quantizes a model to every format in turn, in a temporary directory, and reads the texts with all of them side by side."""
    original = checkpoint_of(model)
    whole = {one["name"] for one in _native.list_formats() if one["group"] != "planar"}
    # Each quantization reads it anew, and an iterator could be read but once.
    told = calibration if isinstance(calibration, Statistics) else _kept(calibration)
    judged = _kept(texts)
    with tempfile.TemporaryDirectory(prefix="nibble-") as scratch:
        made: dict[str, Quantized] = {}
        for number, name in enumerate(listed(formats)):
            output = Path(scratch) / (f"{number}.gguf" if name in whole else str(number))
            made[name] = quantize(
                original,
                name,
                output,
                method=method,
                calibration=told,
                threads=threads,
                instruction_set=instruction_set,
                progress=progress,
            )
        verdict = evaluate(
            {name: one.output for name, one in made.items()},
            judged,
            against=original,
            protocol=protocol,
            context=context,
            max_windows=max_windows,
            threads=threads,
            instruction_set=instruction_set,
            progress=progress,
        )
    return Comparison(verdict, {name: one._dropped() for name, one in made.items()})


def _kept(texts: Any) -> Any:
    """Texts that may be read more than once."""
    is_kept = texts is None or isinstance(texts, (str, os.PathLike, Mapping, Sequence))
    return texts if is_kept else list(texts)
