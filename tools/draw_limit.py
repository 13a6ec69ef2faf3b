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

WIDTH, HEIGHT = 860, 560
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 46, 56
# Squared error on normal numbers, as docs/formats-errors.md has it.
ERRORS = {"trellis1:l8": 0.283, "trellis2:l8": 0.0772, "trellis3:l8": 0.0208, "trellis4:l8": 0.00571, "trellis5:l8": 0.00162,
          "trellis1:l12": 0.284, "trellis2:l12": 0.0747, "trellis3:l12": 0.0195, "trellis4:l12": 0.00496, "trellis2:l16": 0.0711,
          "trellis3:l16": 0.0180, "trellis4:l16": 0.00457}
FAMILIES = (("trellis, 2^12 states", "#d55e00", lambda name: name.startswith("trellis") and name.endswith("l12")),
            ("trellis, 2^8 states", "#0072b2", lambda name: name.startswith("trellis") and name.endswith("l8")),
            ("trellis, 2^16 states", "#cc79a7", lambda name: name.startswith("trellis") and name.endswith("l16")),
            ("integers and ternary", "#009e73", lambda name: name.startswith(("int", "ternary"))),
            ("GGUF's types", "#777777", lambda name: True))


def family_of(name):
    return next(index for index, (_, _, holds) in enumerate(FAMILIES) if holds(name))


def main(source, target):
    with open(source, encoding="utf-8") as file:
        figures = json.load(file)
    rows = sorted(figures["rows"], key=lambda row: row["bits"])
    low = math.floor(math.log10(min(row["kl"] for row in rows)))
    high = math.ceil(math.log10(max(row["kl"] for row in rows)))
    last = math.ceil(rows[-1]["bits"])

    def x(bits):
        return LEFT + (bits - 1) / (last - 1) * (WIDTH - LEFT - RIGHT - 60) + 10

    def y(loss):
        return TOP + (high - math.log10(loss)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="15" font-weight="600" fill="#222">What a bit buys: loss over bits per weight, all by {figures["method"]}</text>',
    ]
    for power in range(low, high + 1):
        level = y(10.0**power)
        out.append(f'<line x1="{LEFT}" y1="{level:.1f}" x2="{WIDTH - RIGHT}" y2="{level:.1f}" stroke="#dddddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{level + 4:.1f}" text-anchor="end" fill="#555">{10.0**power:g}</text>')
    for bits in range(1, last + 1):
        out.append(f'<line x1="{x(bits):.1f}" y1="{TOP}" x2="{x(bits):.1f}" y2="{HEIGHT - BOTTOM}" stroke="#eeeeee"/>')
        out.append(f'<text x="{x(bits):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#555">{bits}</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 12}" fill="#555">across: bits per weight of the Linear layers; up: mean KL divergence '
               "from the original, nats (down is better)</text>")
    ratios = [math.log(row["kl"] / ERRORS[row["format"]]) for row in rows if row["format"] in ERRORS]
    if ratios:
        factor = math.exp(sum(ratios) / len(ratios))
        points = [(bits / 20, factor * 4 ** (-bits / 20)) for bits in range(20, 20 * last + 1)]
        path = " ".join(f"{x(bits):.1f},{y(loss):.1f}" for bits, loss in points if 10.0**low < loss < 10.0**high)
        out.append(f'<polyline points="{path}" fill="none" stroke="#222" stroke-dasharray="5 4"/>')
    for index, (title, color, _) in enumerate(FAMILIES):
        points = [(x(row["bits"]), y(row["kl"]), row["format"]) for row in rows if family_of(row["format"]) == index]
        if not points:
            continue
        if title.startswith("trellis"):
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in points)
            out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        for a, b, name in points:
            out.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{color}"/>')
            if not title.startswith("trellis"):
                below = 15 if title.startswith("integers") else -6  # apart where both lie close
                out.append(f'<text x="{a + 3:.1f}" y="{b + below:.1f}" font-size="11" fill="{color}">{name}</text>')
    shown = [(title, color) for index, (title, color, _) in enumerate(FAMILIES) if any(family_of(row["format"]) == index for row in rows)]
    for place, (title, color) in enumerate([*shown, ("Shannon's limit (dashed)", "#222")]):
        out.append(f'<text x="{WIDTH - 230}" y="{TOP + 16 + 20 * place}" fill="{color}">{title}</text>')
    out.append("</svg>")
    with open(target, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
