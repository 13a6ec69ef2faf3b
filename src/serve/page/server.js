// SPDX-License-Identifier: Apache-2.0
// What is asked of the server that this page came from, and of nobody else. A key is asked for when one is needed, and kept in this tab at most.
import { byId } from "./nodes.js";
import { tab } from "./storage.js";

// What the server refused, or what went wrong on the way; the message is the server's own.
export class Refusal extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

let asking = null;  // several requests wait for the same key

function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog"), field = byId("key");
    field.value = "";
    const take = (event) => {
      event.preventDefault();
      dialog.close();
    };
    dialog.addEventListener("close", () => {
      dialog.removeEventListener("submit", take);
      tab.set("key", field.value.trim() || null);
      asking = null;
      resolve(field.value.trim() !== "");
      field.value = "";
    }, { once: true });
    dialog.addEventListener("submit", take);
    dialog.showModal();
  });
  return asking;
}

// A GET, or a POST of what is given. Throws Refusal, and AbortError where the signal says so.
export async function ask(path, body = undefined, signal = undefined) {
  for (;;) {
    const key = tab.get("key"), headers = {};
    if (key) headers.Authorization = "Bearer " + key;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal("the server does not answer");
    }
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => null);
    if (answer.status === 401 && (tab.get("key") !== key || (await askForKey()))) continue;
    throw new Refusal(told?.error?.message ?? `${answer.status} ${answer.statusText}`, answer.status);
  }
}

export const askJson = async (path) => (await ask(path)).json();

// The objects of a stream of server-sent events, as they come.
export async function* events(path, body, signal) {
  const answer = await ask(path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Refusal("the answer broke off");
      rest += value;
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data: ")) continue;
        const data = line.slice(6).trim();
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new Refusal(event.error.message);
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const properties = new Map();  // of /props, by model: they do not change

// model: its name; "": the server's only or first one.
export function props(model = "") {
  if (!properties.has(model)) {
    properties.set(model, askJson("/props" + (model ? "?model=" + encodeURIComponent(model) : "")).catch((error) => {
      properties.delete(model);
      throw error;
    }));
  }
  return properties.get(model);
}

export const modelNames = async () => (await askJson("/v1/models")).data.map((model) => model.id);
