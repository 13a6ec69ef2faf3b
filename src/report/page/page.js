// SPDX-License-Identifier: Apache-2.0
// Fills the page from the report's figures (the JSON in #data). Sections without figures stay hidden.
"use strict";

const report = JSON.parse(byId("data").textContent);
const candidates = report.candidates || [];
const metricBy = Object.fromEntries((report.metrics || []).map((metric) => [metric.key, metric]));
const show = (id) => { byId(id).hidden = false; };

function figureNodes(metric, figure) {
  if (!figure) return ["–"];
  const nodes = [valueText(metric, figure.value)];
  const interval = hasInterval(figure) ? `${valueText(metric, figure.low)} … ${valueText(metric, figure.high)}` : figure.no_interval;
  if (interval) nodes.push(element("span", interval, { class: "interval" }));
  return nodes;
}

// Candidates that no other one beats in size and in the metric.
function paretoFront(metric, among = candidates) {
  const cost = (c) => (metric.better === "higher" ? -1 : 1) * c.figures[metric.key].value;
  const measured = among.filter((c) => isNumber(c.bytes) && c.figures && isNumber(c.figures[metric.key]?.value));
  return measured
    .filter((c) => !measured.some((o) => o !== c && o.bytes <= c.bytes && cost(o) <= cost(c) && (o.bytes < c.bytes || cost(o) < cost(c))))
    .sort((a, b) => a.bytes - b.bytes);
}

// What is drawn of a metric: smaller is better, and close values can be told apart on a logarithmic axis.
function loss(metric, value) {
  if (metric.better === "higher") return 1 - value;
  return metric.unit === "ratio" ? value - 1 : value;
}

