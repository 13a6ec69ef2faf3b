// SPDX-License-Identifier: Apache-2.0
#include "cli/quantize_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/output_file.h"
#include "cli/onnx_options.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/verbs.h"
#include "evaluate/acceptance.h"
#include "net/quantize/net_method.h"
#include "nibble/error.h"
#include "pipeline/convert/several_containers.h"
#include "pipeline/export/container.h"
#include "pipeline/quantize/quantize_layers.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/recipe_json.h"
#include "pipeline/quantize/shorthand.h"
#include "quantize/fit/fit_rule.h"
#include "quantize/method.h"

namespace nibble::cli {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::invalid_argument, message); }

void judge_ways(const QuantizeArguments& a) {
  const int budgets = (a.bits ? 1 : 0) + (a.size.empty() ? 0 : 1) + (a.max_kl ? 1 : 0) + (a.pareto ? 1 : 0);
  const int ways = (a.format.empty() ? 0 : 1) + (a.recipe_file.empty() ? 0 : 1) + budgets;
  if (ways != 1)
    refuse(
        "name one of a format (-f q4_k_m), a recipe (--recipe FILE) and a budget (--bpw, --size, --max-kl, --pareto); "
        "'nibble formats' lists the formats");
  if (a.max_kl && !(*a.max_kl > 0 && std::isfinite(*a.max_kl)))
    refuse(fmt::format("a divergence to stay within is a number above 0, as in --max-kl 0.02: {}", *a.max_kl));
  if (!a.size.empty() && bytes_of_option(a.size, "--size") == 0)
    refuse("a file has more than 0 bytes; give a size, as in --size 3.5GB");
  if (budgets > 0 && a.texts.empty())
    refuse(
        "a budget is met by measuring on text what each tensor costs, and the result is judged on a part of it that is "
        "held out (or on --verify FILE); add --text FILE or --chat FILE");
  if (budgets > 0 && !(a.request.include.empty() && a.request.exclude.empty()))
    refuse("a budget decides of every matrix; --include and --exclude go with a format or a recipe");
  if (a.output.empty() && !a.request.dry_run && !a.pareto)
    refuse("no output is named; add -o OUT.gguf or -o DIRECTORY");
  if (a.verify.empty() && !a.accept.empty() && (budgets == 0 || a.pareto))
    refuse("what is accepted is judged on a text; add --verify TEXT");
}

void judge_names(const QuantizeArguments& a) {
  if (is_of_nets_alone(a.request.method))
    refuse(a.request.method +
           " rounds the weights of nets (.onnx, .tflite); layers of language models learn by signround or blockwise");
  find_method(a.request.method);
  if (!a.request.transform.empty()) find_transform(a.request.transform);
  if (!a.request.round.empty()) find_rounder(a.request.round);
  for (const std::string& format : {a.request.embedding, a.request.head})
    if (!format.empty()) find_format(format);
  if (!a.accept.empty()) parse_requirements(a.accept);
}

const Container& container_for(const QuantizeArguments& a) {
  return a.request.container.empty() ? container_of(a.output) : find_container(a.request.container);
}

// Several containers take what each of them holds, and a program may not read nibble's own.
std::string meant_format(const QuantizeArguments& a, const std::string& spelling) {
  if (a.containers.size() > 1) return resolve_shorthand(spelling, false);
  const Container& container = container_for(a);
  const bool holds_halves = container.name() == "nibble" && a.request.runtime.empty();
  return container.is_file() ? spelling : resolve_shorthand(spelling, holds_halves);
}

