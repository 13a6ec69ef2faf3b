// SPDX-License-Identifier: Apache-2.0
#include "report/net_verdict_report.h"

#include <fmt/format.h>

#include <cmath>

#include "net/quantize/noise_meter.h"
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
  return json;
}

}  // namespace nibble
