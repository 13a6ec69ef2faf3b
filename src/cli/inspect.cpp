// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/inspect.h"

#include <fmt/format.h>

#include <array>
#include <map>

#include "cli/net_command.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/tell/source_notes.h"
#include "pipeline/tell/statistics_listing.h"
#include "report/number_text.h"
#include "report/statistics_report.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model;
  bool statistics = false, chat_template = false;
  NetArguments net;
};

// By the signs that turns begin with.
std::string template_kind(std::string_view jinja) {
  constexpr std::array<std::array<std::string_view, 2>, 5> kKinds = {{{"<|im_start|>", "ChatML"},
                                                                      {"<|start_header_id|>", "Llama 3"},
                                                                      {"[INST]", "Llama 2 or Mistral"},
                                                                      {"<|user|>", "Phi or Zephyr"},
                                                                      {"<start_of_turn>", "Gemma"}}};
  for (const auto& [sign, kind] : kKinds)
    if (jinja.find(sign) != std::string_view::npos) return fmt::format("{} ({})", kind, sign);
  return "of its own; --template shows it";
}

std::string shortened(const std::string& text) {
  constexpr std::size_t kShown = 160;
  const std::string line = text.substr(0, text.find_last_not_of('\n') + 1);
  return line.size() <= kShown ? line : line.substr(0, kShown) + "... (whole with --json)";
}

std::string headline(const ModelInfo& info) {
  std::string text = fmt::format("{}, {} parameters in {} tensors, {} ({} bytes), {} bits per weight\n", info.container,
                                 count_text(info.parameters), info.tensors, bytes_text(info.bytes),
                                 grouped_text(info.bytes), significant_text(info.bits_per_weight, 4));
  if (info.layers > 0)
    text += fmt::format(
        "architecture {}: {} layers, hidden {}, feed-forward {}, vocabulary {}, context {}\n"
        "attention: {} heads of {}, {} key/value heads, rotary base {}; the head is {}\n",
        info.architecture, info.layers, info.hidden, info.intermediate, info.vocabulary, info.context, info.heads,
        info.head_dim, info.kv_heads, info.rope_base, info.tied_head ? "the embedding" : "a matrix of its own");
  if (info.experts > 0)
    text += fmt::format("experts: {} in a layer, of which a token is sent to {}\n", info.experts, info.experts_used);
  if (info.layers == 0 && !info.architecture.empty()) text += fmt::format("architecture {}\n", info.architecture);
  if (!info.obstacle.empty()) text += fmt::format("cannot be run: {}\n", info.obstacle);
  if (!info.tokenizer.empty())
    text += fmt::format("tokenizer: {}; chat template: {}\n", info.tokenizer,
                        info.chat_template.empty() ? "none" : template_kind(info.chat_template));
  if (!info.quantizer.empty()) text += fmt::format("quantized by {}\n", shortened(info.quantizer));
  return text;
}

std::string formats_line(const std::vector<TensorListing>& tensors) {
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> by_format;
  for (const TensorListing& tensor : tensors) {
    ++by_format[tensor.format].first;
    by_format[tensor.format].second += tensor.bytes;
  }
  std::string text = "formats:";
  for (const auto& [format, sums] : by_format)
    text += fmt::format(" {} ({} tensors, {})", format, sums.first, bytes_text(sums.second));
  return text + "\n";
}

// What tensors have beside codes and grids; empty: nothing.
std::string parts_line(const std::vector<TensorListing>& tensors) {
  std::map<std::string, std::uint64_t> counts;
  for (const TensorListing& tensor : tensors)
    for (const std::string& part : tensor.parts) ++counts[part];
  std::string text;
  for (const auto& [part, count] : counts)
    text += fmt::format("{} {} ({} tensors)", text.empty() ? "beside codes and grids:" : ",", part, count);
  return text.empty() ? text : text + "\n";
}

std::string inputs_line(const ModelInfo& info) {
  return (info.activations.empty() ? "" : fmt::format("inputs of quantized Linears: {}\n", info.activations)) + "\n";
}