void judge_effects(const CLI::App& verb, const QuantizeArguments& a) {
  const bool judged = !a.verify.empty() || (a.has_budget() && !a.pareto);
  refuse_without_effect(verb, "--split", judged && !a.request.dry_run,
                        "where nothing is judged (--verify FILE or a budget)");
  refuse_without_effect(verb, "--candidates", a.has_budget(), "without a budget (--bpw, --size, --max-kl, --pareto)");
  refuse_without_effect(verb, "--verify", !a.request.dry_run && !a.pareto, "where nothing is written");
  refuse_without_effect(verb, "--original", a.request.allow_requantize && !a.pareto, "without --allow-requantize");
  refuse_without_effect(verb, "--sync", !a.request.dry_run && !a.pareto, "where nothing is written");
  refuse_without_effect(verb, "--accept", !a.request.dry_run && !a.pareto, "where nothing is written");
  for (const char* const option : {"--output", "--save-recipe", "--embedding", "--head", "--strict", "--dry-run"})
    refuse_without_effect(verb, option, !a.pareto, "beside --pareto, which writes nothing");
  refuse_without_effect(verb, "--force-text", !a.texts.empty() || !a.verify.empty(),
                        "without a text (--text, --verify)");
  const bool any_directory = a.containers.size() > 1 || (!a.output.empty() && container_for(a).takes_shards());
  refuse_without_effect(verb, "--shard-size", any_directory && !a.pareto, "for a single weight file");
  judge_text_files(verb, a.texts);
  for (const char* const option : {"--samples", "--length", "--seed", "--walk", "--hidden-states"})
    refuse_without_effect(verb, option, !a.texts.empty(), "without a text (--text, --chat)");
  if (verb.count("--hessian") > 0 && a.texts.empty())
    throw Error(ErrorKind::invalid_argument, "--hessian weighs a text's tokens: give one (--text, --chat)");
  refuse_without_effect(verb, "--special", !a.texts.empty() || !a.verify.empty(), "without a text (--text, --verify)");
  refuse_without_effect(verb, "--verbose", a.request.dry_run, "without --dry-run");
  if (verb.count("--json") > 0)
    refuse_without_effect(verb, "--verbose", false, "beside --json, which holds every tensor");
  const auto smooths = [](const Transform& transform) { return transform.rule == Transform::Rule::smoothquant; };
  const bool smoothing = smooths(a.request.transform.empty() ? find_method(a.request.method).transform
                                                             : find_transform(a.request.transform));
  refuse_without_effect(verb, "--alpha", smoothing || !a.recipe_file.empty(),
                        "without smoothquant (--method smoothquant)");
  const bool learns = find_method(a.request.method).learning != LayerLearning::none;
  for (const char* const option : {"--steps", "--batch", "--rate"})
    refuse_without_effect(verb, option, learns || !a.recipe_file.empty(),
                          "without a method that learns (--method signround, blockwise)");
  const bool is_static = a.request.activations && a.request.activations->format.is_static();
  if (!a.statistics.empty() && !a.texts.empty() && !a.has_budget() && !is_static)
    refuse("--stats takes the place of --text; leave out one of the two");
  if (a.request.calibration.sampling.samples == 0)
    refuse_without_effect(verb, "--seed", false, "with --samples 0, which takes all windows");
}

// What several processes make together is one output whose plan is known before the first of them begins.
void judge_sharing(const CLI::App& verb, const QuantizeArguments& a) {
  if (!a.part && !a.assembles && !a.is_distributed) return;
  const char* const option = a.part ? "--part" : a.assembles ? "--assemble" : "--distributed";
  if (a.part && a.assembles) refuse("--part makes pieces, --assemble the output of them; leave out one");
  if (a.is_distributed && (a.part || a.assembles))
    refuse("--distributed needs no parts: its ranks share the work themselves; leave out --part and --assemble");
  if (a.has_budget())
    refuse(fmt::format("{} goes with a format or a recipe: what a budget chooses follows from all tensors", option));
  if (a.containers.size() > 1)
    refuse(fmt::format("{} goes with one container; make others of its output with 'nibble convert --to'", option));
  if (!a.texts.empty() && !a.is_distributed)
    refuse(
        fmt::format("{}: a part does not know what text becomes in the layers of others; calibrate once ('nibble "
                    "calibrate --full') and give every part --stats FILE",
                    option));
  refuse_without_effect(verb, option, !a.request.dry_run, "where nothing is written");
  for (const char* const other : {"--verify", "--accept"})
    refuse_without_effect(verb, other, false,
                          fmt::format("with {}; judge the output with 'nibble eval --accept'", option));
  for (const char* const other : {"--sync", "--save-recipe", "--original"})
    refuse_without_effect(verb, other, !a.part, "with --part, which writes no output; give it with --assemble");
}

