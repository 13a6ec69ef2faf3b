// SPDX-License-Identifier: Apache-2.0
#include "report/page_figures.h"

#include <fmt/format.h>

#include <string_view>

#include "nibble/model.h"
#include "quantize/recipe.h"
#include "report/verdict_json.h"
#include "report/verdict_tables.h"

namespace nibble {
namespace {

const char* unit_name(MetricUnit unit) {
  switch (unit) {
    case MetricUnit::ratio:
      return "ratio";
    case MetricUnit::nats:
      return "nats";
    case MetricUnit::share:
      return "share";
    case MetricUnit::change:
      return "change";
    default:
      return "plain";
  }
}

const char* better_name(Better better) {
  return better == Better::lower ? "lower" : better == Better::higher ? "higher" : "neither";
}

Json metrics_json() {
  Json list = Json::array();
  for (const MetricInfo& metric : list_metrics())
    list.push_back({{"key", metric.key},
                    {"title", metric.title},
                    {"meaning", metric.meaning},
                    {"unit", unit_name(metric.unit)},
                    {"better", better_name(metric.better)}});
  return list;
}

void add_portrait(Json& candidate, const ModelPortrait& portrait) {
  candidate["tensors"] = Json::array();
  for (const TensorPortrait& tensor : portrait.tensors)
    candidate["tensors"].push_back({{"name", tensor.name},
                                    {"part", tensor.part},
                                    {"layer", tensor.layer},
                                    {"format", tensor.format},
                                    {"bits_per_weight", tensor.bits_per_weight}});
  candidate["histograms"] = Json::array();
  for (const WeightHistogram& histogram : portrait.histograms)
    candidate["histograms"].push_back({{"tensor", histogram.tensor},
                                       {"low", histogram.low},
                                       {"high", histogram.high},
                                       {"before", histogram.before},
                                       {"after", histogram.after},
                                       {"points", histogram.points}});
}

// All that a verdict alone tells.
Json verdict_figures(const PairedVerdict& verdict, const PageOptions& options) {
  Json page;
  page["title"] = fmt::format(
      "{}: {} against the original", options.original,
      verdict.candidates.size() == 1 ? "one candidate" : fmt::format("{} candidates", verdict.candidates.size()));
  page["summary"] = fmt::format("{} tokens scored in {} windows{}", verdict.tokens_scored, verdict.windows,
                                verdict.partial() ? " (stopped early)" : "");
  page["nibble"] = version();
  page["coverage"] = coverage_text(verdict);
  page["metrics"] = metrics_json();
  page["original"] = {{"name", options.original}, {"perplexity", to_json(verdict.original_perplexity)}};
  page["texts"] = texts_json(verdict);
  const Json judged = to_json(verdict);
  page["candidates"] = Json::array();
  for (std::size_t i = 0; i < verdict.candidates.size(); ++i) {
    const Json& item = judged["candidates"][i];
    page["candidates"].push_back(
        {{"name", verdict.candidates[i].name}, {"figures", item["figures"]}, {"texts", item["texts"]}});
    add_split(page["candidates"].back(), verdict.candidates[i]);
    add_layers(page["candidates"].back(), verdict.candidates[i]);
  }
  if (judged.contains("contests")) page["contests"] = judged["contests"];
  page["settings"] = Json::array();
  const auto setting = [&](std::string_view label, std::string_view value) {
    page["settings"].push_back(Json::array({label, value}));
  };
  setting("protocol", protocol_name(verdict.protocol));
  setting("window", fmt::format("{} tokens", verdict.context));
  for (const auto& [label, value] : options.settings) setting(label, value);
  setting("nibble", version());
  return page;
}

}  // namespace

Json page_figures(const Comparison& comparison, const PageOptions& options) {
  Json page = verdict_figures(comparison.verdict, options);
  page["original"]["bytes"] = comparison.original_bytes;
  page["original"]["bits_per_weight"] = comparison.original_bits_per_weight;
  page["original"]["prefill_tokens_per_second"] = comparison.original_prefill;
  page["original"]["decode_tokens_per_second"] = comparison.original_decode;
  for (std::size_t i = 0; i < comparison.formats.size(); ++i) {
    const ComparedFormat& format = comparison.formats[i];
    Json& candidate = page["candidates"][i];
    candidate["bytes"] = format.summary.output_bytes;
    candidate["bits_per_weight"] = format.summary.bits_per_weight;
    candidate["stock"] = !covers_linears_only(find_recipe(format.format));  // a type of a GGUF file
    candidate["prefill_tokens_per_second"] = format.prefill;
    candidate["decode_tokens_per_second"] = format.decode;
    if (format.portrait) add_portrait(candidate, *format.portrait);
  }
  return page;
}

Json page_figures(const PairedVerdict& verdict, const ModelPortrait& original,
                  const std::vector<ModelPortrait>& portraits, const PageOptions& options) {
  Json page = verdict_figures(verdict, options);
  page["original"]["bytes"] = original.bytes;
  page["original"]["bits_per_weight"] = original.bits_per_weight;
  for (std::size_t i = 0; i < portraits.size(); ++i) {
    Json& candidate = page["candidates"][i];
    candidate["bytes"] = portraits[i].bytes;
    candidate["bits_per_weight"] = portraits[i].bits_per_weight;
    add_portrait(candidate, portraits[i]);
  }
  return page;
}

Json page_figures(const TaskVerdict& verdict, const PageOptions& options) {
  Json page;
  page["title"] = options.original.empty() ? verdict.task
                                           : fmt::format("{}: {} against the original", options.original, verdict.task);
  page["summary"] = fmt::format("{} of {} questions answered{}", verdict.questions, verdict.planned,
                                verdict.partial() ? " (stopped early)" : "");
  page["nibble"] = version();
  page["tasks"] = Json::array({to_json(verdict)});
  page["settings"] = Json::array();
  const auto setting = [&](std::string_view label, std::string_view value) {
    page["settings"].push_back(Json::array({label, value}));
  };
  setting("task", verdict.task);
  for (const std::string& file : verdict.files) setting("file", file);
  for (const auto& [label, value] : options.settings) setting(label, value);
  setting("nibble", version());
  return page;
}

}  // namespace nibble
