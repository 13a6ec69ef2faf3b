# SPDX-License-Identifier: Apache-2.0
"""What the results of conversions and of quantizations have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._verdicts import Verdict


class WithVerdict:
    """Fields under the keys of the command line's --json, and the verdict on texts where there is one."""

    def __init__(self, fields: dict[str, Any], verdict: Verdict | None) -> None:
        self._fields = fields
        self.verdict = verdict  # where what was rounded is judged on texts

    def to_dict(self) -> dict[str, Any]:
        fields = dict(self._fields)
        return fields if self.verdict is None else fields | {"verdict": self.verdict.to_dict()}

    def _repr_html_(self) -> str | None:
        return None if self.verdict is None else self.verdict._repr_html_()