void judge_places(const QuantizeArguments& a) {
  Places places;
  places.reads("the model", a.model);
  places.reads("--recipe", a.recipe_file);
  a.texts.add_places(places);
  places.reads("--stats", a.statistics);
  places.reads("--verify", a.verify);
  const bool writes = !a.output.empty() && !a.request.dry_run;
  if (writes && a.containers.size() > 1) {
    for (const ContainerOutput& one : outputs_named(a.containers, a.output)) {
      const std::string what = fmt::format("--output in the container {}", one.container->name());
      one.container->is_file() ? places.writes_file(what, one.path) : places.writes_directory(what, one.path);
      places.writes_directory("the unfinished work of " + what, unfinished_work(one.path));
      require_replaceable(*one.container, one.path);
    }
  } else if (writes) {
    const bool is_file = container_for(a).is_file();
    is_file ? places.writes_file("--output", a.output) : places.writes_directory("--output", a.output);
    places.writes_directory("the unfinished work of --output", unfinished_work(a.output));
    const std::filesystem::path weights = unfinished_weights(a.output);
    const std::string of_weights = "the unfinished weights of --output";
    is_file ? places.writes_file(of_weights, weights) : places.writes_directory(of_weights, weights);
  }
  places.writes_file("--save-recipe", a.recipe_output);
  places.judge();
  if (writes && a.containers.size() <= 1) require_replaceable(container_for(a), a.output);
}

std::string fit_help() {
  std::string text = "How grids are chosen:";
  for (const NamedFit& fit : list_fits()) text += fmt::format("\n{}: {}", fit.name, fit.description);
  return text;
}

std::string container_help() {
  std::string text =
      "What is written, whatever the output's name ends in; several by commas are made of one quantization, with the "
      "same "
      "numbers, as OUT-NAME and OUT.gguf:";
  for (const Container* const container : list_containers())
    text += fmt::format("\n{}: {}", container->name(), container->description());
  text +=
      "\nof a net (.onnx, .tflite): onnx, tflite, c (with a header), or several of one quantization as OUT.onnx, "
      "OUT.tflite, OUT.c and OUT.h";
  return text;
}

// What is made of what, and where it goes.
void add_aims(CLI::App& verb, QuantizeArguments& arguments) {
  verb.add_option("model", arguments.model, "Hugging Face directory, .safetensors or .gguf; or a net (.onnx, .tflite)")
      ->required();
  verb.add_option(
      "-f,--format", arguments.format,
      "Format or mix: 'nibble formats' lists them; behind a plus the inputs' format: a8 (which is "
      "a8:g128:wide), a8:g32, a8:g64, a8:g128, "
      "each also with :wide, a16:g128, a8:token, a8:static, the latter two also with :asym. int2 and int3 that say "
      "nothing of zeros are int2:half (int2:signed outside of nibble's own container) and int3:signed, which "
      "lose least; int2:sym, int3:sym as they stand");
  verb.add_option("--recipe", arguments.recipe_file,
                  "JSON file of rules instead of a format: 'nibble recipe show q4_k_m --json' prints one");
  verb.add_option("--bpw", arguments.bits,
                  "Instead of a format: the mix that loses least at so many bits per weight; needs --text, a part of "
                  "which judges the result")
      ->check(number_within(1, 32));
  verb.add_option("--size", arguments.size, "The same for a file of so many bytes: 3.5GB, 800MiB");
  verb.add_option("--max-kl", arguments.max_kl,
                  "The smallest mix whose divergence, judged on text that calibration does not see, stays within this")
      ->check(number_within(0, 1000));
  verb.add_flag("--pareto", arguments.pareto,
                "Print size against expected divergence of the best mixes; write nothing");
  verb.add_option(
          "--candidates", arguments.candidates,
          "Formats that a budget chooses from, as in trellis2:l8,trellis3:l8,int4:g32; matrices that can have "
          "none of them stay as they are (default: of a GGUF file its K-quants, of nibble's directory "
          "trellises of 12 state bits, and where rows are looked up e8p2 and integers, with and without outliers)")
      ->delimiter(',');
  verb.add_option("--save-recipe", arguments.recipe_output, "Write the recipe that was used as JSON");
  verb.add_option("-o,--output", arguments.output,
                  "OUT.gguf for a GGUF file, any other name for a directory; of a net OUT.onnx, OUT.tflite or OUT.c");
  verb.add_option("--to", arguments.containers, container_help())->delimiter(',');
  verb.add_option("--shard-size", arguments.shard_size,
                  "The largest weight file of a directory: 2GB, 500MB (default 5GB)");
  add_onnx_options(verb, arguments.onnx);
  verb.add_option("--for", arguments.request.runtime,
                  "The program that is to load the output, and must take all of it; without --to it chooses the "
                  "container: " +
                      runtime_names());
}