function drawQuality() {
  const metric = metricBy[byId("quality-metric").value];
  const placed = candidates.filter((c) => isNumber(c.bytes) && isNumber(c.figures?.[metric.key]?.value));
  const front = paretoFront(metric);
  const stock = paretoFront(metric, candidates.filter((c) => c.stock)); // what GGUF's own types reach
  const logarithmic = placed.every((c) => loss(metric, c.figures[metric.key].value) > 0);
  const floor = Math.min(...placed.map((c) => loss(metric, c.figures[metric.key].value))) / 2;
  const at = (c) => ({ x: c.bytes / 1e6, y: loss(metric, c.figures[metric.key].value) });
  const range = (c) => {
    const figure = c.figures[metric.key];
    if (!hasInterval(figure)) return null;
    return [figure.low, figure.high].map((v) => (logarithmic ? Math.max(loss(metric, v), floor) : loss(metric, v)));
  };
  const title = metric.better === "higher" ? `1 - ${metric.title}` : metric.unit === "ratio" ? `${metric.title} - 1` : metric.title;
  draw("quality-chart", `${title} against size: ${placed.map((c) => `${c.name} ${bytesText(c.bytes)} ${valueText(metric, c.figures[metric.key].value)}`).join("; ")}`, () => ({
    type: "scatter",
    data: {
      datasets: [
        ...placed.map((c) => ({
          label: c.name, data: [at(c)], names: [c.name], whiskers: [range(c)], borderColor: colourOf(candidates.indexOf(c)),
          backgroundColor: colourOf(candidates.indexOf(c)), pointStyle: shapeOf(candidates.indexOf(c)), pointRadius: 6, pointHoverRadius: 8,
        })),
        ...(stock.length > 1 && stock.length < placed.length ? [{ label: "the best of GGUF's types", type: "line", data: stock.map(at), borderColor: styleOf("--soft"), borderDash: [1, 3], borderWidth: 1.5, pointRadius: 0, fill: false }] : []),
        { label: "not beaten", type: "line", data: front.map(at), borderColor: styleOf("--soft"), borderDash: [4, 4], borderWidth: 1.5, pointRadius: 0, fill: false },
      ],
    },
    options: {
      scales: {
        x: { title: { display: true, text: "size of the weights, MB" } },
        y: { type: logarithmic ? "logarithmic" : "linear", title: { display: true, text: title + (metric.unit === "nats" ? ", nats" : "") } },
      },
      plugins: {
        legend: { display: false }, whiskers: { axis: "y" }, labels: { show: true },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${item.parsed.x.toFixed(2)} MB, ${valueText(metric, placed[item.datasetIndex]?.figures[metric.key].value)}` } },
      },
    },
  }));
}

function quality() {
  const usable = ["kl_mean", "perplexity_ratio", "top1_agreement", "kl_p99"].filter((key) => metricBy[key]);
  if (!usable.length || candidates.filter((c) => isNumber(c.bytes) && c.figures).length < 1) return;
  show("quality");
  options(byId("quality-metric"), usable.map((key) => [key, metricBy[key].title]));
  byId("quality-metric").addEventListener("change", drawQuality);
  drawQuality();
}

function verdictTable() {
  if (!candidates.length) return;
  show("verdict");
  const keys = ["perplexity", "perplexity_ratio", "kl_mean", "kl_p99", "kl_p999", "top1_agreement", "flips_to_wrong", "flips_to_right", "probability_rms"]
    .filter((key) => metricBy[key] && candidates.some((c) => c.figures?.[key]));
  const sized = candidates.some((c) => isNumber(c.bytes));
  const front = metricBy.kl_mean ? paretoFront(metricBy.kl_mean) : [];
  const original = report.original || {};
  const size = (c) => (sized ? [isNumber(c.bytes) ? bytesText(c.bytes) : "–", isNumber(c.bits_per_weight) ? c.bits_per_weight.toFixed(2) : "–"] : []);
  const head = ["model", ...(sized ? ["size", "bits/weight"] : []), ...keys.map((key) => element("abbr", metricBy[key].title, { title: metricBy[key].meaning || "" }))];
  const first = [original.name ? `${original.name} (original)` : "original", ...size(original),
    ...keys.map((key) => (key === "perplexity" && original.perplexity ? figureNodes(metricBy.perplexity, original.perplexity) : ""))];
  const body = candidates.map((c) => [element("span", c.name, front.includes(c) && front.length > 1 ? { class: "pareto", title: "not beaten in size and divergence" } : {}),
    ...size(c), ...keys.map((key) => figureNodes(metricBy[key], c.figures?.[key]))]);
  fill(byId("verdict-table"), head, [first, ...body]);
  byId("coverage").textContent = report.coverage || "";
}

function contests() {
  const names = { first: (c) => `${c.first} is better`, second: (c) => `${c.second} is better`, equal: () => "no difference at all", undecided: () => "undecided on this much text" };
  if (!(report.contests || []).length) return;
  const list = element("ul");
  for (const contest of report.contests) {
    const d = contest.kl_difference;
    const range = hasInterval(d) ? `, difference in mean KL ${d.value.toPrecision(3)} [${d.low.toPrecision(3)}, ${d.high.toPrecision(3)}]` : "";
    list.append(element("li", `${contest.first} and ${contest.second}: ${(names[contest.better] || names.undecided)(contest)}${range}`));
  }
  byId("contests").append(element("h3", "Against each other"), list);
}

function bars(id, description, names, series, axis) {
  draw(id, description, () => ({
    type: "bar",
    data: { labels: names, datasets: series.map((s, i) => ({ label: s.label, data: s.data, backgroundColor: colourOf(i), borderColor: colourOf(i) })) },
    options: {
      indexAxis: "y",
      scales: { x: { title: { display: true, text: axis } }, y: { grid: { display: false } } },
      plugins: { legend: { display: series.length > 1 } },
    },
  }));
}

function split() {
  const parted = candidates.filter((c) => c.split && metricBy.kl_mean);
  if (!parted.length) return;
  show("split");
  const kl = metricBy.kl_mean, weights = (c) => c.split.weights.kl_mean, as_run = (c) => c.split.as_run.kl_mean;
  const drawn = parted.filter((c) => as_run(c).value > 0);
  const share = (c) => 100 * Math.min(1, weights(c).value / as_run(c).value);
  byId("split-chart").closest("figure").hidden = !drawn.length;
  if (drawn.length)
    draw("split-chart", "Share of the weights in the mean divergence: " + drawn.map((c) => `${c.name} ${share(c).toFixed(0)} %`).join("; "), () => ({
      type: "bar",
      data: {
        labels: drawn.map((c) => c.name),
        datasets: [["weights", share], ["arithmetic", (c) => 100 - share(c)]].map(([label, of], i) => ({
          label, data: drawn.map(of), backgroundColor: i === 0 ? colourOf(0) : styleOf("--soft"), borderColor: i === 0 ? colourOf(0) : styleOf("--soft"),
        })),
      },
      options: {
        indexAxis: "y",
        scales: { x: { stacked: true, min: 0, max: 100, title: { display: true, text: "% of the mean KL as run" } }, y: { stacked: true, grid: { display: false } } },
      },
    }));
  fill(byId("split-table"), ["model", "weights alone", "as run", "arithmetic adds", "windows"], parted.map((c) => [c.name, figureNodes(kl, weights(c)), figureNodes(kl, as_run(c)),
    c.split.same ? "nothing: it runs so" : figureNodes(kl, c.split.arithmetic.kl_difference), String(c.split.windows)]));
}

function cost() {
  const sized = [report.original, ...candidates].filter((c) => c && isNumber(c.bytes));
  if (sized.length < 2) return;
  show("cost");
  const name = (c) => (c === report.original ? "original" : c.name);
  bars("size-chart", "Sizes: " + sized.map((c) => `${name(c)} ${bytesText(c.bytes)}`).join("; "), sized.map(name), [{ label: "MB", data: sized.map((c) => c.bytes / 1e6) }], "MB");
  const timed = sized.filter((c) => isNumber(c.decode_tokens_per_second));
  if (!timed.length) {
    byId("speed-chart").closest("figure").hidden = true;
    return;
  }
  bars("speed-chart", "Tokens per second: " + timed.map((c) => `${name(c)} ${speedText(c.prefill_tokens_per_second)} prompt, ${speedText(c.decode_tokens_per_second)} answer`).join("; "),
    timed.map(name), [{ label: "prompt", data: timed.map((c) => c.prefill_tokens_per_second) }, { label: "answer", data: timed.map((c) => c.decode_tokens_per_second) }], "tokens per second");
}

function texts() {
  const read = (report.texts || []).filter((t) => t.original_perplexity);
  if (!read.length || !metricBy.perplexity) return;
  show("texts");
  const models = [{ name: "original", of: (t) => read[t].original_perplexity }, ...candidates.map((c) => ({ name: c.name, of: (t) => c.texts?.[t]?.perplexity }))];
  draw("texts-chart", "Perplexity by text; the table below has the figures.", () => ({
    type: "bar",
    data: {
      labels: read.map((t) => t.name),
      datasets: models.map((m, i) => ({
        label: m.name, data: read.map((_, t) => m.of(t)?.value), backgroundColor: i === 0 ? styleOf("--soft") : colourOf(i - 1),
        whiskers: read.map((_, t) => (hasInterval(m.of(t)) ? [m.of(t).low, m.of(t).high] : null)), whiskerColour: styleOf("--ink"),
      })),
    },
    options: { scales: { y: { type: "logarithmic", title: { display: true, text: "perplexity" } } }, plugins: { whiskers: { axis: "y" } } },
  }));
  fill(byId("texts-table"), ["model", ...read.map((t) => t.name)], models.map((m) => [m.name, ...read.map((_, t) => figureNodes(metricBy.perplexity, m.of(t)))]));
}

const kLayerMeasures = { residual: "the residual stream", output: "what the layer adds", local: "the layer alone" };

// The embedding is what the residual stream begins with; on a logarithmic axis there is no place for an exact zero.
function drawLayers() {
  const measure = byId("layers-measure").value;
  const compared = candidates.filter((c) => c.layers?.length);
  const begins = measure === "residual" && compared.some((c) => isNumber(c.embedding_error));
  const names = [...(begins ? ["embedding"] : []), ...compared[0].layers.map((l) => String(l.layer))];
  const values = (c) => [...(begins ? [c.embedding_error] : []), ...c.layers.map((l) => l[measure])];
  const logarithmic = compared.some((c) => values(c).some((v) => v > 0));
  const text = (v) => (!isNumber(v) ? "–" : v === 0 ? "0" : v.toPrecision(3));
  draw("layers-chart", `Error of ${kLayerMeasures[measure]} by layer: ${compared.map((c) => `${c.name} ends at ${text(values(c).at(-1))}`).join("; ")}`, () => ({
    type: "line",
    data: {
      labels: names,
      datasets: compared.map((c) => ({
        label: c.name, data: values(c).map((v) => (logarithmic && !(v > 0) ? null : v)), borderColor: colourOf(candidates.indexOf(c)),
        backgroundColor: colourOf(candidates.indexOf(c)), pointStyle: shapeOf(candidates.indexOf(c)), pointRadius: 4, borderWidth: 2,
      })),
    },
    options: {
      scales: { x: { title: { display: true, text: "layer" } }, y: { type: logarithmic ? "logarithmic" : "linear", title: { display: true, text: "relative error" } } },
      plugins: { legend: { labels: { usePointStyle: true, boxHeight: 7 } }, tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${text(item.parsed.y)}` } } },
    },
  }));
  fill(byId("layers-table"), ["layer", ...compared.map((c) => c.name)], names.map((name, i) => [name, ...compared.map((c) => text(values(c)[i]))]));
}

