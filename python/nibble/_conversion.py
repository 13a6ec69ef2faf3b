# SPDX-License-Identifier: Apache-2.0
"""The same numbers in another file, and what fits into a memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import _native
from ._errors import InvalidArgumentError
from ._models import Checkpoint, Model, PathLike, checkpoint_of, file_name, listed, machine_options
from ._progress import Progress, reporting
from ._results import WithVerdict
from ._texts import Texts, named_texts
from ._verdicts import Verdict


class Converted(WithVerdict):
    """What a conversion did; to_dict() has all of it, under the keys of `nibble convert --json`."""

    @property
    def output(self) -> Path:
        return Path(self._fields["output"])

    @property
    def is_exact(self) -> bool:
        """Every number is what it was."""
        return bool(self._fields["exact"])

    @property
    def tensors(self) -> list[dict[str, Any]]:
        """Matrices: name, from, to, conversion ("kept", "exact", "rounded"), and what rounding changed."""
        return list(self._fields["tensors"])

    def __repr__(self) -> str:
        return f"<nibble.Converted {'exactly' if self.is_exact else 'with rounding'}: {self.output}>"


def convert(
    model: PathLike | Checkpoint | Model,
    output: PathLike | None = None,
    *,
    container: str = "",
    dtype: str = "",
    lossy: bool = False,
    verify: Texts | None = None,
    strict: bool = False,
    dry_run: bool = False,
    sync: bool = False,
    shard_bytes: int = 0,
    threads: int = 0,
    instruction_set: str | None = None,
    progress: Progress = None,
) -> Converted:
    """Writes a model into another container, or another floating-point type, with the numbers that it has.

    output: *.gguf is one file, anything else a Hugging Face directory; container names another (nibble.containers()).
    dtype: "f32", "f16", "bf16" of every matrix. lossy: what has no exact place is rounded, else it is an error that names it;
    verify: texts on which the cost of that is judged.
    """
    if output is None and not dry_run:
        raise InvalidArgumentError("an output is needed, unless nothing is written (dry_run)")
    options: dict[str, object] = {
        "output": "dry-run.gguf" if output is None else file_name(output),
        "container": container,
        "dtype": dtype,
        "lossy": lossy,
        "strict": strict,
        "dry_run": dry_run,
        "sync": sync,
        "shard_bytes": shard_bytes,
        **machine_options(threads, instruction_set),
    }
    source = checkpoint_of(model)
    with reporting(progress) as report:
        fields, verdict = _native.convert(source._native, options, named_texts(verify), report)
    return Converted(fields, None if verdict is None else Verdict(verdict))


class Plan:
    """What fits; to_dict() has all of it, under the keys of `nibble plan --json`."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    @property
    def best(self) -> str | None:
        """The format with the most bits that fits; None: none does."""
        best: dict[str, str] | None = self._fields["best"]
        return None if best is None else best["format"]

    @property
    def formats(self) -> list[dict[str, Any]]:
        """format, bits_per_weight, bytes, fits and longest_context (by the type of the cache), tokens_per_second."""
        return list(self._fields["formats"])

    def to_dict(self) -> dict[str, Any]:
        return dict(self._fields)

    def __repr__(self) -> str:
        lines = [f"<nibble.Plan {self._fields['model']}, context {self._fields['context']:,}: best {self.best}"]
        lines += [
            f"  {one['format']}: {one['bytes'] / 1e9:.2f} GB, {'fits' if any(one['fits'].values()) else 'does not fit'}"
            for one in self.formats
        ]
        return "\n".join(lines) + ">"


def plan(
    model: PathLike | Checkpoint | Model,
    memory: int,
    *,
    context: int = 0,
    headroom: int | None = None,
    bandwidth: float = 0,
    formats: str | Sequence[str] = (),
) -> Plan:
    """Which formats of a model fit into a memory, with what context, and how fast they can decode at best.

    model: a path, or a size such as "70B", whose nearest known shape is taken. memory, headroom (left to everything else):
    bytes. context: tokens; 0: 8192, or the model's own where that is shorter. bandwidth: bytes per second.
    """
    name = str(checkpoint_of(model).path) if isinstance(model, (Checkpoint, Model)) else os.fspath(model)
    options: dict[str, object] = {
        "model": name,
        "memory": int(memory),
        "context": context,
        "bandwidth": float(bandwidth),
        "formats": listed(formats),
    }
    if headroom is not None:
        options["headroom"] = int(headroom)
    return Plan(_native.plan(options))
