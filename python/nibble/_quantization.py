# SPDX-License-Identifier: Apache-2.0
"""Making a model small, and what the methods that look at data are told."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from . import _native
from ._errors import InvalidArgumentError, NotFoundError
from ._models import Checkpoint, Model, PathLike, checkpoint_of, file_name, listed, machine_options
from ._progress import Progress, reporting
from ._results import WithVerdict
from ._texts import Texts, calibration_texts, named_texts


class Statistics:
    """What a model's layers see while it reads text; immutable."""

    def __init__(
        self, native: _native.CalibrationStatistics, source: Checkpoint, sites: Sequence[Mapping[str, Any]] = (), warnings: Sequence[str] = ()
    ) -> None:
        self._native = native
        self._source = source
        self.adequacy: list[dict[str, Any]] = [dict(site) for site in sites]  # whether the text was enough, by site
        self.warnings: list[str] = list(warnings)  # empty: it was

    @property
    def sites(self) -> list[str]:
        return self._native.sites()

    @property
    def samples(self) -> int:
        """Windows that were read."""
        return self._native.samples()

    @property
    def length(self) -> int:
        """Tokens in each."""
        return self._native.length()

    @property
    def has_second_moments(self) -> bool:
        return self._native.has_second_moments()

    def mean_squares(self, site: str) -> npt.NDArray[np.float32]:
        """The mean of x^2 of each of a site's columns."""
        return self._native.mean_squares(site)

    def save(self, path: PathLike) -> None:
        """By the name's ending: .gguf and .dat are llama.cpp's importance matrices, anything else is a file of statistics."""
        _native.save_statistics(self._native, self._source._native, path)

    def __repr__(self) -> str:
        return f"<nibble.Statistics of {len(self.sites)} sites, {self.samples} windows of {self.length} tokens>"


def load_statistics(path: PathLike, model: PathLike | Checkpoint | Model) -> Statistics:
    """Statistics, or an importance matrix, that fit the model."""
    source = checkpoint_of(model)
    return Statistics(_native.load_statistics(path, source._native), source)


def calibrate(
    model: PathLike | Checkpoint | Model,
    texts: Texts,
    *,
    samples: int = 128,
    length: int = 512,
    seed: int = 0,
    parse_special: bool = False,
    second_moments: bool = False,
    arithmetic: str = "automatic",
    spill_directory: PathLike | None = None,
    threads: int = 0,
    instruction_set: str | None = None,
    progress: Progress = None,
) -> Statistics:
    """Walks texts through a model and keeps what its layers see, once for many quantizations.

    texts: files (paths), or texts themselves (a list of strings, or by name). samples: windows of `length` tokens; 0: all.
    second_moments: whole matrices, which gptq and awq ask for. arithmetic: of products, "f32" or "int8", several times faster.
    spill_directory: hidden states lie in a file there, not in memory.
    """
    source = checkpoint_of(model)
    options: dict[str, object] = {
        "samples": samples,
        "length": length,
        "sampling_seed": seed,
        "parse_special": parse_special,
        "second_moments": second_moments,
        "arithmetic": arithmetic,
        **machine_options(threads, instruction_set),
    }
    if spill_directory is not None:
        options["spill_directory"] = os.fspath(spill_directory)
    with reporting(progress) as report:
        seen, sites, warnings = _native.calibrate(source._native, calibration_texts(texts), options, report)
    return Statistics(seen, source, sites, warnings)


class Quantized(WithVerdict):
    """What a quantization did; to_dict() has all of it, under the keys of `nibble quantize --json`."""

    @property
    def output(self) -> Path:
        """NotFoundError of what compare() made and dropped again."""
        if "output" not in self._fields:
            raise NotFoundError("compare() keeps no files; quantize() writes one")
        return Path(self._fields["output"])

    @property
    def written(self) -> bool:
        """False after a dry run, where a requirement was not met, and of compare(), whose files are gone."""
        return bool(self._fields["written"])

    @property
    def bits_per_weight(self) -> float:
        return float(self._fields["bits_per_weight"])

    @property
    def output_bytes(self) -> int:
        return int(self._fields["output_bytes"])

    @property
    def recipe(self) -> Any:
        """The rules that were used; may be changed and given as quantize(recipe=...)."""
        return json.loads(self._fields["rules"])

    @property
    def warnings(self) -> list[str]:
        return list(self._fields["warnings"])

    def __repr__(self) -> str:
        done = f"written: {self.output}" if self.written else "not written"
        return f"<nibble.Quantized {self.bits_per_weight:.2f} bits per weight, {self.output_bytes:,} bytes, {done}>"

    def _dropped(self) -> Quantized:
        """The same, its file being gone."""
        fields = {name: value for name, value in self._fields.items() if name != "output"}
        return Quantized(fields | {"written": False}, self.verdict)


