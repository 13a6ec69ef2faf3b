// SPDX-License-Identifier: Apache-2.0
#include "report/quantize_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/number_text.h"

namespace nibble {
namespace {

struct Kind {
  std::string name;
  std::uint64_t tensors = 0, elements = 0, bytes = 0;
  std::vector<std::string> formats{};
  double judged = 0, nearest = 0, stored = 0;  // errors weighted by elements
};

std::vector<Kind> kinds_of(const QuantizeSummary& summary) {
  std::vector<Kind> kinds;
  Kind vectors{.name = "norms, biases"};
  for (const TensorSummary& tensor : summary.tensors) {
    auto kind = std::ranges::find(kinds, tensor.kind, &Kind::name);
    if (tensor.rows > 1 && kind == kinds.end()) kind = kinds.insert(kinds.end(), {.name = tensor.kind});
    Kind& sums = tensor.rows > 1 ? *kind : vectors;
    ++sums.tensors;
    sums.elements += tensor.elements();
    sums.bytes += tensor.bytes;
    if (std::ranges::find(sums.formats, tensor.format) == sums.formats.end()) sums.formats.push_back(tensor.format);
    if (!tensor.error) continue;
    const auto weight = static_cast<double>(tensor.elements());
    sums.judged += weight;
    sums.nearest += weight * tensor.error->nearest;
    sums.stored += weight * tensor.error->stored;
  }
  if (vectors.tensors > 0) kinds.push_back(std::move(vectors));
  return kinds;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string errors_text(const OutputError& error) {
  return percent_text(error.nearest, 2) + " -> " + percent_text(error.stored, 2);
}

// Empty: too few windows for a bound.
std::string bound_text(const Figure& kl) {
  return kl.certainty == Certainty::interval ? fmt::format("{:.5f}", kl.upper_bound) : "";
}

}  // namespace

Table kinds_table(const QuantizeSummary& summary) {
  const std::vector<Kind> kinds = kinds_of(summary);
  const bool judged = std::ranges::any_of(kinds, [](const Kind& kind) { return kind.judged > 0; });
  std::vector<Column> columns = {{"tensors"}, {"", Align::right},     {"weights", Align::right},
                                 {"format"},  {"size", Align::right}, {"bits/weight", Align::right}};
  if (judged) columns.insert(columns.end(), {{"error, nearest", Align::right}, {"stored", Align::right}});
  Table table(std::move(columns));
  for (const Kind& kind : kinds) {
    std::vector<std::string> cells = {
        kind.name,
        std::to_string(kind.tensors),
        count_text(kind.elements),
        joined(kind.formats),
        bytes_text(kind.bytes),
        fixed_text(8.0 * static_cast<double>(kind.bytes) / static_cast<double>(kind.elements), 3)};
    if (kind.judged > 0)
      cells.insert(cells.end(),
                   {percent_text(kind.nearest / kind.judged, 2), percent_text(kind.stored / kind.judged, 2)});
    table.add(std::move(cells));
  }
  return table;
}

std::vector<std::string> source_notes(const QuantizeSummary& summary) {
  std::vector<std::string> notes;
  for (const std::string& name : summary.ignored)
    notes.push_back(fmt::format("note: tensor '{}' is not part of the model and is left out", name));
  for (const std::string& note : summary.notes) notes.push_back("note: " + note);
  return notes;
}

std::string size_text(const QuantizeSummary& summary, bool dry_run) {
  const std::uint64_t bytes = summary.output_bytes;
  return fmt::format("{} {} ({} bytes), {} of the source's {}",
                     dry_run ? "would be written:" : "written:", bytes_text(bytes), grouped_text(bytes),
                     percent_text(static_cast<double>(bytes) / static_cast<double>(summary.source_bytes)),
                     bytes_text(summary.source_bytes));
}

std::string layer_text(const LayerReport& report) {
  std::string text =
      fmt::format("layer {} of {}: error of outputs {}", report.layer + 1, report.layers, errors_text(report.error));
  if (!report.worst.empty()) text += fmt::format(" ({} {})", report.worst, errors_text(report.worst_error));
  if (report.learnt)
    text += fmt::format(", of the layer's {} -> {} learnt (step {})", percent_text(report.learnt->before, 3),
                        percent_text(report.learnt->after, 3), report.learnt->kept_step);
  if (report.experts.few > 0)
    text += fmt::format(", {} of {} experts were sent too few tokens (from {} on)", report.experts.few,
                        report.experts.experts, report.experts.fewest);
  if (report.restored) return text + ", taken over from the interrupted run";
  text += ", " + duration_text(report.seconds);
  const std::uint64_t left = report.layers - report.layer - 1;
  if (left > 0) text += fmt::format(", about {} left", duration_text(report.seconds * static_cast<double>(left)));
  return text;
}

Table rounds_table(const std::vector<BudgetRound>& rounds) {
  Table table({{"mostly"},
               {"bits/weight", Align::right},
               {"tensor bytes", Align::right},
               {"expected KL", Align::right},
               {"measured", Align::right},
               {"at most", Align::right},
               {""}});
  for (const BudgetRound& round : rounds)
    table.add({round.mostly, fixed_text(round.bits_per_weight, 3), grouped_text(round.tensor_bytes),
               fmt::format("{:.5f}", round.expected_kl), fmt::format("{:.5f}", round.kl.value), bound_text(round.kl),
               round.accepted ? "" : "not accepted"});
  return table;
}

std::string round_text(const BudgetRound& round) {
  const std::string bound = bound_text(round.kl);
  return fmt::format("{:.3f} bits per weight, mostly {}: expected divergence {:.5f}, measured {:.5f} ({}){}",
                     round.bits_per_weight, round.mostly, round.expected_kl, round.kl.value,
                     bound.empty() ? "too few windows for a bound" : "at most " + bound,
                     round.accepted ? "" : ": not accepted");
}

std::string mix_text(const MeasuredMix& mix) {
  return fmt::format("{}: {} bytes, expected divergence {:.5f}{}", mix.name, grouped_text(mix.bytes), mix.kl,
                     mix.is_solved ? fmt::format(" ({:.5f} by its parts)", mix.added_kl) : "");
}

std::string disagreement_text(const BudgetRound& round) {
  if (round.agrees()) return {};
  const double measured = round.weights_kl.value_or(round.kl.value);
  std::string text = fmt::format("expected a divergence of {:.5f} and measured {:.5f}", round.expected_kl, measured);
  if (round.weights_kl) text += fmt::format(" in f32 arithmetic, {:.5f} as an engine runs it", round.kl.value);
  return text + (measured > round.expected_kl
                     ? "; judge it by what was measured, and look for a tensor that it is due to"
                     : "; it lost less than expected, and a smaller size may do");
}

}  // namespace nibble
