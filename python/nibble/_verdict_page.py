# SPDX-License-Identifier: Apache-2.0
"""A verdict as notebooks show it: a table, with the divergences drawn to one scale. Nothing but HTML and SVG, no script."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_WIDTH = 180


def _number(figure: Mapping[str, Any], digits: int = 5) -> str:
    value = f"{figure['value']:.{digits}g}"
    return value if "low" not in figure else f"{value} <small>[{figure['low']:.3g}, {figure['high']:.3g}]</small>"


def _bar(figure: Mapping[str, Any], largest: float) -> str:
    """The value as a bar, its interval as a line across the end."""

    def place(value: float) -> float:
        return max(0.0, min(1.0, value / largest)) * (_WIDTH - 4) if largest > 0 else 0.0

    parts = [f'<rect x="0" y="4" height="8" width="{place(figure["value"]):.1f}" fill="#4878a8"/>']
    if "low" in figure:
        low, high = place(figure["low"]), place(figure["high"])
        parts.append(f'<path d="M{low:.1f} 8H{high:.1f}M{low:.1f} 5V11M{high:.1f} 5V11" stroke="currentColor"/>')
    return f'<svg width="{_WIDTH}" height="16" role="img" aria-label="{figure["value"]:.3g}">{"".join(parts)}</svg>'


def verdict_html(verdict: Mapping[str, Any], bits: Mapping[str, float] | None = None) -> str:
    """verdict: as the extension gives it. bits: per weight, by the candidate's name."""
    original = f"original: perplexity {_number(verdict['original_perplexity'])}"
    caption = f"{original}; {verdict['tokens']:,} tokens in {verdict['windows']:,} windows of {verdict['context']}"
    if verdict["partial"]:
        caption += f" (of {verdict['windows_planned']:,})"
    candidates = verdict["candidates"]
    if not candidates:
        return f"<p>{caption}</p>"
    largest = max(one["figures"]["kl_mean"].get("high", one["figures"]["kl_mean"]["value"]) for one in candidates)
    titles = ["", *(["bits/weight"] if bits else []), "perplexity", "KL, nats", "", "same top-1"]
    rows = []
    for one in candidates:
        figures = one["figures"]
        cells = [escape(one["model"])]
        if bits:
            cells.append(f"{bits[one['model']]:.2f}")
        cells += [
            _number(figures["perplexity"]),
            _number(figures["kl_mean"], 3),
            _bar(figures["kl_mean"], largest),
            f"{figures['top1_agreement']['value']:.1%}",
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