function layers() {
  const compared = candidates.filter((c) => c.layers?.length);
  if (!compared.length) return;
  show("layers");
  options(byId("layers-measure"), Object.entries(kLayerMeasures).filter(([key]) => compared.some((c) => isNumber(c.layers[0][key]))));
  byId("layers-measure").addEventListener("change", drawLayers);
  drawLayers();
}

// Dark for few bits, light for many: the same order for readers of any colour vision.
function bitsColour(bits) {
  const stops = [[1, [0, 32, 77]], [3, [61, 78, 108]], [4.5, [124, 123, 120]], [6.5, [188, 175, 111]], [9, [255, 234, 70]]];
  const b = Math.min(Math.max(bits, 1), 9);
  const i = Math.max(1, stops.findIndex(([at]) => b <= at));
  const [[low, from], [high, to]] = [stops[i - 1], stops[i]];
  const mixed = from.map((v, k) => Math.round(v + ((to[k] - v) * (b - low)) / (high - low)));
  const light = 0.299 * mixed[0] + 0.587 * mixed[1] + 0.114 * mixed[2] > 140;
  return { background: bits > 9 ? "transparent" : `rgb(${mixed.join(",")})`, ink: bits > 9 ? "inherit" : light ? "#000" : "#fff" };
}

function fillMap() {
  const candidate = candidates[Number(byId("map-candidate").value)];
  const parts = [...new Set(candidate.tensors.filter((t) => t.layer >= 0).map((t) => t.part))];
  const rows = new Map();  // a row for each layer, and one for each matrix outside the layers
  for (const tensor of candidate.tensors) {
    const label = tensor.layer >= 0 ? `layer ${tensor.layer}` : tensor.part;
    if (!rows.has(label)) rows.set(label, new Map());
    rows.get(label).set(tensor.layer >= 0 ? tensor.part : parts[0], tensor);
  }
  const cell = (tensor) => {
    if (!tensor) return "";
    const { background, ink } = bitsColour(tensor.bits_per_weight);
    return element("span", tensor.format, { "data-ground": background, "data-ink": ink, title: `${tensor.name}: ${tensor.format}, ${tensor.bits_per_weight.toFixed(2)} bits per weight` });
  };
  fill(byId("map-table"), ["", ...parts], [...rows].map(([label, cells]) => [label, ...parts.map((part) => cell(cells.get(part)))]));
  for (const span of byId("map-table").querySelectorAll("[data-ground]")) {
    span.parentElement.style.background = span.dataset.ground;
    span.parentElement.style.color = span.dataset.ink;
  }
}

