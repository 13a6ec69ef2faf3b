// SPDX-License-Identifier: Apache-2.0
// What is served: sizes, formats, how it was made and judged.
import { byId, bytesText, countText, element, isNumber, percentText } from "./nodes.js";
import { spoken } from "./language.js";
import { renderMarkdown } from "./markdown.js";
import { fillModels } from "./models.js";
import { askJson } from "./server.js";

export const showModel = () => fillModels(byId("shown-model"), draw);

async function draw(told) {
  const list = await askJson("/v1/models");
  const model = list.data.find((one) => one.id === told.model_alias), weights = told.weights ?? {}, params = told.default_generation_settings.params;
  const facts = [
    ["fact_name", model.id],
    ["fact_architecture", weights.architecture],
    ["fact_parameters", countText(model.meta.n_params)],
    ["fact_size", bytesText(model.meta.size)],
    ["fact_bits", isNumber(weights.bits_per_weight) ? weights.bits_per_weight.toFixed(2) : null],
    ["fact_activations", weights.activations],
    ["fact_context", countText(model.meta.n_ctx) + (model.meta.n_ctx_train > model.meta.n_ctx ? ` / ${countText(model.meta.n_ctx_train)}` : "")],
    ["fact_vocabulary", countText(model.meta.n_vocab)],
    ["fact_quantizer", weights.quantizer],
    ["fact_defaults", ["temperature", "top_k", "top_p", "min_p"].map((name) => `${name} ${params[name]}`).join(", ")],
    ["fact_build", told.build_info],
  ];
  byId("model-facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([key, value]) => [spoken("dt", key), element("dd", {}, value)]));
  drawFormats(weights.formats ?? []);
  byId("verdict-part").hidden = !weights.verdict;
  if (weights.verdict) renderMarkdown(byId("verdict"), weights.verdict);
  byId("template-part").hidden = told.chat_template === null;
  byId("template").textContent = told.chat_template ?? "";
}

function drawFormats(formats) {
  const all = formats.reduce((sum, one) => sum + one.bytes, 0);
  byId("formats").tBodies[0].replaceChildren(...formats.map((one) => {
    const share = all > 0 ? one.bytes / all : 0;
    return element("tr", {}, element("th", { scope: "row" }, element("code", {}, one.format)), element("td", {}, countText(one.tensors)), element("td", {}, countText(one.parameters)),
      element("td", {}, bytesText(one.bytes)), element("td", {}, ((8 * one.bytes) / one.parameters).toFixed(2)),
      element("td", {}, element("progress", { max: 1, value: share, "aria-label": percentText(share) }), " " + percentText(share)));
  }));
}
