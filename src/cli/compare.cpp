// SPDX-License-Identifier: Apache-2.0
#include "pipeline/judge/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

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

// A model as it is or in a format, among several models'.
struct Line {
  std::string model, format;
  double bits = 0, bits_per_byte = 0;
  std::uint64_t bytes = 0;
  std::string divergence;
  double prefill = 0, decode = 0;
  std::size_t comparison = 0;
  std::optional<std::size_t> candidate{};  // none: the original
};

std::vector<Line> lines_of(const std::vector<Comparison>& comparisons, const std::vector<std::string>& models) {
  std::vector<Line> lines;
  for (std::size_t m = 0; m < comparisons.size(); ++m) {
    const Comparison& one = comparisons[m];
    lines.push_back({models[m],
                     "original (" + one.original_format + ")",
                     one.original_bits_per_weight,
                     bits_per_byte(one.verdict.original_perplexity.value, one),
                     one.original_bytes,
                     "",
                     one.original_prefill,
                     one.original_decode,
                     m,
                     {}});
    for (std::size_t i = 0; i < one.formats.size(); ++i) {
      const ComparedFormat& format = one.formats[i];
      const MetricFigures& figures = one.verdict.candidates[i].overall;
      lines.push_back({models[m], format.format + (format.summary.substitutions > 0 ? " *" : ""),
                       format.summary.bits_per_weight, bits_per_byte(figures[Metric::perplexity].value, one),
                       format.summary.output_bytes, figure_text(describe(Metric::kl_mean), figures[Metric::kl_mean]),
                       format.prefill, format.decode, m, i});
    }
  }
  std::ranges::stable_sort(lines, {}, &Line::bytes);
  return lines;
}

std::string models_notes(const std::vector<Comparison>& comparisons, const std::vector<std::string>& models,
                         bool are_alike) {
  std::string text =
      "\nBits per byte: what the model needs to tell a byte of what was scored, whatever its vocabulary. ";
  text += are_alike ? "Not beaten: no other line is as small and needs fewer.\n"
                    : "The models have read different parts of the texts, so that these are not held against each "
                      "other: leave --windows out, and let all be read.\n";
  for (std::size_t m = 0; m < comparisons.size(); ++m) {
    const Comparison& one = comparisons[m];
    text += fmt::format("{}: {} of text read, {} of them scored. {}", models[m], bytes_text(one.read_bytes),
                        bytes_text(one.scored_bytes), coverage_text(one.verdict));
    for (const ComparedFormat& format : one.formats)
      if (const std::string substitutions = describe_substitutions(format.summary); !substitutions.empty())
        text += fmt::format("* {}, {}: {}.\n", models[m], format.format, substitutions);
  }
  if (comparisons.size() < models.size())
    text += left_out_text({models.begin() + static_cast<std::ptrdiff_t>(comparisons.size()), models.end()});
  return text;
}

void print_models(const std::vector<Comparison>& comparisons, const Options& options, bool is_partial,
                  Session& session) {
  const bool are_alike = std::ranges::all_of(
      comparisons, [&](const Comparison& one) { return have_read_alike(one, comparisons.front()); });
  const std::vector<Line> lines = lines_of(comparisons, options.models);
  std::vector<SizedLoss> losses;
  for (const Line& line : lines) losses.push_back({line.bytes, line.bits_per_byte});
  const std::vector<bool> front = size_front(losses);
  if (session.json()) {
    Json json = Json::array();
    for (std::size_t m = 0; m < comparisons.size(); ++m) {
      json.push_back(to_json(comparisons[m]));
      json.back()["model"] = options.models[m];
    }
    for (std::size_t i = 0; i < lines.size() && are_alike; ++i) {
      Json& model = json[lines[i].comparison];
      (lines[i].candidate ? model["formats"][*lines[i].candidate] : model["original"])["not_beaten"] = bool{front[i]};
    }
    return session.print_json(
        {{"models", json},
         {"partial", is_partial},
         {"ranked", are_alike},
         {"left_out", std::vector<std::string>(options.models.begin() + static_cast<std::ptrdiff_t>(comparisons.size()),
                                               options.models.end())}});
  }
  Table table({{"model"},
               {"format"},
               {"bytes", Align::right},
               {"bits/weight", Align::right},
               {"bits/byte", Align::right},
               {"KL to its original", Align::right},
               {"prefill tok/s", Align::right},
               {"decode tok/s", Align::right},
               {"not beaten"}});
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    table.add({line.model, line.format, bytes_text(line.bytes), fixed_text(line.bits, 2),
               fixed_text(line.bits_per_byte, 4), line.divergence, speed_text(line.prefill), speed_text(line.decode),
               !are_alike ? "?"
               : front[i] ? "yes"
                          : ""});
  }
  const std::string notes = models_notes(comparisons, options.models, are_alike);
  session.print(options.markdown ? table.markdown() + notes
                                 : table.text(session.style()) + (session.style().unicode ? notes : to_ascii(notes)));
}

// Models of different sizes, each as it is and in every format, side by side: the smallest first.
void compare_models(const std::vector<SourceModel>& checkpoints, const std::vector<NamedText>& texts,
                    const CompareOptions& request, const Options& options, Session& session) {
  for (std::size_t m = 0; m < checkpoints.size(); ++m) {
    try {
      require_comparable(checkpoints[m], texts, request);
    } catch (const Error& error) {
      throw Error(error.kind(), options.models[m] + ": " + error.what(), error.setting());
    }
  }
  std::vector<Comparison> comparisons;
  bool is_partial = false;
  for (std::size_t m = 0; m < checkpoints.size() && !is_partial; ++m) {
    try {
      comparisons.push_back(compare_formats(checkpoints[m], texts, request, session.machine()));
      is_partial = comparisons.back().verdict.partial();
    } catch (const Error& error) {  // what is known of the models before is told
      if (error.kind() != ErrorKind::cancelled || comparisons.empty()) throw;
      is_partial = true;
    }
  }
  print_models(comparisons, options, is_partial, session);
  if (is_partial) throw Error(ErrorKind::cancelled, "stopped early; the figures cover what was read until then");
}

void compare(const CLI::App& verb, const Options& options, Session& session) {
  const auto net = std::ranges::find_if(options.models, [](const std::string& model) { return is_net(model); });
  if (net != options.models.end()) {
    if (options.models.size() > 1)
      throw Error(ErrorKind::invalid_argument,
                  "formats of a net are compared by themselves, on samples of its inputs; name it alone: " + *net);
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