// How values are chosen.
void add_methods(CLI::App& verb, QuantizeArguments& arguments) {
  verb.add_option(
          "--method", arguments.request.method,
          "How values are chosen: rtn, mse, imatrix, table, awq, smoothquant, gptq, descent; signround, blockwise: "
          "gptq, then each layer learns to give what the original's does. Of a net: " +
              net_method_names() + " (default rtn; of int4 descent)")
      ->capture_default_str();
  verb.add_option(
      "--transform", arguments.request.transform,
      "First stage in place of the method's: none, awq, smoothquant; hadamard: inputs are rotated while the "
      "model runs (container nibble), hadamard:fold: for good, in the weights, hadamard:both: so where it is exact");
  verb.add_option("--round", arguments.request.round, "Last stage in place of the method's: nearest, gptq, descent");
  verb.add_option("--alpha", arguments.request.smoothquant_alpha,
                  "Of smoothquant: how much range moves into the weights (default 0.5)")
      ->check(number_within(0, 1));
  LearningOptions& learning = arguments.request.learning;
  verb.add_option("--steps", learning.steps,
                  "Of signround, blockwise and adaround: steps in which a layer learns (default 200; of adaround 1000)")
      ->check(count_within(1, 1'000'000));
  verb.add_option("--batch", learning.batch,
                  "Of the same: calibration windows in a step (default 8); of adaround places of a layer's result "
                  "(default 512)")
      ->check(count_within(1, 4096));
  verb.add_option(
          "--rate", learning.rate,
          "Of signround how far what is rounded goes in a step at first, in distances between two points "
          "(default 1 / steps); of blockwise the share of the way to where its error is least (default 0.1); of "
          "adaround Adam's (default 0.01)")
      ->check(number_within(1e-9, 1));
}

// What methods and budgets look at.
void add_calibration(CLI::App& verb, QuantizeArguments& arguments) {
  add_text_files(verb, "Calibration text for methods that need it", arguments.texts);
  verb.add_option("--stats,--imatrix", arguments.statistics,
                  "Statistics of 'nibble calibrate', or llama.cpp's importance matrix, in place of a text; where no "
                  "method is named they choose "
                  "imatrix");
  add_net_quantize_options(verb, arguments.net);
  verb.add_option("--length", arguments.request.calibration.sampling.length, "Tokens in a calibration window")
      ->check(count_within(1, kMostTokens))
      ->capture_default_str();
  verb.add_option("--seed", arguments.request.calibration.sampling.seed, "Which windows are drawn")
      ->capture_default_str();
  verb.add_option_function<std::string>(
          "--hessian",
          [&arguments](const std::string& spelling) {
            arguments.request.calibration.hessian = parse_hessian(spelling);
          },
          "What moments of inputs weigh the text's tokens by: plain, all alike; guided, by how much the loss asks of "
          "what the layer gives for them (one backward pass); guided:4, the same for each of 4 groups of a matrix's "
          "rows; kl, for each matrix by itself, and errors of its outputs against each other, too (two passes for each "
          "run of layers that fits into memory). On few windows they may do worse "
          "than plain")
      ->default_str("plain");
  add_walk(verb, arguments.request.calibration.walk);
  add_hidden_states(verb, arguments.hidden_states);
}

