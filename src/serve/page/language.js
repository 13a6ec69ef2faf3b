// SPDX-License-Identifier: Apache-2.0
// Texts of the page in the language that was chosen, or the browser's. Nodes remember which text they show, so that a switch changes all of them.
import { element } from "./nodes.js";
import { choices } from "./storage.js";
import { texts } from "./texts.js";

let language = choices.get("language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
if (!texts[language]) language = "en";

export const currentLanguage = () => language;

// {name} in a text is values.name.
export const text = (key, values = {}) => (texts[language][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

// Makes a node show a text from here on.
export function say(node, key, values) {
  node.dataset.text = key;
  if (values) node.dataset.values = JSON.stringify(values);
  else delete node.dataset.values;
  node.textContent = text(key, values);
  return node;
}

export const spoken = (tag, key, attributes = {}, values = undefined) => say(element(tag, attributes), key, values);

// data-text: a node's text; data-label: what it is called where nothing stands there; data-hint: what an empty field shows.
export function translate(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
  for (const node of root.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text, JSON.parse(node.dataset.values ?? "{}"));
  for (const node of root.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", text(node.dataset.label));
    if (node.matches("button, a")) node.title = text(node.dataset.label);
  }
  for (const node of root.querySelectorAll("[data-hint]")) node.placeholder = text(node.dataset.hint);
}

export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  choices.set("language", language);
  translate();
  document.dispatchEvent(new Event("languagechange"));
}
