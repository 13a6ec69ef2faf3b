#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the README's picture from a comparison.

    nibble compare models/fable-5M --json > compare.json
    tools/draw_overview.py compare.json docs/overview.svg

Across: bits per weight in the Linear layers. Up: mean KL divergence from the original, on a logarithmic scale.
"""
import json
import sys

from loss_chart import BOTTOM, LEFT, RIGHT, TOP, LossChart

WIDTH, HEIGHT = 760, 400
KINDS = {"block": ("#0072b2", "block formats and mixes (GGUF)"), "planar": ("#d55e00", "planar formats")}


def main(source, target):
    with open(source, encoding="utf-8") as file:
        rows = json.load(file)["formats"]
    points = []
    for row in rows:
        bits, kl = row["linear_bits_per_weight"], row["kl_mean"]
        if kl > 0 and bits < 16:
            points.append((bits, kl, row["format"], "planar" if ":" in row["format"] else "block"))
    chart = LossChart(WIDTH, HEIGHT, "What each format costs on the bundled model, against its size", [p[1] for p in points])
    out, y = chart.out, chart.y

    def x(bits):
        return LEFT + (bits - 2) / (9 - 2) * (WIDTH - LEFT - RIGHT)

    for bits in range(2, 10):
        out.append(f'<text x="{x(bits):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle" fill="#555">{bits}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 14}" text-anchor="middle" fill="#222">bits per weight in the Linear layers</text>')
    out.append(f'<text transform="translate(20 {middle}) rotate(-90)" text-anchor="middle" fill="#222">mean KL divergence, nats</text>')
    for bits, kl, name, kind in points:
        colour = KINDS[kind][0]
        shape = f'<circle cx="{x(bits):.1f}" cy="{y(kl):.1f}" r="5" fill="{colour}"/>'
        if kind == "planar":
            shape = f'<rect x="{x(bits) - 4.5:.1f}" y="{y(kl) - 4.5:.1f}" width="9" height="9" fill="{colour}"/>'
        dx, dy, anchor = (-9, 5, "end") if kind == "planar" else (9, 0, "start")  # each kind on its own side
        out.append(shape)
        out.append(f'<text x="{x(bits) + dx:.1f}" y="{y(kl) + dy:.1f}" text-anchor="{anchor}" fill="#222">{name}</text>')
    for i, (kind, (colour, label)) in enumerate(KINDS.items()):
        top = TOP + 8 + 20 * i
        left = WIDTH - RIGHT - 230
        mark = f'<circle cx="{left}" cy="{top}" r="5" fill="{colour}"/>'
        if kind == "planar":
            mark = f'<rect x="{left - 4.5}" y="{top - 4.5}" width="9" height="9" fill="{colour}"/>'
        out.append(mark + f'<text x="{left + 12}" y="{top + 4}" fill="#222">{label}</text>')
    chart.write(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: draw_overview.py COMPARE.json OUT.svg")
    main(sys.argv[1], sys.argv[2])