// In place of what method and recipe say.
void add_choices(CLI::App& verb, QuantizeArguments& arguments) {
  verb.add_option("--fit", arguments.fit, fit_help());
  verb.add_option("--activation-fit", arguments.activation_fit,
                  "How static grids of activations (-f int8:row+a8:static) are chosen from --text or --stats: absmax, "
                  "percentile:99.99, mse (default), entropy");
  verb.add_option("--include", arguments.request.include,
                  "Only matrices whose names match are quantized: '*' is any text, names as in the model or in a GGUF "
                  "file; may be given more than once");
  verb.add_option("--exclude", arguments.request.exclude,
                  "Matrices that stay as they are, likewise: --exclude '*.attn_v.weight'");
  verb.add_option("--embedding", arguments.request.embedding, "Format of the embedding");
  verb.add_option("--head", arguments.request.head, "Format of the output head");
}

// One quantization by several processes.
void add_sharing(CLI::App& verb, QuantizeArguments& arguments) {
  verb.add_option_function<std::string>(
      "--part", [&arguments](const std::string& spelling) { arguments.part = parse_job_part(spelling); },
      "Make the second of eight parts (2/8) of the output's pieces, in OUTPUT.work, which all parts share: "
      "on any machines, in any order, again where one was ended; the same command otherwise. Methods that "
      "look at the data take --stats");
  verb.add_flag("--assemble", arguments.assembles,
                "Write the output of the pieces that --part has made, once all are there: the same bytes as one "
                "process makes");
  verb.add_flag("--distributed", arguments.is_distributed,
                "Of the processes that mpirun or srun starts, all with the same command: they share the text, the rows "
                "and the experts. Needs Open MPI; the same bytes for any number of processes");
}

// What must not happen, and what is looked at before the output takes its place.
void add_safeguards(CLI::App& verb, QuantizeArguments& arguments) {
  verb.add_flag("--strict", arguments.request.strict,
                "What the output cannot hold is an error: a tensor that does not fit its format, tokens that GGUF has "
                "no place for, a second head; "
                "so are statistics that have nothing of a layer's matrix");
  verb.add_flag("--dry-run", arguments.request.dry_run, "Show what would be written and how many bytes; write nothing");
  verb.add_flag("--verbose", arguments.verbose, "With --dry-run: also which tensor gets what");
  verb.add_flag("--allow-requantize", arguments.request.allow_requantize, "Quantize a model that is quantized already");
  verb.add_option("--original", arguments.original,
                  "With --allow-requantize: the model that this one was made from, to say what had been lost before");
  verb.add_flag("--sync", arguments.request.sync, "Have the disk confirm the output before it appears");
  verb.add_option("--verify", arguments.verify,
                  "Texts on which the output is judged against the model before it takes its place");
  verb.add_option("--accept", arguments.accept,
                  "With --verify: what is required, as in \"kl<=0.02, top1>=0.97\"; otherwise nothing is written (exit "
                  "3, undecided 4)");
  add_split(verb, arguments.split);
}

}  // namespace

CLI::App* add_quantize_arguments(CLI::App& app, QuantizeArguments& arguments) {
  CLI::App* const verb =
      app.add_subcommand("quantize", "Write a model in another format: to a GGUF file or a Hugging Face directory");
  verb->footer(
      "Examples:\n"
      "  nibble quantize models/fable-5M -f q4_k_m -o fable.gguf      a mix, as llama.cpp makes it\n"
      "  nibble quantize models/fable-5M -f int4:g32 -o fable-int4    planar: Linear layers only, in a directory\n"
      "  nibble quantize models/fable-5M -f int4:g32 --to gptq,gguf -o fable  fable-gptq and fable.gguf, the same "
      "numbers\n"
      "  nibble quantize models/fable-5M -f q4_k --head q6_k -o fable.gguf\n"
      "  nibble quantize models/fable-5M -f int8:row+a8:static --text models/fable-5M/calibration.txt -o fable-w8a8\n"
      "  nibble quantize models/fable-5M -f q2_k --dry-run --verbose which tensor gets what\n"
      "  nibble quantize models/fable-5M -f q4_k --method gptq --text models/fable-5M/calibration.txt -o fable.gguf\n"
      "  nibble quantize models/fable-5M --bpw 4.5 --method gptq --text models/fable-5M/calibration.txt -o fable.gguf\n"
      "  nibble quantize model.gguf -f f16 -o directory             GGUF to Hugging Face\n"
      "  seq 1 8 | xargs -P 2 -I% nibble quantize MODEL -f q4_k -o OUT.gguf --part %/8   then the same with "
      "--assemble\n"
      "  nibble quantize net.onnx -f int8 --samples inputs.npy -o net8.onnx   a small net, judged layer by layer");
  add_aims(*verb, arguments);
  add_methods(*verb, arguments);
  add_calibration(*verb, arguments);
  add_choices(*verb, arguments);
  add_safeguards(*verb, arguments);
  add_sharing(*verb, arguments);
  return verb;
}

