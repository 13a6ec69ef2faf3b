// SPDX-License-Identifier: Apache-2.0
// The conversation: messages, the answer that is being written, and what can be done to both.
import { generate } from "./generation.js";
import { byId, copyText, element, rateText, secondsText } from "./nodes.js";
import { say, spoken, text } from "./language.js";
import { renderMarkdown } from "./markdown.js";
import { sendsOnEnter } from "./composer.js";
import { fillModels } from "./models.js";
import { Settings } from "./settings.js";
import { tab } from "./storage.js";

const settings = new Settings("settings", ["temperature", "top_p", "seed", "max_tokens", "system"]);
let messages = [];   // { role, content, reasoning, facts, failed, node }
let writing = null;  // AbortController of the answer that is being written

const list = () => byId("messages");
const isAtEnd = () => scrollY + innerHeight >= document.documentElement.scrollHeight - 80;
const toEnd = () => scrollTo(0, document.documentElement.scrollHeight);

function keep() {
  tab.set("chat", messages.map(({ role, content, reasoning, facts, failed }) => ({ role, content, reasoning, facts, failed })));
}

// --- messages as nodes -------------------------------------------------------------------------------------------------

const action = (key, act) => spoken("button", key, { type: "button", class: "quiet", click: act });

function nodeOf(message) {
  const isAnswer = message.role === "assistant";
  message.body = element("div", { class: "body" });
  message.thoughts = element("div", { class: "body" });
  message.thinking = element("details", { class: "thinking", hidden: true }, spoken("summary", "thinking"), message.thoughts);
  message.line = element("p", { class: "facts" });
  message.actions = element("div", { class: "actions" });
  message.node = element("li", { class: "message " + message.role }, spoken("h2", isAnswer ? "answer" : "you"),
    message.thinking, message.body, message.line, message.actions);
  message.actions.append(...(isAnswer ? [action("copy", () => copyText(message.content).then(() => announce("copied"), () => announce("not_copied"))),
    action("regenerate", () => regenerate(message))] : [action("edit", () => edit(message))]));
  show(message);
  return message.node;
}

function show(message) {
  if (message.role === "assistant") renderMarkdown(message.body, message.content);
  else message.body.textContent = message.content;
  message.thinking.hidden = !message.reasoning;
  if (message.reasoning) renderMarkdown(message.thoughts, message.reasoning);
  message.line.replaceChildren(...(message.facts ?? []).map(([key, values]) => spoken("span", key, { class: key === "failed" ? "error" : "" }, values)));
}

function add(message) {
  messages.push(message);
  list().append(nodeOf(message));
  byId("welcome").hidden = true;
  return message;
}

function cutFrom(message) {
  const at = messages.indexOf(message);
  for (const one of messages.slice(at)) one.node.remove();
  messages = messages.slice(0, at);
}

const announce = (key, values) => say(byId("announcement"), key, values);

// --- an answer ---------------------------------------------------------------------------------------------------------

function factsOf({ usage, timings, finish, seconds, stopped }) {
  const facts = [];
  if (stopped) facts.push(["stopped", { seconds: secondsText(seconds) }]);
  if (finish === "length") facts.push(["cut", {}]);
  if (usage) facts.push(["facts_tokens", { count: usage.completion_tokens }]);
  if (timings?.predicted_ms > 0 && usage?.completion_tokens > 1) facts.push(["facts_speed", { rate: rateText(timings.predicted_per_second) }]);
  if (usage) facts.push(["facts_prompt", { count: usage.prompt_tokens, held: usage.prompt_tokens_details?.cached_tokens ?? 0 }]);
  return facts;
}

// What the model is told: a question whose answer failed, or never came, is as if it had not been asked, since its next answer would fail the same way
// and templates want both sides to take turns.
function conversation() {
  const isSound = (message, i) => message.role === "assistant" ? !message.failed : i + 1 === messages.length || (messages[i + 1].role === "assistant" && !messages[i + 1].failed);
  return messages.filter(isSound).map(({ role, content }) => ({ role, content }));
}

