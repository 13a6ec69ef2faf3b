#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the picture of docs/training.md from the figures of bench/training.py.

    bench/training.py build/src/cli/nibble MODEL ... --json rows.json
    tools/draw_training.py rows.json docs/training.svg

Across: formats, from many bits to few. Up: mean KL divergence from the original on the first held-out text, on a logarithmic scale.
"""
import json
import math
import sys

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 46, 56
LINES = (("rtn", "#0072b2", "rounded"), ("gptq", "#d55e00", "rounded with feedback (gptq)"), ("qat", "#009e73", "trained while it is rounded"))


def main(source, target):
    with open(source, encoding="utf-8") as file:
        figures = json.load(file)
    rows = figures["rows"]
    losses = [row[name][0] for row in rows for name, _, _ in LINES if row[name][0]]
    low, high = math.floor(math.log10(min(losses))), math.ceil(math.log10(max(losses)))

    def x(index):
        return LEFT + (index + 0.5) / len(rows) * (WIDTH - LEFT - RIGHT)

    def y(loss):
        return TOP + (high - math.log10(loss)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="15" font-weight="600" fill="#222">What is lost at fewer and fewer bits, and what training brings back</text>',
    ]
    for power in range(low, high + 1):
        level = y(10.0**power)
        out.append(f'<line x1="{LEFT}" y1="{level:.1f}" x2="{WIDTH - RIGHT}" y2="{level:.1f}" stroke="#dddddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{level + 4:.1f}" text-anchor="end" fill="#555">{10.0**power:g}</text>')
    for index, row in enumerate(rows):
        out.append(f'<text x="{x(index):.1f}" y="{HEIGHT - BOTTOM + 22}" text-anchor="middle" fill="#555">{row["format"]}</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 12}" fill="#555">mean KL divergence from the original, nats (down is better)</text>')
    for place, (name, color, title) in enumerate(LINES):
        points = [(x(index), y(row[name][0])) for index, row in enumerate(rows) if row[name][0]]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{color}"/>' for a, b in points]
        out.append(f'<text x="{LEFT + 14}" y="{TOP + 16 + 20 * place}" fill="{color}">{title}</text>')
    out.append("</svg>")
    with open(target, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
