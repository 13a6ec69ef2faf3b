// SPDX-License-Identifier: Apache-2.0
#include "report/json_report.h"

#include "report/statistics_report.h"
#include "report/verdict_json.h"

namespace nibble {

Json to_json(const Speed& speed) {
  return {{"test", speed.test},
          {"sequences", speed.sequences},
          {"tokens_per_second", speed.tokens_per_second},
          {"spread", speed.spread},
          {"samples", speed.samples}};
}

Json to_json(const ModelInfo& info) {
  return {{"container", info.container},
          {"architecture", info.architecture},
          {"parameters", info.parameters},
          {"num_tensors", info.tensors},
          {"bytes", info.bytes},
          {"bits_per_weight", info.bits_per_weight},
          {"vocabulary", info.vocabulary},
          {"hidden", info.hidden},
          {"layers", info.layers},
          {"context", info.context},
          {"intermediate", info.intermediate},
          {"heads", info.heads},
          {"kv_heads", info.kv_heads},
          {"experts", info.experts},
          {"experts_used", info.experts_used},
          {"head_dim", info.head_dim},
          {"rope_base", info.rope_base},
          {"tied_head", info.tied_head},
          {"tokenizer", info.tokenizer.empty() ? Json() : Json(info.tokenizer)},
          {"chat_template", info.chat_template.empty() ? Json() : Json(info.chat_template)},
          {"quantizer", info.quantizer.empty() ? Json() : Json(info.quantizer)},
          {"obstacle", info.obstacle.empty() ? Json() : Json(info.obstacle)},
          {"activations", info.activations.empty() ? Json() : Json(info.activations)}};
}

Json to_json(const TensorListing& listing) {
  Json json = {{"name", listing.name},         {"shape", listing.shape}, {"format", listing.format},
               {"elements", listing.elements}, {"bytes", listing.bytes}, {"file", listing.file},
               {"offset", listing.offset}};
  if (!listing.parts.empty()) json["parts"] = listing.parts;
  return json;
}

Json to_json(const TensorStatistics& statistics) {
  return {{"mean", statistics.mean},
          {"deviation", statistics.deviation},
          {"minimum", statistics.minimum},
          {"maximum", statistics.maximum},
          {"absmax", statistics.absmax},
          {"kurtosis", statistics.kurtosis},
          {"beyond_6_sigma", statistics.beyond_6_sigma},
          {"asymmetry", statistics.asymmetry},
          {"not_finite", statistics.not_finite}};
}

Json to_json(const QuantizeSummary& summary) {
  Json json = {{"output", summary.output.string()},
               {"recipe", summary.recipe},
               {"activations", summary.activations},
               {"parameters", summary.parameters},
               {"source_bytes", summary.source_bytes},
               {"tensor_bytes", summary.tensor_bytes},
               {"output_bytes", summary.output_bytes},
               {"bits_per_weight", summary.bits_per_weight},
               {"linear_bits_per_weight", summary.linear_bits_per_weight},
               {"source_xxh3", summary.source_hash},
               {"substitutions", summary.substitutions},
               {"substituted_parameters", summary.substituted_parameters},
               {"ignored", summary.ignored},
               {"uninformed", summary.uninformed},
               {"warnings", summary.warnings},
               {"notes", summary.notes},
               {"experts", experts_json(summary.experts)},
               {"learnt", Json::array()},
               {"unlearnt", summary.unlearnt},
               {"tensors", Json::array()}};
  for (const LearntLayer& layer : summary.learnt)
    json["learnt"].push_back(
        {{"layer", layer.layer}, {"before", layer.before}, {"after", layer.after}, {"kept_step", layer.kept_step}});
  for (const TensorSummary& tensor : summary.tensors) {
    Json item = {{"name", tensor.name},          {"rows", tensor.rows},     {"cols", tensor.cols},
                 {"from", tensor.source_format}, {"format", tensor.format}, {"bytes", tensor.bytes}};
    if (!tensor.wanted.empty()) {
      item["wanted"] = tensor.wanted;
      item["obstacle"] = obstacle_name(tensor.obstacle);
    }
    item["kind"] = tensor.kind;
    if (tensor.error) item["error"] = {{"nearest", tensor.error->nearest}, {"stored", tensor.error->stored}};
    json["tensors"].push_back(std::move(item));
  }
  return json;
}

Json to_json(const CheckResult& result) {
  Json json = {{"sound", result.total == 0}, {"tensors", result.tensors}, {"rows", result.rows},
               {"bytes", result.bytes},      {"defects", result.total},   {"shown", Json::array()}};
  for (const Defect& defect : result.defects)
    json["shown"].push_back({{"file", defect.file},
                             {"tensor", defect.tensor.empty() ? Json() : Json(defect.tensor)},
                             {"row", defect.tensor.empty() ? Json() : Json(defect.row)},
                             {"what", defect.what}});
  return json;
}

Json to_json(const Comparison& comparison) {
  const PairedVerdict& verdict = comparison.verdict;
  Json json = {{"original", original_json(verdict)}, {"texts", texts_json(verdict)}, {"formats", Json::array()}};
  json["windows"] = verdict.windows;
  json["windows_planned"] = verdict.windows_planned;
  json["partial"] = verdict.partial();
  json["left_out"] = verdict.left_out;
  json["read_bytes"] = comparison.read_bytes;
  json["scored_bytes"] = comparison.scored_bytes;
  json["original"]["format"] = comparison.original_format;
  json["original"]["bytes"] = comparison.original_bytes;
  json["original"]["bits_per_weight"] = comparison.original_bits_per_weight;
  json["original"]["bits_per_byte"] = bits_per_byte(verdict.original_perplexity.value, comparison);
  json["original"]["prefill_tokens_per_second"] = comparison.original_prefill;
  json["original"]["decode_tokens_per_second"] = comparison.original_decode;
  for (std::size_t i = 0; i < comparison.formats.size(); ++i) {
    const ComparedFormat& format = comparison.formats[i];
    Json item = {
        {"format", format.format},
        {"bits_per_weight", format.summary.bits_per_weight},
        {"linear_bits_per_weight", format.summary.linear_bits_per_weight},
        {"bytes", format.summary.output_bytes},
        {"share", static_cast<double>(format.summary.output_bytes) / static_cast<double>(comparison.original_bytes)},
        {"bits_per_byte", bits_per_byte(verdict.candidates[i].overall[Metric::perplexity].value, comparison)},
        {"substitutions", format.summary.substitutions}};
    item.update(summary_json(verdict, verdict.candidates[i]));
    item["figures"] = to_json(verdict.candidates[i].overall);
    item["texts"] = Json::array();
    for (const MetricFigures& text : verdict.candidates[i].texts) item["texts"].push_back(to_json(text));
    add_split(item, verdict.candidates[i]);
    add_layers(item, verdict.candidates[i]);
    item["prefill_tokens_per_second"] = format.prefill;
    item["decode_tokens_per_second"] = format.decode;
    json["formats"].push_back(std::move(item));
  }
  return json;
}

Json to_json(const SynthSummary& summary) {
  return {{"output", summary.output.string()},
          {"shape", summary.shape.name},
          {"parameters", summary.parameters},
          {"bytes", summary.bytes}};
}

std::string json_text(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace nibble
