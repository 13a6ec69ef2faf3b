// SPDX-License-Identifier: Apache-2.0
// Small charts as SVG. Colours are the style sheet's, by class: series-0, series-1, ...
import { isNumber, shape } from "./nodes.js";

const kWidth = 320, kHeight = 130, kLeft = 40, kRight = 8, kTop = 8, kBottom = 18;
const kInnerWidth = kWidth - kLeft - kRight, kInnerHeight = kHeight - kTop - kBottom;

// The next of 1, 2, 5, 10, 20, ... so that a scale does not move with every point.
function roundTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

function frame(label, top, write) {
  const svg = shape("svg", { viewBox: `0 0 ${kWidth} ${kHeight}`, role: "img", "aria-label": label, class: "plot" });
  for (const part of [0, 0.5, 1]) {
    const y = kTop + kInnerHeight * (1 - part);
    svg.append(shape("line", { x1: kLeft, x2: kWidth - kRight, y1: y, y2: y, class: "grid" }),
      shape("text", { x: kLeft - 5, y: y + 3.5, "text-anchor": "end" }, write(top * part)));
  }
  return svg;
}

// series: lists of numbers, the last one now; places: how many there is room for. most: a fixed upper end.
export function lineChart(label, series, { places, write = String, most = null, begin = "", end = "" }) {
  const top = most ?? roundTop(Math.max(0, ...series.flat().filter(isNumber)));
  const svg = frame(label, top, write);
  series.forEach((values, index) => {
    const points = values.map((value, i) => [kLeft + (kInnerWidth * (places - values.length + i)) / (places - 1), kTop + kInnerHeight * (1 - Math.min(value, top) / top)]);
    if (!points.length) return;
    const line = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    const ground = kTop + kInnerHeight;
    svg.append(shape("polygon", { points: `${points[0][0].toFixed(1)},${ground} ${line} ${points.at(-1)[0].toFixed(1)},${ground}`, class: `area series-${index}` }),
      shape("polyline", { points: line, class: `line series-${index}` }));
  });
  svg.append(shape("text", { x: kLeft, y: kHeight - 4 }, begin), shape("text", { x: kWidth - kRight, y: kHeight - 4, "text-anchor": "end" }, end));
  return svg;
}

// bars: { name, value } from left to right.
export function barChart(label, bars, { write = String }) {
  const top = roundTop(Math.max(0, ...bars.map((bar) => bar.value)));
  const svg = frame(label, top, write), step = kInnerWidth / Math.max(1, bars.length);
  bars.forEach((bar, i) => {
    const height = (kInnerHeight * bar.value) / top, x = kLeft + i * step;
    svg.append(shape("rect", { x: x + step * 0.1, y: kTop + kInnerHeight - height, width: step * 0.8, height, class: "bar series-0" }));
    if (i % Math.ceil(bars.length / 8) === 0)
      svg.append(shape("text", { x: x + step / 2, y: kHeight - 4, "text-anchor": "middle" }, bar.name));
  });
  return svg;
}
