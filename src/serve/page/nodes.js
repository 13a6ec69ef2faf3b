// SPDX-License-Identifier: Apache-2.0
// Nodes are made one by one; no text of a model is ever read as HTML.

export const byId = (id) => document.getElementById(id);

// Attributes that are functions listen; true and false are attributes that are there or not. Children are nodes, texts, or lists of
// them: what a model writes may be more than a call has room for.
export function element(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

export function shape(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== false && value !== undefined && value !== null) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) node.append(child);
  return node;
}

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export const bytesText = (bytes) =>
  bytes >= 1e9 ? (bytes / 1e9).toFixed(2) + " GB" : bytes >= 1e6 ? (bytes / 1e6).toFixed(1) + " MB" : (bytes / 1e3).toFixed(0) + " kB";

export const countText = (count) => (count >= 1e9 ? (count / 1e9).toFixed(2) + " G" : count >= 1e6 ? (count / 1e6).toFixed(2) + " M" : count.toLocaleString("en"));

export const rateText = (rate) => (rate === 0 ? "0" : rate >= 100 ? rate.toFixed(0) : rate >= 10 ? rate.toFixed(1) : rate.toPrecision(2));

export const secondsText = (seconds) => (seconds >= 10 ? seconds.toFixed(0) + " s" : seconds >= 1 ? seconds.toFixed(1) + " s" : Math.round(seconds * 1000) + " ms");

export const percentText = (share) => (100 * share).toFixed(share < 0.1 ? 1 : 0) + " %";

// Pages that come over plain HTTP from another machine have no clipboard; what is selected can be copied there, too.
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", { class: "off-screen", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
