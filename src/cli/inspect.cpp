// SPDX-License-Identifier: Apache-2.0
#include "pipeline/inspect.h"

#include <fmt/format.h>

#include <map>

#include "cli/verbs.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model;
  bool statistics = false;
};

std::string headline(const ModelInfo& info) {
  std::string text = fmt::format("{}, {} parameters in {} tensors, {} ({} bytes), {} bits per weight\n", info.container, count_text(info.parameters),
                                 info.tensors, bytes_text(info.bytes), grouped_text(info.bytes), significant_text(info.bits_per_weight, 4));
  if (info.layers > 0)
    text += fmt::format("architecture {}: {} layers, hidden {}, vocabulary {}, context {}\n", info.architecture, info.layers, info.hidden,
                        info.vocabulary, info.context);
  else if (!info.architecture.empty())
    text += fmt::format("architecture {} (not one that nibble runs)\n", info.architecture);
  return text;
}

std::string formats_line(const std::vector<TensorListing>& tensors) {
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> by_format;
  for (const TensorListing& tensor : tensors) {
    ++by_format[tensor.format].first;
    by_format[tensor.format].second += tensor.bytes;
  }
  std::string text = "formats:";
  for (const auto& [format, sums] : by_format) text += fmt::format(" {} ({} tensors, {})", format, sums.first, bytes_text(sums.second));
  return text + "\n";
}

std::string inputs_line(const ModelInfo& info) {
  return (info.activations.empty() ? "" : fmt::format("inputs of quantized Linears: {}\n", info.activations)) + "\n";
}

void print_text(const ModelInfo& info, const std::vector<TensorListing>& tensors, const std::vector<TensorStatistics>& statistics, Session& session) {
  std::vector<Column> columns = {{"tensor"}, {"shape"}, {"format"}, {"bytes", Align::right}};
  if (!statistics.empty())
    for (const char* title : {"mean", "deviation", "absmax", "kurtosis", "beyond 6σ", "asymmetry"}) columns.push_back({title, Align::right});
  Table table(columns);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorListing& tensor = tensors[i];
    std::vector<std::string> cells = {tensor.name, shape_text(tensor.shape), tensor.format, grouped_text(tensor.bytes)};
    if (!statistics.empty() && statistics[i].count > 0) {
      const TensorStatistics& s = statistics[i];
      for (const std::string& cell :
           {significant_text(s.mean), significant_text(s.deviation), significant_text(s.absmax), significant_text(s.kurtosis),
            s.beyond_6_sigma == 0 ? std::string("0") : fmt::format("{:.4f} %", 100 * s.beyond_6_sigma), fmt::format("{:+.3f}", s.asymmetry)})
        cells.push_back(cell);
      if (s.not_finite > 0) cells.back() += fmt::format(" ({} not finite!)", s.not_finite);
    }
    table.add(std::move(cells));
  }
  session.print(headline(info) + formats_line(tensors) + inputs_line(info) + table.text(session.style()));
}

void inspect(const Options& options, Session& session) {
  const Checkpoint checkpoint = Checkpoint::open(options.model);
  const ModelInfo info = describe_model(checkpoint);
  const std::vector<TensorListing> tensors = list_tensors(checkpoint);
  std::vector<TensorStatistics> statistics;
  if (options.statistics) {
    const ProgressCallback progress = session.progress();
    for (const StoredTensor& tensor : checkpoint.tensors()) {
      if (!progress({"inspect", tensor.name, statistics.size(), tensors.size()})) throw Error(ErrorKind::cancelled, "inspect was interrupted");
      statistics.push_back(measure_statistics(checkpoint, tensor, session.pool()));
    }
  }
  if (!session.json()) return print_text(info, tensors, statistics, session);
  Json json = to_json(info);
  Json& list = json["tensors"] = Json::array();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    list.push_back(to_json(tensors[i]));
    if (!statistics.empty() && statistics[i].count > 0) list.back()["statistics"] = to_json(statistics[i]);
  }
  session.print_json(json);
}

}  // namespace

void add_inspect(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand("inspect", "Show what is in a model: architecture, tensors, formats, statistics");
  verb->footer(
      "Examples:\n  nibble inspect models/tale-4M\n  nibble inspect model.gguf --stats\n  nibble inspect model.gguf --json\n\n"
      "Statistics: kurtosis is 3 for a normal distribution and grows with outliers; asymmetry is (max + min) / (max - min), 0 where the\n"
      "range is symmetric.");
  verb->add_option("model", options->model, "Hugging Face directory, .safetensors or .gguf")->required();
  verb->add_flag("--stats", options->statistics, "Mean, deviation, largest magnitude, kurtosis, share beyond 6 sigma, asymmetry of each tensor");
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, &session] { inspect(*options, session); });
}

}  // namespace nibble::cli