def recipe(format: str) -> Any:
    """The rules behind a format or a mix, to be changed and given to quantize()."""
    return json.loads(_native.recipe_json(format))


def quantize(
    model: PathLike | Checkpoint | Model,
    format: str | None = None,
    output: PathLike | None = None,
    *,
    recipe: Union[str, Mapping[str, Any], Sequence[Any], None] = None,
    bits_per_weight: float | None = None,
    max_bytes: int | None = None,
    max_kl: float | None = None,
    container: str = "",
    method: str = "rtn",
    fit: str = "",
    transform: str = "",
    round: str = "",
    calibration: Statistics | Texts | None = None,
    samples: int = 128,
    length: int = 512,
    seed: int = 0,
    parse_special: bool = False,
    calibration_arithmetic: str = "automatic",
    verify: Texts | None = None,
    accept: str = "",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    embedding: str = "",
    head: str = "",
    activation_fit: str = "",
    smoothquant_alpha: float | None = None,
    steps: int | None = None,
    batch: int | None = None,
    rate: float | None = None,
    allow_requantize: bool = False,
    strict: bool = False,
    dry_run: bool = False,
    sync: bool = False,
    threads: int = 0,
    instruction_set: str | None = None,
    progress: Progress = None,
) -> Quantized:
    """Writes a model in few bits; the same bytes as the command line, for any number of threads.

    One of these says what: format ("q4_k_m", "int4:g32"; nibble.formats() lists them), recipe (rules, as nibble.recipe() gives
    them), or a budget: bits_per_weight, max_bytes or max_kl (the mix that loses least within it; needs calibration).
    output: *.gguf is one file, anything else a Hugging Face directory; container names another (nibble.containers()).
    method: nibble.methods() lists them, and which need calibration: texts, or what calibrate() gave.
    verify: texts on which the output is judged against the model before it takes its place; accept: what it has to meet,
    "kl<=0.02, top1>=0.97", or nothing is written.
    """
    from ._verdicts import Verdict

    if output is None and not dry_run:
        raise InvalidArgumentError("an output is needed, unless nothing is written (dry_run)")
    given: dict[str, object] = {
        "format": format,
        "recipe": recipe if recipe is None or isinstance(recipe, str) else json.dumps(recipe),
        "bits_per_weight": None if bits_per_weight is None else float(bits_per_weight),
        "max_bytes": max_bytes,
        "max_kl": None if max_kl is None else float(max_kl),
        "output": "dry-run.gguf" if output is None else file_name(output),
        "container": container,
        "method": method,
        "fit": fit,
        "transform": transform,
        "round": round,
        "samples": samples,
        "length": length,
        "sampling_seed": seed,
        "parse_special": parse_special,
        "calibration_arithmetic": calibration_arithmetic,
        "accept": accept,
        "include": listed(include),
        "exclude": listed(exclude),
        "embedding": embedding,
        "head": head,
        "activation_fit": activation_fit,
        "smoothquant_alpha": None if smoothquant_alpha is None else float(smoothquant_alpha),
        "steps": steps,
        "batch": batch,
        "rate": None if rate is None else float(rate),
        "allow_requantize": allow_requantize,
        "strict": strict,
        "dry_run": dry_run,
        "sync": sync,
        **machine_options(threads, instruction_set),
    }
    options = {name: value for name, value in given.items() if value is not None}
    statistics = calibration._native if isinstance(calibration, Statistics) else None
    texts = [] if isinstance(calibration, Statistics) else calibration_texts(calibration)
    source = checkpoint_of(model)
    with reporting(progress) as report:
        fields, verdict = _native.quantize(source._native, options, statistics, texts, named_texts(verify), report)
    return Quantized(fields, None if verdict is None else Verdict(verdict))


def methods() -> list[dict[str, Any]]:
    """name, description and need ("none", "mean_squares", "second_moments") of every method."""
    return _native.list_methods()


def fits() -> list[dict[str, Any]]:
    """name and description of every way to choose grids."""
    return _native.list_fits()


def containers() -> list[dict[str, Any]]:
    """name and description of every container that is written."""
    return _native.list_containers()
