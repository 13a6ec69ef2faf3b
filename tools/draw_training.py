#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the picture of docs/training.md from the figures of bench/training.py.

    bench/training.py build/src/cli/nibble MODEL ... --json rows.json
    tools/draw_training.py rows.json docs/training.svg

Across: formats, from many bits to few. Up: mean KL divergence from the original on the first held-out text, on a logarithmic scale.
"""
import json
import sys

from loss_chart import BOTTOM, LEFT, RIGHT, TOP, LossChart

WIDTH, HEIGHT = 760, 400
LINES = (("rtn", "#0072b2", "rounded"), ("gptq", "#d55e00", "rounded with feedback (gptq)"), ("qat", "#009e73", "trained while it is rounded"))


def main(source, target):
    with open(source, encoding="utf-8") as file:
        figures = json.load(file)
    rows = figures["rows"]
    losses = [row[name][0] for row in rows for name, _, _ in LINES if row[name][0]]
    chart = LossChart(WIDTH, HEIGHT, "What is lost at fewer and fewer bits, and what training brings back", losses)
    out, y = chart.out, chart.y

    def x(index):
        return LEFT + (index + 0.5) / len(rows) * (WIDTH - LEFT - RIGHT)

    for index, row in enumerate(rows):
        out.append(f'<text x="{x(index):.1f}" y="{HEIGHT - BOTTOM + 22}" text-anchor="middle" fill="#555">{row["format"]}</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 12}" fill="#555">mean KL divergence from the original, nats (down is better)</text>')
    for place, (name, color, title) in enumerate(LINES):
        points = [(x(index), y(row[name][0])) for index, row in enumerate(rows) if row[name][0]]
        chart.line(points, f'stroke="{color}" stroke-width="2"')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{color}"/>' for a, b in points]
        out.append(f'<text x="{LEFT + 14}" y="{TOP + 16 + 20 * place}" fill="{color}">{title}</text>')
    chart.write(target)


if __name__ == "__main__":
    main(*sys.argv[1:3])
