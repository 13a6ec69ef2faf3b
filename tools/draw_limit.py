#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the picture of docs/limit.md from the figures of bench/methods.py.

    bench/methods.py build/src/cli/nibble MODEL --text calibration.txt --heldout heldout.txt --parts limit --best gptq --json limit.json
    tools/draw_limit.py limit.json docs/limit.svg

Across: bits per weight of the Linear layers. Up: mean KL divergence from the original, on a logarithmic scale. The line below all is what a code
at Shannon's limit for normal numbers, a squared error of 4^-bits, would lose if loss went with squared error as it does of the trellises.
"""
import json
import math
import sys

from loss_chart import BOTTOM, LEFT, RIGHT, TOP, LossChart

WIDTH, HEIGHT = 860, 560
# Squared error on normal numbers, as docs/formats-errors.md has it.
ERRORS = {"trellis1:l8": 0.283, "trellis2:l8": 0.0772, "trellis3:l8": 0.0208, "trellis4:l8": 0.00571, "trellis5:l8": 0.00162,
          "trellis1:l12": 0.284, "trellis2:l12": 0.0747, "trellis3:l12": 0.0195, "trellis4:l12": 0.00496, "trellis2:l16": 0.0711,
          "trellis3:l16": 0.0180, "trellis4:l16": 0.00457}
ROTATED = "@hadamard"  # hollow, in the colour of what is rotated
FAMILIES = (("trellis, 2^12 states", "#d55e00", lambda name: name.startswith("trellis") and name.endswith("l12")),
            ("trellis, 2^8 states", "#0072b2", lambda name: name.startswith("trellis") and name.endswith("l8")),
            ("trellis, 2^16 states", "#cc79a7", lambda name: name.startswith("trellis") and name.endswith("l16")),
            ("lattice of eight dimensions", "#b59a00", lambda name: name.startswith("e8p")),
            ("integers with outliers", "#56b4e9", lambda name: "+outliers" in name),
            ("integers and ternary", "#009e73", lambda name: name.startswith(("int", "ternary"))),
            ("GGUF's types", "#777777", lambda name: True))


def family_of(name):
    return next(index for index, (_, _, holds) in enumerate(FAMILIES) if holds(name.removesuffix(ROTATED)))


def main(source, target):
    with open(source, encoding="utf-8") as file:
        figures = json.load(file)
    rows = sorted(figures["rows"], key=lambda row: row["bits"])
    title = f"What a bit buys: loss over bits per weight, all by {figures['method']}"
    chart = LossChart(WIDTH, HEIGHT, title, [row["kl"] for row in rows])
    out, y = chart.out, chart.y
    last = math.ceil(rows[-1]["bits"])

    def x(bits):
        return LEFT + (bits - 1) / (last - 1) * (WIDTH - LEFT - RIGHT - 60) + 10

    for bits in range(1, last + 1):
        out.append(f'<line x1="{x(bits):.1f}" y1="{TOP}" x2="{x(bits):.1f}" y2="{HEIGHT - BOTTOM}" stroke="#eeeeee"/>')
        out.append(f'<text x="{x(bits):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#555">{bits}</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 12}" fill="#555">across: bits per weight of the Linear layers; up: mean KL divergence '
               "from the original, nats (down is better)</text>")
    ratios = [math.log(row["kl"] / ERRORS[row["format"]]) for row in rows if row["format"] in ERRORS]
    if ratios:
        factor = math.exp(sum(ratios) / len(ratios))
        points = [(bits / 20, factor * 4 ** (-bits / 20)) for bits in range(20, 20 * last + 1)]
        seen = [(x(bits), y(loss)) for bits, loss in points if 10.0**chart.low < loss < 10.0**chart.high]
        chart.line(seen, 'stroke="#222" stroke-dasharray="5 4"')
    for index, (title, color, _) in enumerate(FAMILIES):
        points = [(x(row["bits"]), y(row["kl"]), row["format"]) for row in rows if family_of(row["format"]) == index]
        if not points:
            continue
        if title.startswith("trellis"):
            chart.line([(a, b) for a, b, name in points if not name.endswith(ROTATED)], f'stroke="{color}" stroke-width="2"')
        for a, b, name in points:
            is_rotated = name.endswith(ROTATED)
            fill = f'#ffffff" stroke="{color}" stroke-width="1.5' if is_rotated else color
            out.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{fill}"/>')
            if not title.startswith("trellis") and not is_rotated:
                below = 15 if title.startswith("integers") else -6  # apart where both lie close
                out.append(f'<text x="{a + 3:.1f}" y="{b + below:.1f}" font-size="11" fill="{color}">{name}</text>')
    shown = [(title, color) for index, (title, color, _) in enumerate(FAMILIES) if any(family_of(row["format"]) == index for row in rows)]
    if any(row["format"].endswith(ROTATED) for row in rows):
        shown.append(("hollow: inputs rotated", "#222"))
    for place, (title, color) in enumerate([*shown, ("Shannon's limit (dashed)", "#222")]):
        out.append(f'<text x="{WIDTH - 230}" y="{TOP + 16 + 20 * place}" fill="{color}">{title}</text>')
    chart.write(target)


if __name__ == "__main__":
    main(*sys.argv[1:3])