async function answer() {
  const asked = settings.read();
  if (!asked || writing) return;
  const history = conversation();
  const message = add({ role: "assistant", content: "", reasoning: "", facts: [["reading", {}]] });
  const begun = performance.now(), facts = {};
  writing = new AbortController();
  setWriting(true);
  toEnd();
  let waits = false;
  const draw = () => {
    waits = false;
    const follows = isAtEnd();
    show(message);
    if (follows) toEnd();
  };
  try {
    for await (const piece of generate({ model: byId("chat-model").value, messages: history, settings: asked, signal: writing.signal })) {
      message.content += piece.text;
      message.reasoning += piece.reasoning;
      facts.finish = piece.finish ?? facts.finish;
      facts.usage = piece.usage ?? facts.usage;
      facts.timings = piece.timings ?? facts.timings;
      if (piece.text || piece.reasoning) message.facts = [[piece.text ? "writing" : "thinking_now", {}]];
      if (!waits) requestAnimationFrame(draw);
      waits = true;
    }
    message.facts = factsOf(facts);
    announce("done", { count: facts.usage?.completion_tokens ?? "" });
  } catch (error) {
    const stopped = error.name === "AbortError";
    message.failed = !stopped;
    message.facts = stopped ? factsOf({ stopped, seconds: (performance.now() - begun) / 1000 }) : [["failed", { reason: error.message }]];
    announce(stopped ? "stopped_short" : "failed", { reason: error.message });
  } finally {
    writing = null;
    setWriting(false);
    draw();
    keep();
  }
}

function setWriting(is) {
  byId("chat").classList.toggle("writing", is);
  byId("stop").hidden = !is;
  byId("send").hidden = is;
  for (const button of list().querySelectorAll(".actions button")) button.disabled = is;
}

export function stop() {
  writing?.abort();
  return writing !== null;
}

function send() {
  const area = byId("prompt"), content = area.value;
  if (writing || content.trim() === "" || !settings.read()) return;
  area.value = "";
  area.dispatchEvent(new Event("input"));
  add({ role: "user", content });
  keep();
  answer();
}

function regenerate(message) {
  if (writing) return;
  cutFrom(message);
  answer();
}

// The message becomes a field; what followed on it goes once it is sent.
function edit(message) {
  const area = element("textarea", { rows: 3, "data-label": "edit", "aria-label": text("edit") });
  area.value = message.content;
  const end = () => {
    form.replaceWith(message.body);
    message.actions.hidden = false;
    message.actions.querySelector("button").focus();
  };
  const take = () => {
    if (writing || area.value.trim() === "") return;
    const content = area.value;
    cutFrom(message);
    add({ role: "user", content });
    byId("prompt").focus();
    answer();
  };
  const form = element("div", { class: "editing", keydown: (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    end();
  } }, area, element("div", { class: "actions" }, spoken("button", "send", { type: "button", class: "main", click: take }), action("cancel", end)));
  const grow = sendsOnEnter(area, take);
  message.body.replaceWith(form);
  message.actions.hidden = true;
  grow();
  area.focus();
}

function clear() {
  stop();
  if (messages.length) cutFrom(messages[0]);
  byId("welcome").hidden = false;
  keep();
  byId("prompt").focus();
}

// --- the view ----------------------------------------------------------------------------------------------------------

export function beginChat() {
  byId("chat-settings").append(settings.node);
  sendsOnEnter(byId("prompt"), send);
  byId("send").addEventListener("click", send);
  byId("stop").addEventListener("click", stop);
  byId("new-chat").addEventListener("click", clear);
  for (const message of tab.get("chat") ?? []) add(message);
}

export async function showChat() {
  byId("prompt").focus({ preventScroll: true });
  await fillModels(byId("chat-model"), (told) => {
    settings.show(told.default_generation_settings.params);
    byId("no-template").hidden = told.chat_template !== null;
  });
}
