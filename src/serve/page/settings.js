// SPDX-License-Identifier: Apache-2.0
// Fields of how an answer is made. What is left empty the server decides, and the field shows what it does then.
import { element } from "./nodes.js";
import { spoken } from "./language.js";
import { choices } from "./storage.js";

const kFields = {
  temperature: { min: 0, max: 1000, step: "any", otherwise: (params) => params.temperature },
  top_p: { min: 0, max: 1, step: "any", otherwise: (params) => params.top_p },
  seed: { min: 0, step: 1, hint: "random" },
  max_tokens: { min: 1, step: 1, hint: "no_limit" },
};

// names: of kFields, and "system". What is entered is kept under a name of its own.
export class Settings {
  constructor(kept, names) {
    this.kept = kept;
    this.inputs = new Map();
    this.node = element("div", { class: "settings" });
    for (const name of names) {
      const { min, max, step, hint } = kFields[name] ?? {};
      const input = name === "system"
        ? element("textarea", { rows: 2, "data-hint": "system_hint" })
        : element("input", { type: "number", min, max, step, inputmode: step === 1 ? "numeric" : "decimal", "data-hint": hint });
      input.value = choices.get(kept)?.[name] ?? "";
      input.addEventListener("change", () => this.keep());
      this.inputs.set(name, input);
      this.node.append(element("label", { class: name === "system" ? "wide" : "" }, spoken("span", name), input));
    }
  }

  // params: what the server does where nothing is said.
  show(params) {
    for (const [name, input] of this.inputs) {
      const value = kFields[name]?.otherwise?.(params);
      if (value !== undefined) input.placeholder = String(value);
    }
  }

  keep() {
    choices.set(this.kept, Object.fromEntries([...this.inputs].map(([name, input]) => [name, input.value])));
  }

  // Null where a field holds what it may not; the browser says so at the field.
  read() {
    const settings = {};
    for (const [name, input] of this.inputs) {
      if (!input.reportValidity()) return null;
      if (input.value.trim() !== "") settings[name] = name === "system" ? input.value : Number(input.value);
    }
    return settings;
  }

  set(name, value) {
    const input = this.inputs.get(name);
    if (input.value === "") input.value = value;
  }
}
