// SPDX-License-Identifier: Apache-2.0
#include "report/net_quantize_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "pipeline/net/judge_net.h"
#include "report/number_text.h"

namespace nibble {
namespace {

std::string arithmetic_text(RoundedOperation::Arithmetic arithmetic, unsigned bits) {
  switch (arithmetic) {
    case RoundedOperation::Arithmetic::integer:
      return "int8";
    case RoundedOperation::Arithmetic::stored:
      return fmt::format("weights in int{}", bits);
    case RoundedOperation::Arithmetic::floating:
      break;
  }
  return "float";
}

std::string decibels_text(double noise) {
  return noise > 0 ? fmt::format("{:.1f} dB", decibels_of(noise)) : std::string("exact");
}

Json json_decibels(double noise) { return noise > 0 && std::isfinite(noise) ? Json(decibels_of(noise)) : Json(); }

std::string left_out_text(const LeftOut& one) {
  return fmt::format("{} {}, which alone would leave {}", one.is_weight ? "weights" : "value", one.name,
                     decibels_text(one.noise));
}

// Of decisions that were not seen.
CountedShare changing_share(const OutputNoise& noise) {
  CountedShare share = counted_share(noise.near, noise.leads);
  for (double* const one : {&share.value, &share.low, &share.high}) *one *= kChangingOfNear;
  return share;
}

std::string changing_text(const OutputNoise& noise) {
  if (noise.leads == 0) return "";
  const CountedShare share = changing_share(noise);
  if (2 * noise.near > noise.leads)  // noise is as wide as what decides, and those beyond it are not counted
    return fmt::format("; of others at least {} may be expected to change", percent_text(share.value));
  return fmt::format("; of others {} may be expected to change (95 %: {} to {}), by how near {} are to that",
                     percent_text(share.value), percent_text(share.low), percent_text(share.high),
                     grouped_text(noise.leads));
}

Json changing_json(const OutputNoise& noise) {
  if (noise.leads == 0) return {};
  const CountedShare share = changing_share(noise);
  return {{"value", share.value}, {"low", share.low}, {"high", share.high}, {"rows", noise.leads}};
}

}  // namespace

Table net_layers_table(const NetFileSummary& summary) {
  Table table({{"operation"}, {"makes"}, {"computes in"}, {"parameters", Align::right}, {"against f32", Align::right}});
  const NetQuantization& made = summary.quantization;
  for (const RoundedOperation& one : made.operations)
    table.add({one.operation, one.name, arithmetic_text(one.arithmetic, made.weight_bits),
               one.parameters == 0 ? "" : grouped_text(one.parameters), decibels_text(one.noise)});
  return table;
}

std::vector<std::string> net_notes(const NetFileSummary& summary) {
  const NetQuantization& made = summary.quantization;
  std::vector<std::string> notes;
  if (!summary.made_samples.empty())
    notes.push_back(fmt::format(
        "warning: no samples were given; random numbers {} stood for them, so ranges are a guess and what is "
        "said of outputs may not hold on real inputs",
        summary.made_samples));
  if (!made.holds_out)
    notes.push_back(
        fmt::format("warning: {} sample{} too few to hold any out; outputs are judged on those that ranges "
                    "were found on",
                    made.calibrated, made.calibrated == 1 ? " is" : "s are"));
  constexpr std::size_t kShown = 12;
  for (std::size_t i = 0; i < std::min(kShown, made.left_out.size()); ++i)
    notes.push_back("kept in float: " + left_out_text(made.left_out[i]));
  if (made.left_out.size() > kShown)
    notes.push_back(fmt::format("kept in float: {} more", made.left_out.size() - kShown));
  return notes;
}

std::string net_summary_text(const NetFileSummary& summary) {
  const NetQuantization& made = summary.quantization;
  std::string text = fmt::format("{} samples calibrated ({}{}{}), {} judged{}\n", made.calibrated, made.fit,
                                 made.is_equalized ? ", channels equalized" : "",
                                 made.has_corrected_biases ? ", biases corrected" : "", made.judged,
                                 made.holds_out ? " that were held out" : "");
  if (!made.left_out.empty())
    text += fmt::format("with everything rounded the worst output had {}\n", decibels_text(made.everything.worst));
  for (std::size_t i = 0; i < made.outputs.size(); ++i)
    text += fmt::format("{}: {} against f32\n", made.outputs[i], decibels_text(made.made.noise[i]));
  text += fmt::format("{} of {} decisions of {} are the same ({}){}\n", made.made.same, made.made.rows,
                      made.outputs.empty() ? "" : made.outputs[0], percent_text(made.made.agreement()),
                      changing_text(made.made));
  if (made.layers.learned > 0)
    text += fmt::format("rounding learned in {} of {} layers, which make less error by it\n", made.layers.taken,
                        made.layers.learned);
  const auto count = [&](RoundedOperation::Arithmetic arithmetic) {
    return std::ranges::count(made.operations, arithmetic, &RoundedOperation::arithmetic);
  };
  text += made.weight_bits == 8
              ? fmt::format("{} of {} layers compute in int8\n", count(RoundedOperation::Arithmetic::integer),
                            made.operations.size())
              : fmt::format("{} of {} layers have weights in int{}\n", count(RoundedOperation::Arithmetic::stored),
                            made.operations.size(), made.weight_bits);
  for (const NetFileSummary::File& file : summary.files)
    text += fmt::format("{}{}, {} of the source's {}{}\n",
                        file.output.path.empty() ? "" : file.output.path.string() + ": ", bytes_text(file.bytes),
                        percent_text(static_cast<double>(file.bytes) / static_cast<double>(summary.source_bytes)),
                        bytes_text(summary.source_bytes), file.opset == 0 ? "" : fmt::format("; opset {}", file.opset));
  text += fmt::format("in {}\n", duration_text(summary.seconds));
  return text;
}

Json to_json(const NetFileSummary& summary) {
  const NetQuantization& made = summary.quantization;
  Json json = {{"bytes", summary.files.front().bytes},
               {"source_bytes", summary.source_bytes},
               {"parameters", summary.parameters},
               {"opset", summary.files.front().opset},
               {"weight_bits", made.weight_bits},
               {"weight_scales", made.weight_grain == WeightGrain::tensor ? "tensor" : "channel"},
               {"layers_learned", made.layers.taken},
               {"fit", made.fit},
               {"equalized", made.is_equalized},
               {"corrected_biases", made.has_corrected_biases},
               {"calibrated", made.calibrated},
               {"judged", made.judged},
               {"held_out", made.holds_out},
               {"made_samples", summary.made_samples},
               {"sqnr_everything", json_decibels(made.everything.worst)},
               {"sqnr", json_decibels(made.made.worst)},
               {"agreement", made.made.agreement()},
               {"changing", changing_json(made.made)},
               {"seconds", summary.seconds}};
  Json& files = json["files"] = Json::array();
  for (const NetFileSummary::File& file : summary.files)
    files.push_back({{"container", net_container_name(file.output.container)},
                     {"path", file.output.path.string()},
                     {"bytes", file.bytes}});
  Json& outputs = json["outputs"] = Json::array();
  for (std::size_t i = 0; i < made.outputs.size(); ++i)
    outputs.push_back({{"name", made.outputs[i]}, {"sqnr", json_decibels(made.made.noise[i])}});
  Json& layers = json["layers"] = Json::array();
  for (const RoundedOperation& one : made.operations)
    layers.push_back({{"operation", one.operation},
                      {"name", one.name},
                      {"arithmetic", arithmetic_text(one.arithmetic, made.weight_bits)},
                      {"parameters", one.parameters},
                      {"sqnr", json_decibels(one.noise)}});
  Json& left_out = json["left_out"] = Json::array();
  for (const LeftOut& one : made.left_out)
    left_out.push_back(
        {{"name", one.name}, {"what", one.is_weight ? "weights" : "values"}, {"sqnr", json_decibels(one.noise)}});
  return json;
}

}  // namespace nibble
