// SPDX-License-Identifier: Apache-2.0
// One prompt, answered twice at the same seed: by two models where the server has several, or at two settings. Tokens that differ are marked,
// and where the two part, what each would have said instead is told.
import { differences } from "./difference.js";
import { generate } from "./generation.js";
import { byId, element, percentText, rateText } from "./nodes.js";
import { say, spoken } from "./language.js";
import { sendsOnEnter } from "./composer.js";
import { fillModels } from "./models.js";
import { Settings } from "./settings.js";

const kChances = 5;        // of a token, that are told
const kDefaultTokens = 128, kDefaultSeed = 1;

const shared = new Settings("compare", ["seed", "max_tokens"]);
const sides = ["a", "b"].map((name) => ({ name, settings: new Settings("compare-" + name, ["temperature", "top_p", "system"]), tokens: [] }));
let writing = null;

// A token's bytes are its name; a character that is spread over several tokens shows at its last one.
function addTokens(side, tokens) {
  for (const token of tokens) {
    const shown = side.decoder.decode(new Uint8Array(token.bytes), { stream: true });
    const node = element("span", { class: "token" }, shown);
    side.tokens.push({ ...token, name: token.bytes.join(" "), node });
    side.text.append(node);
  }
}

const chance = (logprob) => percentText(Math.exp(logprob));

async function answer(side, prompt, seed_and_length, signal) {
  const own = side.settings.read();
  if (!own) return;
  side.tokens = [];
  side.decoder = new TextDecoder();
  side.text.replaceChildren();
  say(side.facts, "reading");
  try {
    let usage = null, timings = null;
    for await (const piece of generate({ model: side.model.value, messages: [{ role: "user", content: prompt }], settings: { ...own, ...seed_and_length }, chances: kChances, signal })) {
      addTokens(side, piece.tokens);
      usage = piece.usage ?? usage;
      timings = piece.timings ?? timings;
    }
    say(side.facts, "compare_facts", { count: usage?.completion_tokens ?? side.tokens.length, rate: rateText(timings?.predicted_per_second ?? 0) });
  } catch (error) {
    const stopped = error.name === "AbortError";
    say(side.facts, stopped ? "stopped_short" : "failed", { reason: error.message });
  }
}

async function run() {
  const prompt = byId("compare-prompt").value, settings = shared.read();
  if (writing || prompt.trim() === "" || !settings) return;
  writing = new AbortController();
  setWriting(true);
  byId("parting").replaceChildren();
  await Promise.all(sides.map((side) => answer(side, prompt, settings, writing.signal)));
  writing = null;
  setWriting(false);
  mark();
}

function setWriting(is) {
  byId("compare-stop").hidden = !is;
  byId("compare-run").hidden = is;
}

export function stopComparing() {
  writing?.abort();
  return writing !== null;
}

function mark() {
  const names = sides.map((side) => side.tokens.map((token) => token.name));
  const marks = differences(...names);
  sides.forEach((side, s) => side.tokens.forEach((token, i) => {
    token.node.classList.toggle("differs", marks[s][i]);
    token.node.title = `${chance(token.logprob)}  ·  ` + token.top.map((one) => `${JSON.stringify(one.text)} ${chance(one.logprob)}`).join("  ");
  }));
  const lengths = names.map((list) => list.length), most = Math.max(...lengths);
  if (Math.min(...lengths) === 0) return;
  const common = marks[0].filter((differs) => !differs).length;
  let parting = 0;
  while (parting < Math.min(...lengths) && names[0][parting] === names[1][parting]) ++parting;
  if (parting === most) return byId("parting").replaceChildren(spoken("p", "same_tokens", {}, { count: most }));
  const parts = sides.map((side) => side.tokens[parting]).filter(Boolean);
  for (const token of parts) token.node.classList.add("parts");
  byId("parting").replaceChildren(spoken("p", "parting", {}, { place: parting + 1, common, a: lengths[0], b: lengths[1] }), partingTable(parting));
}

// What each side had to choose from where they part; what was chosen is not always among the most probable.
function partingTable(place) {
  const offers = sides.map((side) => {
    const token = side.tokens[place];
    if (!token) return { chosen: null, chances: new Map() };
    const chosen = token.node.textContent;
    return { chosen, chances: new Map([...token.top.map((one) => [one.text, one.logprob]), [chosen, token.logprob]]) };
  });
  const texts = [...new Set(offers.flatMap((offer) => [...offer.chances.keys()]))];
  const cell = (offer, text) => element("td", { class: offer.chosen === text ? "chosen" : "" }, offer.chances.has(text) ? chance(offer.chances.get(text)) : "–");
  return element("div", { class: "scroll", tabindex: "0" }, element("table", {},
    element("thead", {}, element("tr", {}, spoken("th", "token", { scope: "col" }), spoken("th", "side_a", { scope: "col" }), spoken("th", "side_b", { scope: "col" }))),
    element("tbody", {}, ...texts.map((text) => element("tr", {}, element("th", { scope: "row" }, element("code", {}, JSON.stringify(text))), ...offers.map((offer) => cell(offer, text)))))));
}

export function beginCompare() {
  byId("compare-settings").append(shared.node);
  shared.set("seed", kDefaultSeed);
  shared.set("max_tokens", kDefaultTokens);
  for (const side of sides) {
    side.model = byId("model-" + side.name);
    side.text = byId("text-" + side.name);
    side.facts = byId("facts-" + side.name);
    byId("settings-" + side.name).append(side.settings.node);
  }
  sides[1].settings.set("temperature", 0);
  sendsOnEnter(byId("compare-prompt"), run);
  byId("compare-run").addEventListener("click", run);
  byId("compare-stop").addEventListener("click", stopComparing);
}

export async function showCompare() {
  const [names] = await Promise.all(sides.map((side, i) => fillModels(side.model, (told) => side.settings.show(told.default_generation_settings.params), i)));
  byId("one-model").hidden = names.length > 1;
}