void print_text(const ModelInfo& info, const std::vector<TensorListing>& tensors,
                const std::vector<TensorStatistics>& statistics, Session& session) {
  std::vector<Column> columns = {{"tensor"}, {"shape"}, {"format"}, {"bytes", Align::right}};
  if (!statistics.empty())
    for (const char* title : {"mean", "deviation", "absmax", "kurtosis", "beyond 6σ", "asymmetry"})
      columns.push_back({title, Align::right});
  Table table(columns);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorListing& tensor = tensors[i];
    std::vector<std::string> cells = {tensor.name, shape_text(tensor.shape), tensor.format, grouped_text(tensor.bytes)};
    if (!statistics.empty() && statistics[i].count > 0) {
      const TensorStatistics& s = statistics[i];
      for (const std::string& cell :
           {significant_text(s.mean), significant_text(s.deviation), significant_text(s.absmax),
            significant_text(s.kurtosis),
            s.beyond_6_sigma == 0 ? std::string("0") : fmt::format("{:.4f} %", 100 * s.beyond_6_sigma),
            fmt::format("{:+.3f}", s.asymmetry)})
        cells.push_back(cell);
      if (s.not_finite > 0) cells.back() += fmt::format(" ({} not finite!)", s.not_finite);
    }
    table.add(std::move(cells));
  }
  session.print(headline(info) + formats_line(tensors) + parts_line(tensors) + inputs_line(info) +
                table.text(session.style()));
}

// Of a file of statistics or an importance matrix in a model's place.
void inspect_statistics(const Options& options, Session& session) {
  if (options.statistics || options.chat_template)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("--{} is of a model; this is a file of what calibration saw: {}",
                            options.statistics ? "stats" : "template", options.model));
  const StatisticsListing listing = list_statistics(options.model);
  if (session.json()) return session.print_json(to_json(listing));
  std::string text = fmt::format("{}, {} of {} sites", listing.form, bytes_text(listing.bytes), listing.entries.size());
  if (listing.samples != 0) text += fmt::format(", {} windows", grouped_text(listing.samples));
  if (listing.length != 0) text += fmt::format(" of {} tokens", grouped_text(listing.length));
  for (std::size_t i = 0; i < listing.texts.size(); ++i) text += (i == 0 ? " of " : ", ") + listing.texts[i];
  text += "\n\n" + entries_table(listing).text(session.style());
  if (!listing.experts.empty()) text += "\n" + experts_table(listing.experts).text(session.style());
  session.print(text);
}

void inspect(const Options& options, Session& session) {
  if (is_net(options.model)) {
    if (options.statistics || options.chat_template)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("--{} is of a language model; this is a net, whose weights' ranges are shown anyway: {}",
                              options.statistics ? "stats" : "template", options.model));
    return inspect_net(options.model, net_options(options.net), session);
  }
  if (is_statistics(options.model)) return inspect_statistics(options, session);
  const SourceModel checkpoint = SourceModel::open(options.model);
  session.note_reading(checkpoint);
  const ModelInfo info = describe_model(checkpoint);
  if (const std::string note = info.obstacle.empty() ? tokenizer_note(checkpoint) : ""; !note.empty())
    session.note("note: " + note);
  const std::vector<TensorListing> tensors = list_tensors(checkpoint);
  if (options.chat_template) {
    if (info.chat_template.empty())
      throw Error(ErrorKind::not_found, fmt::format("{}: has no chat template", options.model));
    return session.print(info.chat_template + "\n");
  }
  std::vector<TensorStatistics> statistics;
  if (options.statistics) {
    const ProgressCallback progress = session.progress();
    for (const StoredTensor& tensor : checkpoint.tensors()) {
      if (!progress({"inspect", tensor.name, statistics.size(), tensors.size()}))
        throw Error(ErrorKind::cancelled, "inspect was interrupted");
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
  CLI::App* const verb =
      app.add_subcommand("inspect", "Show what is in a model: architecture, tensors, formats, statistics");
  verb->footer(
      "Examples:\n"
      "  nibble inspect models/fable-5M\n"
      "  nibble inspect model.gguf --stats\n"
      "  nibble inspect model.gguf --json\n"
      "  nibble inspect mnist.onnx   a small net: its operations, parameters, multiply-adds, ranges\n"
      "  nibble inspect imatrix.gguf   what calibration saw: vectors of each site, tokens of each expert\n\n"
      "Statistics: kurtosis is 3 for a normal distribution and grows with outliers; asymmetry is (max + min) / (max - "
      "min), 0 where the\nrange is symmetric.");
  verb->add_option(
          "model", options->model,
          "Hugging Face directory, .safetensors or .gguf; a net (.onnx, .tflite); or statistics or importances")
      ->required();
  verb->add_flag("--stats", options->statistics,
                 "Mean, deviation, largest magnitude, kurtosis, share beyond 6 sigma, asymmetry of each tensor");
  CLI::Option* const shown =
      verb->add_flag("--template", options->chat_template, "Print the chat template alone, as the file has it");
  session.add_json(*verb);
  for (const char* const option : {"--stats", "--json"}) shown->excludes(verb->get_option(option));
  add_net_options(*verb, options->net);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] {
    if (!is_net(options->model)) refuse_net_options(*verb);
    inspect(*options, session);
  });
}

}  // namespace nibble::cli
