# SPDX-License-Identifier: Apache-2.0
"""What the pictures of docs/ share: losses go up on a logarithmic scale, with a line for each power of ten."""
import math

LEFT, RIGHT, TOP, BOTTOM = 74, 24, 46, 56


class LossChart:
    def __init__(self, width, height, title, losses):
        self.width, self.height = width, height
        self.low, self.high = math.floor(math.log10(min(losses))), math.ceil(math.log10(max(losses)))
        self.out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="13">',
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="26" font-size="15" font-weight="600" fill="#222">{title}</text>',
        ]
        for power in range(self.low, self.high + 1):
            level = self.y(10.0**power)
            self.out.append(f'<line x1="{LEFT}" y1="{level:.1f}" x2="{width - RIGHT}" y2="{level:.1f}" stroke="#dddddd"/>')
            self.out.append(f'<text x="{LEFT - 8}" y="{level + 4:.1f}" text-anchor="end" fill="#555">{10.0**power:g}</text>')

    def y(self, loss):
        return TOP + (self.high - math.log10(loss)) / (self.high - self.low) * (self.height - TOP - BOTTOM)

    def line(self, points, style):
        """Through [(x, y)] in the picture's units."""
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        self.out.append(f'<polyline points="{path}" fill="none" {style}/>')

    def write(self, target):
        with open(target, "w", encoding="utf-8") as file:
            file.write("\n".join([*self.out, "</svg>"]) + "\n")
