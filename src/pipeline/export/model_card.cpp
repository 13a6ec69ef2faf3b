// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/model_card.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/output_file.h"
#include "base/utf8.h"
#include "evaluate/metrics.h"
#include "io/json_text.h"
#include "pipeline/export/manifest.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBase = "base_model: ", kVerdict = "\n## What it lost\n\n";

// Matrices of one kind in one format.
struct Row {
  std::string kind, format;
  std::uint64_t tensors = 0, numbers = 0, bytes = 0;
};

std::vector<Row> rows_of(const std::vector<CardMatrix>& matrices) {
  std::vector<Row> rows;
  for (const CardMatrix& tensor : matrices) {
    const std::string& format = tensor.format->name();
    const auto is_same = [&](const Row& row) { return row.kind == tensor.kind && row.format == format; };
    auto row = std::ranges::find_if(rows, is_same);
    if (row == rows.end()) {
      // Beside the others of its kind.
      const auto last =
          std::find_if(rows.rbegin(), rows.rend(), [&](const Row& other) { return other.kind == tensor.kind; });
      row = rows.insert(last == rows.rend() ? rows.end() : last.base(), {tensor.kind, format});
    }
    ++row->tensors;
    row->numbers += tensor.rows * tensor.cols;
    row->bytes += plane_bytes(*tensor.format, tensor.rows, tensor.cols);
  }
  return rows;
}

std::string table_of(const std::vector<CardMatrix>& matrices) {
  std::string text = "| matrices | how many | weights | format | bits a weight |\n|---|---|---|---|---|\n";
  for (const Row& row : rows_of(matrices))
    text += fmt::format("| {} | {} | {} | `{}` | {:.3f} |\n", row.kind, row.tensors, row.numbers, row.format,
                        8.0 * static_cast<double>(row.bytes) / static_cast<double>(row.numbers));
  return text;
}

std::string calibration_text(const Json& manifest) {
  const auto calibration = manifest.find("calibration");
  if (calibration == manifest.end()) return {};
  if (const auto statistics = calibration->find("statistics"); statistics != calibration->end())
    return fmt::format("\nCalibrated with statistics (xxh3 {}).\n", statistics->get<std::string>());
  std::string names;
  for (const Json& text : calibration->value("texts", Json::array()))
    names += fmt::format("{}`{}` (xxh3 {})", names.empty() ? "" : ", ", text.at("name").get<std::string>(),
                         text.at("xxh3").get<std::string>());
  return fmt::format("\nCalibrated on {} windows of {} tokens (seed {}) of {}.\n",
                     calibration->value("samples", Json()).dump(), calibration->value("length", Json()).dump(),
                     calibration->value("seed", Json()).dump(), names);
}

bool is_in_codes(const FormatPtr& format) { return format->info().kind != FormatKind::raw; }

std::string method_text(const Json& manifest) {
  if (const auto trained = manifest.find("trained"); trained != manifest.end()) {
    std::string how = trained->contains("from") ? "trained further on text" : "trained from nothing on text";
    if (trained->contains("teacher")) how += ", by what a teacher says of it";
    if (const auto rounded = trained->find("rounded"); rounded != trained->end())
      for (const auto& [format, estimator] : rounded->items())
        how += fmt::format(", rounded to `{}` meanwhile ({})", format, estimator.get<std::string>());
    if (const auto kv = trained->find("kv"); kv != trained->end() && kv->is_string())
      how += fmt::format(", keys and values as a `{}` cache has them", kv->get<std::string>());
    // What was judged before the first step may have been the best.
    if (const auto kept = trained->find("kept_step"); kept != trained->end() && *kept == 0)
      how += "; no step of it was better than the beginning, which these weights are";
    return how;
  }
  std::string text = fmt::format("recipe `{}`, method `{}`", manifest.at("recipe").at("name").get<std::string>(),
                                 manifest.at("method").get<std::string>());
  for (const char* const key : {"transform", "round", "fit"})
    if (const auto value = manifest.find(key); value != manifest.end() && value->is_string())
      text += fmt::format(", {} `{}`", key, value->get<std::string>());
  if (const auto inputs = manifest.find("activations"); inputs != manifest.end())
    text += fmt::format(", inputs `{}`", inputs->at("format").get<std::string>());
  return text;
}

