// SPDX-License-Identifier: Apache-2.0
// How busy the server is: asked once a second while somebody looks.
import { barChart, lineChart } from "./charts.js";
import { bucketsOf, byLabel, quantile, readMetrics } from "./metrics.js";
import { byId, bytesText, countText, element, percentText, rateText, secondsText } from "./nodes.js";
import { say, spoken, text } from "./language.js";
import { ask } from "./server.js";

const kEvery = 1000, kMost = 10000;  // milliseconds between two looks, and until one is given up
const kPlaces = 120;                 // that are drawn

const history = { written: [], read: [], running: [], waiting: [], cache: [] };
let last = null, looks = false;

const push = (list, value) => {
  list.push(value);
  if (list.length > kPlaces) list.shift();
};

function remember(metrics, now) {
  if (last) {
    const seconds = Math.max((now - last.now) / 1000, 0.001);
    const rate = (name) => Math.max(0, metrics.get(name) - last.metrics.get(name)) / seconds;
    push(history.written, rate("generation_tokens_total"));
    push(history.read, Math.max(0, rate("read_tokens_total") - rate("generation_tokens_total")));
  }
  push(history.running, metrics.get("num_requests_running"));
  push(history.waiting, metrics.get("num_requests_waiting"));
  push(history.cache, metrics.get("kv_cache_usage_perc"));
  last = { metrics, now };
}

function draw(metrics, slots) {
  const time = (seconds) => (seconds === null ? "–" : secondsText(seconds));
  const first = bucketsOf(metrics, "time_to_first_token_seconds"), between = bucketsOf(metrics, "inter_token_latency_seconds");
  const asked = metrics.get("prefix_cache_queries_total");
  const tiles = [
    ["tile_speed", rateText(history.written.at(-1) ?? 0)],
    ["tile_running", `${metrics.get("num_requests_running")} / ${slots.length}`],
    ["tile_waiting", metrics.get("num_requests_waiting")],
    ["tile_cache", bytesText(metrics.get("kv_cache_bytes"))],
    ["tile_held", asked > 0 ? percentText(metrics.get("prefix_cache_hits_total") / asked) : "–"],
    ["tile_first", `${time(quantile(first, 0.5))} · ${time(quantile(first, 0.95))}`],
    ["tile_between", `${time(quantile(between, 0.5))} · ${time(quantile(between, 0.95))}`],
    ["tile_made", countText(metrics.get("generation_tokens_total"))],
  ];
  byId("tiles").replaceChildren(...tiles.map(([key, value]) => element("div", { class: "tile" }, spoken("dt", key), element("dd", {}, String(value)))));
  const range = { places: kPlaces, begin: text("two_minutes"), end: text("now") };
  const whole = (v) => (v === Math.round(v) ? String(v) : "");
  byId("chart-speed").replaceChildren(lineChart(`${text("chart_speed")}: ${rateText(history.written.at(-1) ?? 0)}`, [history.written, history.read], { ...range, write: (v) => rateText(v) }));
  byId("chart-queue").replaceChildren(lineChart(`${text("chart_queue")}: ${history.running.at(-1)}, ${history.waiting.at(-1)}`, [history.running, history.waiting], { ...range, write: whole }));
  byId("chart-cache").replaceChildren(lineChart(`${text("chart_cache")}: ${percentText(history.cache.at(-1))}`, [history.cache], { ...range, write: (v) => Math.round(100 * v) + " %", most: 1 }));
  const name = (le) => (le === Infinity ? "∞" : le >= 1 ? String(le) : String(le).replace(/^0/, ""));
  byId("chart-first").replaceChildren(barChart(text("chart_first"), first.map(({ le, count }) => ({ name: name(le), value: count })), { write: whole }));
  drawSlots(slots);
  byId("endings").replaceChildren(...byLabel(metrics, "request_success_total").map(([reason, count]) => element("li", {}, element("code", {}, reason), ` ${countText(count)}`)));
}

function drawSlots(slots) {
  const busy = slots.filter((slot) => slot.is_processing);
  byId("no-slots").hidden = busy.length > 0;
  byId("slots").closest(".scroll").hidden = busy.length === 0;
  byId("slots").tBodies[0].replaceChildren(...busy.map((slot) => element("tr", {}, element("th", { scope: "row" }, String(slot.id_task)),
    ...["n_prompt_tokens", "n_prompt_tokens_cache", "n_decoded"].map((name) => element("td", {}, countText(slot[name]))),
    element("td", {}, element("progress", { max: slot.n_ctx, value: slot.n_past, "aria-label": `${slot.n_past} / ${slot.n_ctx}` })))));
}

async function look() {
  try {
    const late = AbortSignal.timeout(kMost);
    const [metrics, slots] = await Promise.all(["/metrics", "/slots"].map((path) => ask(path, undefined, late).then((answer) => answer.text())));
    const read = readMetrics(metrics);
    remember(read, performance.now());
    draw(read, JSON.parse(slots));
    byId("status-error").hidden = true;
  } catch (error) {
    say(byId("status-error"), "failed", { reason: error.message }).hidden = false;
  }
  looks = !byId("status").hidden;
  if (looks) setTimeout(look, kEvery);
}

export function showStatus() {
  if (looks) return;
  looks = true;
  look();
}
