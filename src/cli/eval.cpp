// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>

#include "base/output_file.h"
#include "cli/eval_net.h"
#include "cli/eval_task.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/text_files.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/judge/judge_models.h"
#include "report/html_page.h"
#include "report/page_figures.h"
#include "report/verdict_json.h"
#include "report/verdict_tables.h"

namespace nibble::cli {
namespace {

struct Options {
  std::vector<std::string> models;
  TextFiles texts;
  std::string against, original_kv, accept, html, protocol = "llama.cpp";
  std::size_t context = 0, windows = 0, split = kUsualSplitWindows;
  bool layers = false, markdown = false;
  TaskArguments task;
  NetEvalArguments net;
};

void print(const PairedVerdict& verdict, const std::vector<Acceptance>& acceptances, const Options& options,
           Session& session) {
  const VerdictTextOptions style{options.markdown, session.style(), options.against};
  if (!session.json()) {
    std::string text = verdict_text(verdict, style);
    for (std::size_t i = 0; i < acceptances.size(); ++i)
      text += acceptance_text(acceptances[i], verdict, verdict.candidates[i].name, style);
    return session.print(text);
  }
  Json json = to_json(verdict);
  for (std::size_t i = 0; i < acceptances.size(); ++i) json["candidates"][i]["acceptance"] = to_json(acceptances[i]);
  session.print_json(json);
}

void write_page(OutputFile& page, const PairedVerdict& verdict, const SourceModel& original,
                const std::vector<NamedCheckpoint>& candidates, const Options& options, Session& session) {
  std::vector<ModelPortrait> portraits;
  for (const NamedCheckpoint& candidate : candidates)
    portraits.push_back(portray(original, *candidate.checkpoint, {}, session.pool()));
  const ModelPortrait itself = portray(original, original, {.parts = {}}, session.pool());
  page.write(html_page(page_figures(verdict, itself, portraits, {options.against, session.settings()})));
  page.commit();
}

void judge_options(const CLI::App& verb, const Options& options) {
  const bool of_task = !options.task.name_and_files.empty();
  if (options.texts.empty() != of_task)
    throw Error(ErrorKind::invalid_argument,
                "name what to read: --text FILE... (or --chat FILE...), or --task NAME FILE... (one of the two)");
  if (of_task && !options.accept.empty())
    throw Error(ErrorKind::invalid_argument, "--accept judges texts, not tasks; leave out one of the two");
  for (const char* const option : {"--context", "--windows", "--protocol", "--layers", "--split", "--against-kv",
                                   "--special", "--template", "--template-option", "--no-think"})
    refuse_without_effect(verb, option, !of_task, "with --task, which reads questions");
  for (const char* const option : {"--shots", "--num-shots", "--limit", "--answers", "--max-tokens"})
    refuse_without_effect(verb, option, of_task, "without --task");
  judge_text_files(verb, options.texts);
  refuse_without_effect(verb, "--markdown", verb.count("--json") == 0, "beside --json");
  refuse_without_effect(verb, "--force-text", !of_task, "with --task, which reads questions");
  if (!of_task)
    for (const char* const option : {"--split", "--against-kv"})
      refuse_without_effect(verb, option, !options.against.empty(), "without --against");
  if (of_task) return;
  if (options.models.size() > 1 && options.against.empty())
    throw Error(ErrorKind::invalid_argument,
                "several models are judged against their original; add --against ORIGINAL");
  if (!options.accept.empty() && options.against.empty())
    throw Error(ErrorKind::invalid_argument, "what is accepted is judged against an original; add --against ORIGINAL");
  if (!options.html.empty() && options.against.empty())
    throw Error(ErrorKind::invalid_argument, "the page shows what changed against an original; add --against ORIGINAL");
  if (options.layers && options.against.empty())
    throw Error(ErrorKind::invalid_argument, "layers are compared with an original's; add --against ORIGINAL");
}

void judge_places(const Options& options) {
  Places places;
  places.reads("a model", options.models);
  places.reads("--against", options.against);
  options.texts.add_places(places);
  places.writes_file("--html", options.html);
  add_task_places(options.task, places);
  places.judge();
}

void evaluate(const CLI::App& verb, const Options& options, Session& session) {
  if (std::ranges::any_of(options.models, [](const std::string& model) { return is_net(model); }))
    return eval_net(verb, options.models, options.against, options.layers, options.net, session);
  refuse_net_eval_options(verb);
  for (const char* const option : {"--detections", "--truth", "--no-background"})
    refuse_without_effect(verb, option, false, "of models other than nets (.onnx, .tflite)");
  judge_options(verb, options);
  judge_places(options);
  if (options.texts.empty())
    return evaluate_task({options.models, options.against, options.html, options.markdown}, options.task, session);
  const std::vector<Requirement> requirements =
      options.accept.empty() ? std::vector<Requirement>{} : parse_requirements(options.accept);
  JudgeOptions request;
  request.kernels = session.kernels();
  request.kv = session.kv();
  if (!options.original_kv.empty())
    request.original_kv = parse_kv_type(options.original_kv);
  else if (const auto kv = session.kv(); kv && kv_code_bits(*kv) != 0)
    request.original_kv = KvType::f16;
  request.windows = {parse_protocol(options.protocol), options.context, options.windows, options.texts.parse_special()};
  request.progress = session.progress();
  request.keep_partial = true;
  request.layers = options.layers;
  request.split_windows = options.split;
  request.split_required = judge_weights(requirements);
  std::vector<SourceModel> checkpoints;
  for (const std::string& model : options.models) {
    checkpoints.push_back(SourceModel::open(model));
    session.note_reading(checkpoints.back());
    session.note_unused_activations(model, checkpoints.back());
  }
  std::optional<SourceModel> original;
  std::vector<NamedCheckpoint> candidates;
  if (!options.against.empty()) {
    original = SourceModel::open(options.against);
    session.note_reading(*original);
    for (std::size_t i = 0; i < checkpoints.size(); ++i) candidates.push_back({options.models[i], &checkpoints[i]});
  }
  const std::vector<NamedText> texts = options.texts.read(original ? *original : checkpoints.front(), session);
  std::optional<OutputFile> page;  // a place that cannot be written to shows before the work
  if (!options.html.empty()) page.emplace(options.html);
  const PairedVerdict verdict =
      judge_models(original ? *original : checkpoints.front(), candidates, texts, request, session.machine());
  std::vector<Acceptance> acceptances;
  if (!requirements.empty())
    for (std::size_t i = 0; i < verdict.candidates.size(); ++i) acceptances.push_back(accept(verdict, i, requirements));
  if (page) write_page(*page, verdict, *original, candidates, options, session);
  print(verdict, acceptances, options, session);
  session.set_exit_code(exit_code_of(acceptances));
  if (verdict.partial()) throw Error(ErrorKind::cancelled, "stopped early; the figures cover what was read until then");
}

}  // namespace

void add_split(CLI::App& verb, std::size_t& windows) {
  verb.add_option("--split", windows,
                  "So many windows are read once more with nothing but the weights rounded, which splits the loss into "
                  "the weights' and the "
                  "arithmetic's; 0: none")
      ->check(count_within(0, kMostWindows))
      ->capture_default_str();
}

void add_eval(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand("eval", "Perplexity of a model on a text, and what quantization changed");
  verb->footer(
      "Examples:\n  nibble eval models/fable-5M --text models/fable-5M/heldout.txt\n"
      "  nibble eval fable.gguf --against models/fable-5M --text models/fable-5M/heldout.txt\n"
      "  nibble eval q4.gguf q3.gguf --against model --text stories.txt wiki.txt --markdown\n"
      "  nibble eval fable.gguf --text wiki.txt --protocol paper --context 2048 --json\n"
      "  nibble eval q4.gguf --against model --task hellaswag hellaswag_val.jsonl --limit 1000\n"
      "  nibble eval net8.onnx --against net.onnx --data inputs.npy --labels labels.txt --layers\n"
      "  nibble eval model --task mmlu abstract_algebra_test.csv --shots abstract_algebra_dev.csv --num-shots 5\n\n"
      "Protocols: llama.cpp (windows of 512, the second half scored), paper (windows of 2048, every token but the "
      "first scored).");
  verb->add_option("models", options->models,
                   "Models to judge: Hugging Face directories or .gguf files; or a net (.onnx, .tflite)")
      ->required();
  add_text_files(*verb, "Text to judge on", options->texts);
  verb->add_option("--against", options->against,
                   "The original: what each model changed, with 95 % intervals, all models in one pass");
  verb->add_option("--against-kv", options->original_kv,
                   "How the original keeps keys and values; without this as --kv says, but f16 beside --kv q8_0 and "
                   "q4_0, rotated or not, whose loss counts")
      ->check(CLI::IsMember(std::vector<std::string>(kKvTypeNames.begin(), kKvTypeNames.end())));
  verb->add_option("--accept", options->accept,
                   "What is required, as in \"kl<=0.02, kl_weights<=0.01, top1>=0.97, ppl_ratio<=1.02\" (_weights: of "
                   "the weights alone): exits 0 "
                   "accepted, 3 rejected, 4 undecided");
  verb->add_option("--protocol", options->protocol, "llama.cpp or paper")->capture_default_str();
  verb->add_option("--context", options->context, "Tokens in a window (default: the protocol's)")
      ->check(count_within(1, kMostTokens));
  verb->add_option("--windows", options->windows, "Use only the first N windows; 0: all")
      ->check(count_within(0, kMostWindows));
  add_split(*verb, options->split);
  add_task_options(*verb, options->task);
  add_net_eval_options(*verb, options->net);
  add_detection_options(*verb, options->net);
  verb->add_option("--html", options->html, "Also write a page with charts that opens anywhere, offline");
  verb->add_flag("--layers", options->layers,
                 "Also show where in the model the damage is, layer by layer (each candidate runs twice)");
  verb->add_flag("--markdown", options->markdown, "Print a section for a model card");
  session.add_force_text(*verb);
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([options, verb, &session] { evaluate(*verb, *options, session); });
}

}  // namespace nibble::cli
