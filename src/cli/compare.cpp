// SPDX-License-Identifier: Apache-2.0
#include "pipeline/judge/compare.h"

#include <fmt/format.h>

#include "base/output_file.h"
#include "cli/compare_net.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/text_files.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/judge/size_front.h"
#include "pipeline/quantize/quantize_model.h"
#include "pipeline/quantize/shorthand.h"
#include "quantize/method.h"
#include "report/html_page.h"
#include "report/number_text.h"
#include "report/page_figures.h"
#include "report/verdict_tables.h"

namespace nibble::cli {
namespace {

struct Options {
  std::vector<std::string> models, texts;
  std::string formats, protocol = "llama.cpp", method = "rtn", scratch, html;
  std::size_t context = 0, windows = 0, split = kUsualSplitWindows, prompt = 512, generated = 32, repetitions = 3;
  bool layers = false, markdown = false;
  NetEvalArguments net;
};

std::vector<std::string> texts_to_measure_on(const Options& options) {
  if (!options.texts.empty()) return options.texts;
  std::vector<std::string> texts = texts_beside(options.models.front());
  if (texts.empty())
    throw Error(
        ErrorKind::invalid_argument,
        "no text to measure on: add --text FILE (a file heldout.txt in the model's directory would be taken): " +
            options.models.front());
  return texts;
}

Table table_of(const Comparison& comparison) {
  Table table({{"format"},
               {"bits/weight", Align::right},
               {"in Linears", Align::right},
               {"bytes", Align::right},
               {"share", Align::right},
               {"perplexity", Align::right},
               {"change", Align::right},
               {"KL", Align::right},
               {"weights' KL", Align::right},
               {"same top-1", Align::right},
               {"prefill tok/s", Align::right},
               {"decode tok/s", Align::right}});
  const PairedVerdict& verdict = comparison.verdict;
  table.add({"original (" + comparison.original_format + ")", fixed_text(comparison.original_bits_per_weight, 2), "",
             bytes_text(comparison.original_bytes), "100 %", fixed_text(verdict.original_perplexity.value, 4), "", "",
             "", "", speed_text(comparison.original_prefill), speed_text(comparison.original_decode)});
  for (std::size_t i = 0; i < comparison.formats.size(); ++i) {
    const ComparedFormat& format = comparison.formats[i];
    const MetricFigures& figures = verdict.candidates[i].overall;
    const auto figure = [&](Metric metric) { return figure_text(describe(metric), figures[metric]); };
    table.add({format.format + (format.summary.substitutions > 0 ? " *" : ""),
               fixed_text(format.summary.bits_per_weight, 2), fixed_text(format.summary.linear_bits_per_weight, 2),
               bytes_text(format.summary.output_bytes),
               percent_text(static_cast<double>(format.summary.output_bytes) /
                            static_cast<double>(comparison.original_bytes)),
               fixed_text(figures[Metric::perplexity].value, 4),
               signed_percent_text(figures[Metric::perplexity_ratio].value - 1), figure(Metric::kl_mean),
               weights_loss_text(verdict.candidates[i]), percent_text(figures[Metric::top1_agreement].value),
               speed_text(format.prefill), speed_text(format.decode)});
  }
  return table;
}

std::string notes_of(const Comparison& comparison) {
  const PairedVerdict& verdict = comparison.verdict;
  std::string text = "\n" + coverage_text(verdict);
  text += fmt::format(
              "The original's perplexity is {:.4f} ± {:.4f}. KL: mean divergence from the original in nats, with its "
              "95 % interval where the\n"
              "texts are long enough. Bits per weight count the whole file; in Linears: the layers' matrices alone, "
              "which is all that planar\n"
              "formats (int4:g32) touch: embedding and head stay in 16 bits there.\n",
              verdict.original_perplexity.value, verdict.original_perplexity.gaussian_error) +
          split_note(verdict);
  for (const ComparedFormat& format : comparison.formats)
    if (const std::string substitutions = describe_substitutions(format.summary); !substitutions.empty())
      text += fmt::format("* {}: {}.\n", format.format, substitutions);
  return text;
}

void print(const Comparison& comparison, const Options& options, Session& session) {
  if (session.json()) return session.print_json(to_json(comparison));
  const Table table = table_of(comparison);
  const std::string notes =
      notes_of(comparison) + layers_text(comparison.verdict, {.markdown = options.markdown, .style = session.style()});
  session.print(options.markdown ? table.markdown() + notes
                                 : table.text(session.style()) + (session.style().unicode ? notes : to_ascii(notes)));
}

void judge_options(const CLI::App& verb, const CompareOptions& request) {
  refuse_without_effect(verb, "--markdown", verb.count("--json") == 0, "beside --json");
  for (const std::string& format : request.formats) {
    QuantizeModelOptions named;
    choose_format(named, format);
  }
  find_method(request.method);
}

void judge_places(const Options& options, const std::vector<std::string>& texts) {
  Places places;
  for (const std::string& model : options.models) places.reads("the model", model);
  places.reads("--text", texts);
  places.writes_file("--html", options.html);
  places.judge();
}

// Models of different sizes, each as it is and in every format, side by side: the smallest first.
void compare_models(const std::vector<SourceModel>& checkpoints, const std::vector<NamedText>& texts,
                    const CompareOptions& request, const Options& options, Session& session) {
  struct Line {
    std::string model, format;
    double bits, bits_per_byte;
    std::uint64_t bytes;
    std::string divergence;
  };
  std::vector<Line> lines;
  Json json = Json::array();
  bool is_partial = false;
  for (std::size_t m = 0; m < checkpoints.size() && !is_partial; ++m) {
    const std::string& model = options.models[m];
    const Comparison comparison = compare_formats(checkpoints[m], texts, request, session.machine());
    is_partial = comparison.verdict.partial();
    json.push_back(to_json(comparison));
    json.back()["model"] = model;
    lines.push_back({model, "original (" + comparison.original_format + ")", comparison.original_bits_per_weight,
                     bits_per_byte(comparison.verdict.original_perplexity.value, comparison), comparison.original_bytes,
                     ""});
    for (std::size_t i = 0; i < comparison.formats.size(); ++i) {
      const ComparedFormat& format = comparison.formats[i];
      const MetricFigures& figures = comparison.verdict.candidates[i].overall;
      lines.push_back({model, format.format, format.summary.bits_per_weight,
                       bits_per_byte(figures[Metric::perplexity].value, comparison), format.summary.output_bytes,
                       figure_text(describe(Metric::kl_mean), figures[Metric::kl_mean])});
    }
  }
  std::ranges::stable_sort(lines, {}, &Line::bytes);
  std::vector<SizedLoss> losses;
  for (const Line& line : lines) losses.push_back({line.bytes, line.bits_per_byte});
  const std::vector<bool> front = size_front(losses);
  Table table({{"model"},
               {"format"},
               {"bytes", Align::right},
               {"bits/weight", Align::right},
               {"bits/byte", Align::right},
               {"KL to its original", Align::right},
               {"not beaten"}});
  for (std::size_t i = 0; i < lines.size(); ++i)
    table.add({lines[i].model, lines[i].format, bytes_text(lines[i].bytes), fixed_text(lines[i].bits, 2),
               fixed_text(lines[i].bits_per_byte, 4), lines[i].divergence, front[i] ? "*" : ""});
  const std::string notes =
      "\nBits per byte: what the model needs to tell a byte of the texts, whatever its vocabulary. Not beaten: no "
      "other "
      "line is as small and needs fewer.\n";
  if (session.json())
    session.print_json({{"models", json}});
  else
    session.print(options.markdown ? table.markdown() + notes : table.text(session.style()) + notes);
  if (is_partial) throw Error(ErrorKind::cancelled, "stopped early; the figures cover what was read until then");
}

void compare(const CLI::App& verb, const Options& options, Session& session) {
  if (is_net(options.models.front())) {
    if (options.models.size() > 1)
      throw Error(ErrorKind::invalid_argument, "nets are compared one by one; name one: " + options.models[1]);
    refuse_without_effect(verb, "--markdown", verb.count("--json") == 0, "beside --json");
    return compare_net_formats(verb, options.models.front(), options.net, options.markdown, session);
  }
  refuse_net_eval_options(verb);
  CompareOptions request;
  if (!options.formats.empty()) request.formats = split_list(options.formats);
  for (std::string& format : request.formats) format = resolve_shorthand(format, true);
  request.kernels = session.kernels();
  request.kv = session.kv();
  request.windows = {parse_protocol(options.protocol), options.context, options.windows};
  request.method = options.method;
  request.speed.prompt_tokens = options.prompt;
  request.speed.generated_tokens = options.generated;
  request.speed.repetitions = options.repetitions;
  request.scratch = options.scratch;
  request.layers = options.layers;
  request.split_windows = options.split;
  request.progress = session.progress();
  request.keep_partial = true;
  judge_options(verb, request);
  const bool is_one = options.models.size() == 1;
  refuse_without_effect(verb, "--html", is_one, "where several models are compared");
  refuse_without_effect(verb, "--layers", is_one, "where several models are compared");
  std::vector<SourceModel> checkpoints;
  for (const std::string& model : options.models) {
    checkpoints.push_back(SourceModel::open(model));
    session.note_reading(checkpoints.back());
  }
  const std::vector<std::string> text_files = texts_to_measure_on(options);
  judge_places(options, text_files);
  const std::vector<NamedText> texts = session.read_named_texts(text_files);
  if (!is_one) return compare_models(checkpoints, texts, request, options, session);
  const SourceModel& checkpoint = checkpoints.front();
  std::optional<OutputFile> page;  // a place that cannot be written to shows before the work
  if (!options.html.empty()) {
    page.emplace(options.html);
    request.portraits.emplace();
  }
  const Comparison comparison = compare_formats(checkpoint, texts, request, session.machine());
  if (page) {
    page->write(html_page(page_figures(comparison, {options.models.front(), session.settings()})));
    page->commit();
  }
  print(comparison, options, session);
  if (comparison.verdict.partial())
    throw Error(ErrorKind::cancelled, "stopped early; the figures cover what was read until then");
}

}  // namespace

void add_compare(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("compare", "One table: what every format costs on this model, and what it brings");
  verb->footer(
      "Examples:\n"
      "  nibble compare models/fable-5M\n"
      "  nibble compare models/fable-5M -f q8_0,q4_k_m,int4:g64 --text my.txt --markdown\n"
      "  nibble compare models/fable-5M --html report.html\n"
      "  nibble compare small-in-16-bits large -f q8_0,q4_k_m,trellis2:l12 --text my.txt   which is better at its "
      "size\n"
      "  nibble compare digits.onnx --data digits.npy --labels labels.txt    a small net");
  verb->add_option("model", options->models,
                   "Hugging Face directory or .gguf; or a net (.onnx, .tflite). Of several models, of different sizes, "
                   "every format stands in one table, by bytes and by the bits that a byte of text takes")
      ->required();
  add_net_eval_options(*verb, options->net);
  verb->add_option("-f,--formats", options->formats,
                   "Comma-separated formats (default: "
                   "f32,f16,bf16,q8_0,int8:row,q6_k,q4_k_m,q4_0,int4:g32,int4:row,int3:g32:signed,int2:g32:half)");
  verb->add_option("--text", options->texts, "Texts to measure on (default: heldout.txt in the model's directory)");
  verb->add_option("--protocol", options->protocol, "llama.cpp or paper")->capture_default_str();
  verb->add_option("--context", options->context, "Tokens in a window (default: the protocol's)")
      ->check(count_within(1, kMostTokens));
  verb->add_option("--windows", options->windows, "Use only the first N windows; 0: all")
      ->check(count_within(0, kMostWindows));
  add_split(*verb, options->split);
  verb->add_option("--method", options->method, "How values are chosen: rtn, mse")->capture_default_str();
  verb->add_option("-p,--prompt", options->prompt, "Tokens of the prefill timing")
      ->check(count_within(0, kMostTokens))
      ->capture_default_str();
  verb->add_option("-n,--generate", options->generated, "Tokens of the decode timing")
      ->check(count_within(0, kMostTokens))
      ->capture_default_str();
  verb->add_option("-r,--repetitions", options->repetitions, "Repetitions of each timing")
      ->check(count_within(1, 10000))
      ->capture_default_str();
  verb->add_option("--scratch", options->scratch, "Directory for temporary models (default: the system's)");
  verb->add_option("--html", options->html, "Also write a page with charts that opens anywhere, offline");
  verb->add_flag("--layers", options->layers, "Also show where in the model the damage is, layer by layer");
  verb->add_flag("--markdown", options->markdown, "Print the table as Markdown");
  session.add_force_text(*verb);
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([options, verb, &session] { compare(*verb, *options, session); });
}

}  // namespace nibble::cli
