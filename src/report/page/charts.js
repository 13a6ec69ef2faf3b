// SPDX-License-Identifier: Apache-2.0
// What all charts of the page share: colours, whiskers, labels, numbers as text. Charts themselves are Chart.js.
"use strict";

// Told apart by readers of any colour vision (Okabe and Ito), and by the shape of their points.
const kColours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#3fa7dd", "#7a5195", "#8c8c8c"];
const kShapes = ["circle", "rectRot", "triangle", "rect", "star", "crossRot"];
const colourOf = (index) => kColours[index % kColours.length];
const shapeOf = (index) => kShapes[Math.floor(index / kColours.length + index) % kShapes.length];

const byId = (id) => document.getElementById(id);
const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function element(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const hasInterval = (figure) => figure && isNumber(figure.low) && isNumber(figure.high);

const kUnits = {
  nats: (v) => (v === 0 ? "0" : v.toPrecision(4)),
  share: (v) => (100 * v).toFixed(2) + " %",
  change: (v) => (100 * v).toFixed(2) + " pp",
  ratio: (v) => (v >= 1 ? "+" : "") + (100 * (v - 1)).toFixed(2) + " %",
  plain: (v) => v.toFixed(4),
};
const valueText = (metric, value) => (isNumber(value) ? (kUnits[metric.unit] || kUnits.plain)(value) : "–");
const bytesText = (bytes) => (bytes >= 1e9 ? (bytes / 1e9).toFixed(2) + " GB" : (bytes / 1e6).toFixed(2) + " MB");
const speedText = (speed) => (speed >= 100 ? speed.toFixed(0) : speed.toPrecision(3));

// Whiskers: points carry {low, high} along the chart's value axis.
const whiskers = {
  id: "whiskers",
  afterDatasetsDraw(chart, _, options) {
    if (!options.axis) return;
    const { ctx } = chart, scale = chart.scales[options.axis];
    chart.data.datasets.forEach((dataset, index) => {
      const meta = chart.getDatasetMeta(index);
      if (!dataset.whiskers || meta.hidden) return;
      ctx.save();
      ctx.strokeStyle = dataset.whiskerColour || dataset.borderColor;
      ctx.lineWidth = 1.5;
      meta.data.forEach((point, i) => {
        const range = dataset.whiskers[i];
        if (!range) return;
        const [from, to] = range.map((v) => scale.getPixelForValue(v));
        ctx.beginPath();
        ctx.moveTo(point.x, from);
        ctx.lineTo(point.x, to);
        for (const y of [from, to]) {
          ctx.moveTo(point.x - 4, y);
          ctx.lineTo(point.x + 4, y);
        }
        ctx.stroke();
      });
      ctx.restore();
    });
  },
};

// Names beside points, each where it covers none that is drawn already.
const labels = {
  id: "labels",
  afterDatasetsDraw(chart, _, options) {
    if (!options.show) return;
    const { ctx, chartArea } = chart, taken = [];
    ctx.save();
    ctx.font = "12px system-ui, sans-serif";
    ctx.fillStyle = styleOf("--ink");
    ctx.textBaseline = "middle";
    chart.data.datasets.forEach((dataset, index) => {
      if (!dataset.names) return;
      chart.getDatasetMeta(index).data.forEach((point, i) => {
        const width = ctx.measureText(dataset.names[i]).width;
        const places = [[9, 0], [9, -13], [9, 13], [-9 - width, 0], [-9 - width, -13], [-9 - width, 13], [-width / 2, -17], [-width / 2, 17]];
        for (const [dx, dy] of places) {
          const box = { left: point.x + dx, right: point.x + dx + width, top: point.y + dy - 7, bottom: point.y + dy + 7 };
          if (box.left < chartArea.left || box.right > chart.width || box.top < 0 || box.bottom > chartArea.bottom + 4) continue;
          if (taken.some((t) => box.left < t.right && t.left < box.right && box.top < t.bottom && t.top < box.bottom)) continue;
          taken.push(box);
          ctx.fillText(dataset.names[i], box.left, point.y + dy);
          break;
        }
      });
    });
    ctx.restore();
  },
};

// Short ticks under the curves: the values that a format can take.
const rug = {
  id: "rug",
  afterDatasetsDraw(chart, _, options) {
    if (!options.values) return;
    const { ctx, chartArea } = chart, scale = chart.scales.x;
    ctx.save();
    ctx.strokeStyle = styleOf("--accent");
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    for (const value of options.values) {
      if (value < scale.min || value > scale.max) continue;
      const x = scale.getPixelForValue(value);
      ctx.moveTo(x, chartArea.bottom - 10);
      ctx.lineTo(x, chartArea.bottom);
    }
    ctx.stroke();
    ctx.restore();
  },
};

const charts = new Map();  // canvas id -> [chart, how it is made]: made anew when the theme changes

// make() returns a Chart.js configuration. description: what a reader who does not see the picture is told.
function draw(id, description, make) {
  const canvas = byId(id);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", description);
  if (charts.has(id)) charts.get(id)[0].destroy();
  const soft = styleOf("--soft"), line = styleOf("--line");
  Chart.defaults.color = soft;
  Chart.defaults.borderColor = line;
  Chart.defaults.font.family = "system-ui, sans-serif";
  Chart.defaults.maintainAspectRatio = false;
  Chart.defaults.animation = false;
  charts.set(id, [new Chart(canvas, { plugins: [whiskers, labels, rug], ...make() }), description, make]);
}

function drawAgain() {
  for (const [id, [, description, make]] of [...charts]) draw(id, description, make);
}

function options(select, items) {
  select.replaceChildren(...items.map(([value, text]) => element("option", text, { value })));
}

// A row of cells; a cell is a text, a node, or a list of both.
function row(cells, tag = "td") {
  const line = element("tr");
  cells.forEach((cell, i) => {
    const node = element(i === 0 && tag === "td" ? "th" : tag, undefined, tag === "th" ? { scope: "col" } : i === 0 ? { scope: "row" } : {});
    node.append(...(Array.isArray(cell) ? cell : [cell]));
    line.append(node);
  });
  return line;
}

function fill(table, head, body) {
  const top = element("thead"), rest = element("tbody");
  if (head) top.append(row(head, "th"));
  rest.append(...body.map((cells) => row(cells)));
  table.replaceChildren(...(head ? [top, rest] : [rest]));
}
