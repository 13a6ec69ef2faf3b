#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the README's picture from a comparison.

    nibble compare models/fable-5M --json > compare.json
    tools/draw_overview.py compare.json docs/overview.svg

Across: bits per weight in the Linear layers. Up: mean KL divergence from the original, on a logarithmic scale.
"""
import json
import math
import sys

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 46, 56
KINDS = {"block": ("#0072b2", "block formats and mixes (GGUF)"), "planar": ("#d55e00", "planar formats")}


def main(source, target):
    with open(source, encoding="utf-8") as file:
        rows = json.load(file)["formats"]
    points = []
    for row in rows:
        bits, kl = row["linear_bits_per_weight"], row["kl_mean"]
        if kl > 0 and bits < 16:
            points.append((bits, kl, row["format"], "planar" if ":" in row["format"] else "block"))
    low = math.floor(math.log10(min(p[1] for p in points)))
    high = math.ceil(math.log10(max(p[1] for p in points)))

    def x(bits):
        return LEFT + (bits - 2) / (9 - 2) * (WIDTH - LEFT - RIGHT)

    def y(kl):
        return TOP + (high - math.log10(kl)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="15" font-weight="600" fill="#222">What each format costs on the bundled model, against its size</text>',
    ]
    for power in range(low, high + 1):
        line = y(10.0**power)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{line:.1f}" y2="{line:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{line + 4:.1f}" text-anchor="end" fill="#555">{10.0**power:g}</text>')
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
    out.append("</svg>\n")
    with open(target, "w", encoding="utf-8") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: draw_overview.py COMPARE.json OUT.svg")
    main(sys.argv[1], sys.argv[2])
