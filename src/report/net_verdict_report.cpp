// SPDX-License-Identifier: Apache-2.0
#include "report/net_verdict_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "net/quantize/noise_meter.h"
#include "report/net_report.h"
#include "report/number_text.h"

namespace nibble {
namespace {

std::string share_text(const CountedShare& share) {
  return fmt::format("{} ({} of {}; 95 %: {} to {})", percent_text(share.value, 2), grouped_text(share.hits),
                     grouped_text(share.count), percent_text(share.low, 2), percent_text(share.high, 2));
}

std::string decibels_text(double noise) {
  return noise > 0 ? fmt::format("{:.1f} dB", decibels_of(noise)) : std::string("exact");
}

Json to_json(const CountedShare& share) {
  return {
      {"value", share.value}, {"low", share.low}, {"high", share.high}, {"hits", share.hits}, {"count", share.count}};
}

Json to_json(const std::vector<NetDistance>& distances) {
  Json list = Json::array();
  for (const NetDistance& one : distances) {
    list.push_back({{"name", one.name},
                    {"sqnr", one.noise > 0 && std::isfinite(one.noise) ? Json(decibels_of(one.noise)) : Json()}});
    if (!one.operation.empty()) list.back()["operation"] = one.operation;
  }
  return list;
}

}  // namespace

std::string net_verdict_text(const NetVerdict& verdict) {
  std::string text = fmt::format("{} samples\n", grouped_text(verdict.samples));
  if (verdict.original && verdict.candidate) {
    text += fmt::format("top-1  original  {}\n       this      {}\n", share_text(verdict.original->top1),
                        share_text(verdict.candidate->top1));
    text += fmt::format("top-5  original  {}\n       this      {}\n", share_text(verdict.original->top5),
                        share_text(verdict.candidate->top5));
    text += fmt::format("{} decisions became wrong, {} right (McNemar: p = {})\n", verdict.to_wrong, verdict.to_right,
                        significant_text(verdict.mcnemar_p));
  }
  if (verdict.original_auc && verdict.candidate_auc)
    text += fmt::format("area under the curve  original  {:.4f}\n                      this      {:.4f}\n",
                        *verdict.original_auc, *verdict.candidate_auc);
  if (verdict.error_rank_correlation)
    text += fmt::format("what is said again fails in the original's order: rank correlation {:.5f}\n",
                        *verdict.error_rank_correlation);
  else
    text += fmt::format("agreement with the original: {}\n", share_text(verdict.agreement));
  for (const NetDistance& one : verdict.outputs)
    text += fmt::format("{}: {} against the original\n", one.name, decibels_text(one.noise));
  return text;
}

Table net_distances_table(const NetVerdict& verdict) {
  Table table({{"operation"}, {"makes"}, {"against the original", Align::right}});
  for (const NetDistance& one : verdict.layers) table.add({one.operation, one.name, decibels_text(one.noise)});
  return table;
}

Json to_json(const NetVerdict& verdict) {
  Json json = {{"samples", verdict.samples},
               {"agreement", to_json(verdict.agreement)},
               {"outputs", to_json(verdict.outputs)},
               {"layers", to_json(verdict.layers)}};
  if (verdict.original && verdict.candidate) {
    json["top1"] = {{"original", to_json(verdict.original->top1)}, {"candidate", to_json(verdict.candidate->top1)}};
    json["top5"] = {{"original", to_json(verdict.original->top5)}, {"candidate", to_json(verdict.candidate->top5)}};
    json["to_wrong"] = verdict.to_wrong;
    json["to_right"] = verdict.to_right;
    json["mcnemar_p"] = verdict.mcnemar_p;
  }
  if (verdict.original_auc && verdict.candidate_auc)
    json["auc"] = {{"original", *verdict.original_auc}, {"candidate", *verdict.candidate_auc}};
  if (verdict.error_rank_correlation) json["error_rank_correlation"] = *verdict.error_rank_correlation;
  return json;
}

namespace {

std::string precision_text(const std::optional<double>& precision) {
  return precision ? fmt::format("{:.4f}", *precision) : std::string("none");
}

Json to_json(const std::optional<DetectionVerdict::Precision>& precision) {
  return precision ? Json{{"map50", precision->at_50}, {"map", precision->coco}} : Json();
}

Json to_json(const std::optional<double>& number) { return number ? Json(*number) : Json(); }

}  // namespace

std::string detection_verdict_text(const DetectionVerdict& verdict) {
  std::string text =
      fmt::format("{} samples; boxes with a score of 1/2: {} by the original, {} by this\n",
                  grouped_text(verdict.samples), grouped_text(verdict.found_by_original), grouped_text(verdict.found));
  if (verdict.original && verdict.candidate)
    text += fmt::format(
        "mean average precision   original  {:.4f} at an overlap of 0.5, {:.4f} of 0.5 to 0.95\n"
        "                         this      {:.4f} at an overlap of 0.5, {:.4f} of 0.5 to 0.95\n",
        verdict.original->at_50, verdict.original->coco, verdict.candidate->at_50, verdict.candidate->coco);
  return text + fmt::format("by the original's boxes  this      {} at an overlap of 0.5, {} at 0.9\n",
                            precision_text(verdict.same_50), precision_text(verdict.same_90));
}

Json to_json(const DetectionVerdict& verdict) {
  return {{"samples", verdict.samples},
          {"found_by_original", verdict.found_by_original},
          {"found", verdict.found},
          {"original", to_json(verdict.original)},
          {"candidate", to_json(verdict.candidate)},
          {"same50", to_json(verdict.same_50)},
          {"same90", to_json(verdict.same_90)}};
}

Table net_comparison_table(const NetComparison& comparison) {
  const bool is_labelled = !comparison.rows.empty() && comparison.rows[0].verdict.candidate.has_value();
  std::vector<Column> columns = {{"format"}, {"weights", Align::right}};
  if (is_labelled) columns.push_back({"accuracy", Align::right});
  columns.insert(columns.end(), {{"agreement with f32", Align::right},
                                 {"95 %", Align::right},
                                 {"worst output", Align::right},
                                 {"a run", Align::right}});
  Table table(std::move(columns));
  for (const NetComparisonRow& row : comparison.rows) {
    double worst = 0;
    for (const NetDistance& one : row.verdict.outputs) worst = std::max(worst, one.noise);
    const CountedShare& same = row.verdict.agreement;
    std::vector<std::string> cells = {std::string(net_format_name(row.format)), bytes_text(row.weight_bytes)};
    if (is_labelled) cells.push_back(percent_text(row.verdict.candidate->top1.value, 2));
    cells.insert(cells.end(), {percent_text(same.value, 2),
                               fmt::format("{} to {}", percent_text(same.low, 2), percent_text(same.high, 2)),
                               decibels_text(worst), row.seconds > 0 ? run_time_text(row.seconds) : "as f32"});
    table.add(std::move(cells));
  }
  return table;
}

Json to_json(const NetComparison& comparison) {
  Json rows = Json::array();
  for (const NetComparisonRow& row : comparison.rows) {
    Json one = to_json(row.verdict);
    one.erase("layers");
    one["format"] = net_format_name(row.format);
    one["weight_bytes"] = row.weight_bytes;
    one["seconds"] = row.seconds > 0 ? Json(row.seconds) : Json();
    rows.push_back(std::move(one));
  }
  return {{"calibrated", comparison.calibrated}, {"judged", comparison.judged}, {"formats", std::move(rows)}};
}

}  // namespace nibble