// What distillation changed, in the words of its record.
std::string distilled_text(const Json& record) {
  std::vector<std::string> trained;
  if (record.value("code_rate", 0.0) > 0) {
    const std::uint64_t all = record.value("matrices", std::uint64_t{0}), coded = record.value("coded_matrices", all);
    trained.push_back(coded == all ? "its codes" : fmt::format("the codes of {} of its {} matrices", coded, all));
  }
  trained.emplace_back("the scales of its codes");
  if (record.value("vectors", true)) trained.insert(trained.end(), {"norms", "biases"});
  if (record.value("embedding", false)) trained.emplace_back("the embedding");
  const std::string last = trained.back();
  trained.pop_back();
  return fmt::format("**Distilled:** behind that {}{}{} were trained to predict what the original predicts.\n\n",
                     fmt::join(trained, ", "), trained.empty() ? "" : " and ", last);
}

std::string figure_text(const Figure& figure, MetricUnit unit) {
  const double factor = unit == MetricUnit::share || unit == MetricUnit::change ? 100 : 1;
  const std::string_view sign = factor == 100 ? " %" : "";
  std::string text = fmt::format("{:.4g}{}", factor * figure.value, sign);
  if (figure.certainty == Certainty::interval)
    text += fmt::format(" ({:.4g} to {:.4g})", factor * figure.low, factor * figure.high);
  return text;
}

}  // namespace

std::string base_name_of(const SourceModel& source) {
  if (const auto card = source.read_side_file(kModelCardFile); card && manifest_of(source))
    if (const std::size_t at = card->find(kBase); at != std::string::npos) {
      const std::size_t begin = at + kBase.size();
      const Json name = Json::parse(card->substr(begin, card->find('\n', begin) - begin), nullptr, false);
      if (name.is_string()) return name.get<std::string>();
    }
  for (const std::string_view key : {kBaseModelKey, std::string_view("general.name")})
    if (auto name = source.gguf().string(key); name && !name->empty()) return replace_invalid_utf8(*name);
  std::filesystem::path path = std::filesystem::absolute(source.path()).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return replace_invalid_utf8((source.spelling() == Spelling::gguf ? path.stem() : path.filename()).string());
}

std::string make_model_card(const CardFacts& facts, std::string_view container, std::string_view use) {
  const Json own = parse_json(std::string(facts.manifest), "manifest");
  // What others have put into a source's manifest is told where it is one that nibble writes.
  const auto is_told = [](const Json& manifest) {
    return manifest.contains("nibble") && (manifest.contains("trained") || manifest.contains("method"));
  };
  const Json& manifest = own.contains("original") && is_told(own.at("original")) ? own.at("original") : own;
  const bool is_quantized =
      std::ranges::any_of(facts.matrices, [](const CardMatrix& matrix) { return is_in_codes(matrix.format); });
  const std::string title = facts.base.empty() ? "A language model" : facts.base;
  std::string text = "---\n";
  if (!facts.base.empty()) text += fmt::format("{}{}\n", kBase, Json(facts.base).dump());
  text += fmt::format("tags:\n{}- nibble\n---\n\n# {}{}\n\n", is_quantized ? "- quantized\n" : "", title,
                      is_quantized ? ", quantized" : "");
  if (!is_quantized)
    text += facts.was_quantized
                ? "**Not quantized:** the numbers of a quantized model, written out in floating point. They "
                  "take as much room as those of a model that is not.\n\n"
                : "**Not quantized:** every weight is a floating-point number.\n\n";
  text += fmt::format("Made{} by nibble {}: {}; container `{}`.\n\n",
                      facts.base.empty() ? "" : fmt::format(" of `{}`", facts.base),
                      manifest.at("nibble").get<std::string>(), method_text(manifest), container);
  if (const auto rounded = own.find("rounded_numbers"); rounded != own.end())
    text += fmt::format(
        "**Converted with a loss:** {} numbers of what that had made were rounded to the nearest that the "
        "formats here hold. A verdict below is beside that, not beside the original.\n\n",
        rounded->dump());
  if (const auto distilled = own.find("distilled"); distilled != own.end()) text += distilled_text(*distilled);
  text += table_of(facts.matrices) + calibration_text(manifest);
  const Json& told = manifest.contains("source") ? manifest : own;
  text += fmt::format(
      "\n## Use\n\n```\n{}\n```\n\n`nibble check . --against OTHER` tells whether another file of this model "
      "has the same numbers; `nibble_manifest.json` has the whole {}.\n",
      use,
      told.contains("source") ? fmt::format("recipe and the hash of the tensors it was made from (xxh3 {})",
                                            told.at("source").at("xxh3").get<std::string>())
                              : std::string("run and hashes of what it was made from"));
  if (!facts.notes.empty()) text += "\n## Notes\n\n";
  for (const std::string& note : facts.notes) text += fmt::format("* {}\n", note);
  return text;
}