function map() {
  const with_tensors = candidates.map((c, i) => [i, c]).filter(([, c]) => c.tensors?.length);
  if (!with_tensors.length) return;
  show("map");
  options(byId("map-candidate"), with_tensors.map(([i, c]) => [i, c.name]));
  byId("map-candidate").addEventListener("change", fillMap);
  fillMap();
}

function drawWeights() {
  const candidate = candidates[Number(byId("weights-candidate").value)];
  const histogram = candidate.histograms[Number(byId("weights-tensor").value)];
  const { low, high, before, after } = histogram, step = (high - low) / before.length;
  const at = (counts) => counts.map((count, i) => ({ x: low + (i + 0.5) * step, y: count }));
  draw("weights-chart", `Histogram of ${histogram.tensor} before and after ${candidate.name}, values from ${low.toPrecision(3)} to ${high.toPrecision(3)}; a group can take ${histogram.points.length} values.`, () => ({
    type: "line",
    data: {
      datasets: [
        { label: "before", data: at(before), borderWidth: 0, backgroundColor: colourOf(5) + "99", fill: "origin", pointRadius: 0, stepped: "middle" },
        { label: "after", data: at(after), borderColor: colourOf(1), borderWidth: 1.5, pointRadius: 0, stepped: "middle" },
      ],
    },
    options: {
      parsing: false,
      scales: { x: { type: "linear", min: low, max: high, title: { display: true, text: "weight" } }, y: { title: { display: true, text: "weights" } } },
      plugins: { rug: { values: histogram.points } },
    },
  }));
}

