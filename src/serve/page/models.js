// SPDX-License-Identifier: Apache-2.0
// Which model is asked, where the server has several.
import { element } from "./nodes.js";
import { modelNames, props } from "./server.js";

// Fills a select with the names there are, keeps what is chosen in it, and shows it where there is a choice. show: what follows from the properties of
// the chosen model, now and whenever another is chosen. place: of the model that is chosen at first. Returns the names.
export async function fillModels(select, show, place = 0) {
  const names = await modelNames(), chosen = select.value;
  select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  select.value = names.includes(chosen) ? chosen : names[Math.min(place, names.length - 1)];
  select.closest("label").hidden = names.length < 2;
  const showChosen = async () => show(await props(select.value));
  select.onchange = () => showChosen().catch(() => {});  // whoever asks it next is told what fails
  await showChosen();
  return names;
}