void judge_arguments(const CLI::App& verb, QuantizeArguments& a) {
  if (const auto samples = samples_of_models(verb, a.net)) a.request.calibration.sampling.samples = *samples;
  judge_ways(a);
  judge_names(a);
  QuantizeModelOptions& request = a.request;
  if (!request.runtime.empty()) {
    const Runtime& runtime = find_runtime(request.runtime);
    if (a.containers.size() > 1) refuse("--for goes with one container; leave one of the two out");
    if (a.containers.empty() && (a.has_budget() || runtime.containers.size() == 1))
      a.containers.emplace_back(runtime.containers.front());
  }
  for (std::string& name : a.containers) {
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    find_container(name);
  }
  if (a.containers.size() == 1) request.container = a.containers.front();
  if (a.containers.size() > 1 && a.has_budget())
    refuse("a budget is met in one container; name one, and make the others of the result with 'nibble convert --to'");
  if (!a.format.empty()) choose_format(request, meant_format(a, a.format));
  for (std::string* const own : {&request.embedding, &request.head}) *own = meant_format(a, *own);
  for (std::string& name : a.candidates) {
    name = find_format(meant_format(a, name))->name();
    if (find_format(name)->info().kind == FormatKind::raw)
      refuse("a budget chooses among formats of codes; leave out: " + name);
  }
  if (!a.fit.empty()) request.fit = find_fit(a.fit);
  if (!a.activation_fit.empty()) {
    if (!request.activations || !request.activations->format.is_static())
      refuse("only static grids of activations are fitted; name a format such as int8:row+a8:static");
    request.activations->fit = find_fit(a.activation_fit);
  }
  // Statistics that are given are meant to be used: llama-quantize's --imatrix needs no other word either.
  const bool is_static = request.activations && request.activations->format.is_static();
  const bool names_method = verb.count("--method") + verb.count("--transform") + verb.count("--round") > 0;
  if (!a.statistics.empty() && !is_static && !names_method) request.method = "imatrix";
  request.onnx = onnx_options(verb, a.onnx, a.containers);
  request.onnx.is_for_tensorrt = request.runtime == "tensorrt";
  judge_effects(verb, a);
  judge_sharing(verb, a);
  judge_places(a);
  if (!a.shard_size.empty()) request.shard_bytes = shard_bytes_of_option(a.shard_size);
  request.output = a.output;
  request.calibration.spill_directory = spill_directory(a.hidden_states, a.output);
  if (!a.recipe_file.empty()) request.recipe = recipe_from_json(read_text(a.recipe_file), a.recipe_file);
}

void refuse_idle_methods(const CLI::App& verb, const QuantizeArguments& a, const SourceModel& source) {
  if (a.has_budget()) return;
  const QuantizePlan plan = plan_quantization(source, a.request);
  const bool quantizes = std::ranges::any_of(plan.tensors, [](const TensorPlan& tensor) {
    const Format& format = *tensor.target.format;
    return tensor.rows > 1 && format.info().kind != FormatKind::raw &&
           format.name() != tensor.source->values.format()->name();
  });
  for (const char* const option : {"--method", "--fit", "--transform", "--round"})
    refuse_without_effect(verb, option, quantizes, "where no tensor is quantized");
  const bool is_static = a.request.activations && a.request.activations->format.is_static();
  const bool looks = is_static || needs_calibration(plan, a.request);
  const std::string why = fmt::format(
      "with the method {}, which looks at weights only; name one that looks at the data (--method imatrix, gptq, awq)",
      a.request.method);
  for (const char* const option : {"--text", "--chat", "--stats"}) refuse_without_effect(verb, option, looks, why);
}

}  // namespace nibble::cli