std::string make_model_card(const ContainerContents& contents, std::string_view container, std::string_view use) {
  CardFacts facts{.base = base_name_of(contents.source), .manifest = contents.manifest, .matrices = {}};
  for (const TensorPlan& tensor : contents.plan.tensors) {
    facts.was_quantized = facts.was_quantized || is_in_codes(tensor.source->values.format());
    if (!is_vector(tensor.role))
      facts.matrices.push_back({tensor.kind, tensor.target.format, tensor.rows, tensor.cols});
  }
  facts.notes = contents.plan.notes;
  return make_model_card(facts, container, use);
}

std::string verdict_of_card(const SourceModel& model) {
  const auto card = model.read_side_file(kModelCardFile);
  if (!card || !manifest_of(model)) return {};
  const std::size_t heading = card->find(kVerdict);
  if (heading == std::string::npos) return {};
  const std::size_t begin = heading + kVerdict.size();
  return replace_invalid_utf8(card->substr(begin, card->find("\n## ", begin) - begin));
}

std::string figure_of_verdict(std::string_view verdict, Metric metric) {
  const std::string row = fmt::format("\n| {} | ", describe(metric).title);
  const std::size_t at = verdict.find(row);
  if (at == std::string_view::npos) return {};
  const std::size_t begin = at + row.size();
  return std::string(verdict.substr(begin, verdict.find(" |", begin) - begin));
}

void add_verdict(const std::filesystem::path& directory, const PairedVerdict& verdict) {
  const std::filesystem::path path = directory / kModelCardFile;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored) || verdict.candidates.empty()) return;
  std::ifstream file(path);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  text += fmt::format(
      "{}Beside the original, on {} windows of {} tokens ({} tokens scored; in brackets "
      "95 % intervals):\n\n| | |\n|---|---|\n| perplexity of the original | {} |\n",
      kVerdict, verdict.windows, verdict.context, verdict.tokens_scored,
      figure_text(verdict.original_perplexity, MetricUnit::plain));
  constexpr std::array kShown = {Metric::perplexity, Metric::perplexity_ratio, Metric::kl_mean, Metric::kl_p99,
                                 Metric::top1_agreement};
  for (const Metric metric : kShown)
    text += fmt::format("| {} | {} |\n", describe(metric).title,
                        figure_text(verdict.candidates.front().overall[metric], describe(metric).unit));
  std::string names;
  for (const MeasuredText& one : verdict.texts)
    names += (names.empty() ? "`" : ", `") + std::filesystem::path(one.name).filename().string() + "`";
  text += fmt::format("\nTexts: {}.\n", names);
  OutputFile output(path);
  output.write(text);
  output.commit();
}

}  // namespace nibble