function weights() {
  const with_histograms = candidates.map((c, i) => [i, c]).filter(([, c]) => c.histograms?.length);
  if (!with_histograms.length) return;
  show("weights");
  options(byId("weights-candidate"), with_histograms.map(([i, c]) => [i, c.name]));
  const tensors = () => options(byId("weights-tensor"), candidates[Number(byId("weights-candidate").value)].histograms.map((h, i) => [i, h.tensor]));
  tensors();
  byId("weights-candidate").addEventListener("change", () => {
    const chosen = byId("weights-tensor").selectedIndex;
    tensors();
    byId("weights-tensor").selectedIndex = Math.max(0, Math.min(chosen, byId("weights-tensor").length - 1));
    drawWeights();
  });
  byId("weights-tensor").addEventListener("change", drawWeights);
  drawWeights();
}

// "acc" and its like are shares; perplexity and BLEU are not.
const taskUnit = (measure) => ({ unit: ["perplexity", "bleu"].includes(measure) ? "plain" : "share" });

function tasks() {
  const all = report.tasks || [];
  if (!all.length) return;
  show("tasks");
  const scores = all.flatMap((task) => task.models.flatMap((model) => Object.entries(model.measures).map(([measure, figure]) => ({ task, model, measure, figure }))));
  const shares = scores.filter((s) => taskUnit(s.measure).unit === "share");
  const names = [...new Set(scores.map((s) => s.model.model))], measures = [...new Set(shares.map((s) => `${s.task.task}, ${s.measure}`))];
  const of = (name, measure) => shares.find((s) => s.model.model === name && `${s.task.task}, ${s.measure}` === measure)?.figure;
  byId("tasks-chart").closest("figure").hidden = !shares.length;
  if (shares.length)
    draw("tasks-chart", "Share of right answers: " + shares.map((s) => `${s.model.model}, ${s.measure} ${valueText(taskUnit(s.measure), s.figure.value)}`).join("; "), () => ({
      type: "bar",
      data: {
        labels: measures,
        datasets: names.map((name, i) => ({
          label: name, data: measures.map((m) => 100 * of(name, m)?.value), backgroundColor: i === 0 && names.length > 1 ? styleOf("--soft") : colourOf(i - 1 + (names.length === 1)),
          whiskers: measures.map((m) => (hasInterval(of(name, m)) ? [100 * of(name, m).low, 100 * of(name, m).high] : null)), whiskerColour: styleOf("--ink"),
        })),
      },
      options: { scales: { y: { min: 0, max: 100, title: { display: true, text: "% right" } } }, plugins: { whiskers: { axis: "y" } } },
    }));
  fill(byId("scores-table"), ["model", "task", "measure", "score"], scores.map((s) => [s.model.model, s.task.task, s.measure, figureNodes(taskUnit(s.measure), s.figure)]));
  const changes = all.flatMap((task) => task.models.flatMap((model) => Object.entries(model.changes || {}).map(([measure, change]) => ({ task, model, measure, change }))));
  byId("changes-table").parentElement.hidden = !changes.length;
  fill(byId("changes-table"), ["against the original", "task", "measure", "difference", "answers changed", "to wrong", "to right", "McNemar’s p"],
    changes.map(({ task, model, measure, change }) => {
      const counted = taskUnit(measure).unit === "share";
      const difference = figureNodes({ unit: counted ? "change" : "plain" }, change.difference);
      return [model.model, task.task, measure, difference, String(change.changed), ...(counted ? [String(change.to_wrong), String(change.to_right), change.mcnemar_p.toPrecision(3)] : ["", "", ""])];
    }));
  byId("tasks-coverage").textContent = all.map((task) => `${task.task}: ${task.questions} of ${task.planned} questions${task.partial ? " (stopped early)" : ""}`).join("; ");
}

function theme() {
  const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  byId("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    drawAgain();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
}

byId("title").textContent = document.title = report.title;
byId("summary").textContent = report.summary || "";
byId("version").textContent = report.nibble;
for (const section of [theme, quality, tasks, verdictTable, contests, split, cost, texts, layers, map, weights]) section();
fill(byId("settings-table"), null, report.settings || []);
document.documentElement.dataset.ready = "yes";
