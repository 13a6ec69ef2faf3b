// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "cli/net_command.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/net/train_net.h"
#include "report/net_training_report.h"
#include "train/estimator/estimator.h"

namespace nibble::cli {
namespace {

struct Options {
  NetArguments net;
  std::vector<std::string> containers;
  std::string path, teacher, output, fall = "cosine";
  bool stores_int4 = false;
  double relative_rate = 1e-2;
  TrainNetRequest request;
};

bool is_coarse(const std::string& format) {
  return format.starts_with("ternary") || format.starts_with("binary") || format.starts_with("int2");
}

// From nothing weights go as far, whatever they are. Where they have learnt before their sizes mean something, and what
// is rounded coarsely has to go a good part of it.
void choose_rate(const CLI::App& verb, double relative, TrainNetRequest& request) {
  NetTrainerSettings& settings = request.settings;
  if (verb.count("--rate") > 0 && verb.count("--relative-rate") > 0)
    throw Error(ErrorKind::invalid_argument, "--rate and --relative-rate exclude each other; leave out one of the two");
  settings.is_relative = verb.count("--relative-rate") > 0 ||
                         (verb.count("--rate") == 0 && !request.is_anew && is_coarse(request.quantize));
  if (settings.is_relative)
    settings.rate = relative;
  else if (verb.count("--rate") == 0)
    settings.rate = request.is_anew ? 2e-3 : 2e-4;
}

void train(const CLI::App& verb, Options& options, Session& session) {
  TrainNetRequest& request = options.request;
  if (!is_net(options.path))
    throw Error(ErrorKind::invalid_argument,
                options.path + ": is no net (.onnx, .tflite); `nibble train` trains language models");
  Places places;
  places.reads("the net", options.path);
  places.reads("--labels", request.data.labels);
  places.reads("--teacher", options.teacher);
  request.outputs = arrange_net_outputs(options.containers, options.output);
  for (NetOutput& output : request.outputs) output.few_bits = options.stores_int4 ? FewBits::int4 : FewBits::packed;
  for (const NetOutput& output : request.outputs)
    for (const std::filesystem::path& file : output.files()) places.writes_file("--output", file);
  places.judge();
  for (const char* const option : {"--ends", "--estimator", "--scale-rate"})
    refuse_without_effect(verb, option, !request.quantize.empty(), "without --quantize");
  const bool has_teacher = !options.teacher.empty() || request.data.labels.empty();
  if (request.data.labels.empty() && request.is_anew && options.teacher.empty())
    throw Error(ErrorKind::invalid_argument,
                "a net that begins anew learns from --labels, or from a --teacher that knows them");
  refuse_without_effect(verb, "--temperature", has_teacher, "without --teacher");
  refuse_without_effect(verb, "--teacher-share", !options.teacher.empty() && !request.data.labels.empty(),
                        "without --teacher beside --labels");
  choose_rate(verb, options.relative_rate, request);
  request.net = options.path;
  request.options = net_options(options.net);
  request.teacher = options.teacher;
  request.settings.fall = *find_rate_fall(options.fall);
  session.tell_items();
  request.progress = session.progress();
  request.note = [&](const std::string& note) { session.note(note); };
  const TrainNetSummary summary = train_net(request, session.machine());
  session.end_progress();
  if (session.json()) return session.print_json(to_json(summary));
  if (!summary.parts.empty()) session.print(trained_parts_table(summary).text(session.style()) + "\n");
  session.print(net_training_text(summary));
}

std::string estimator_help() {
  std::string help =
      "What stands for the slope of rounding, where it takes the format (default: twn of ternary, bwn of binary, else "
      "what serves the format best)";
  for (const Estimator* const estimator : list_estimators())
    help += fmt::format("; {}: {}", estimator->name(), estimator->description());
  return help;
}

}  // namespace

void add_train_net(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  TrainNetRequest& request = options->request;
  NetTrainerSettings& settings = request.settings;
  CLI::App* const verb =
      app.add_subcommand("train-net", "Train a small net (.onnx, .tflite) on examples, in f32 or rounded to few bits");
  verb->footer(
      "Examples:\n"
      "  nibble train-net digits.onnx --data x.npy --labels y.npy --anew --shift 2 -o mine.onnx\n"
      "  nibble train-net mine.onnx --data x.npy --labels y.npy -q ternary -o mine-ternary.onnx\n"
      "  nibble train-net mine.onnx --data x.npy --labels y.npy -q binary --signs -o mine-binary.onnx\n"
      "  nibble train-net kws.tflite --data x.npy -q int4 -o kws4.onnx            to decide as it did, without "
      "labels\n\n"
      "The state of a run lies beside the output, in OUTPUT.training: the same command goes on where it was "
      "interrupted, and ends in the same bytes.");
  verb->add_option("net", options->path, "The net that is trained: its shape, and with what it begins")->required();
  verb->add_option("--data", request.data.samples,
                   "Examples of its inputs, FILE.npy, NAME=FILE.npy, FILE.npz, a directory of these or of ONNX's test "
                   "data; may be given more than once")
      ->required()
      ->allow_extra_args(false);
  verb->add_option("--labels", request.data.labels,
                   "The right class of each example, .npy or text with a whole number a line (default: none; what the "
                   "net, or the teacher, decides is learnt)");
  verb->add_option("-o,--output", options->output, "OUT.onnx, OUT.tflite or OUT.c")->required();
  verb->add_option("--to", options->containers, "onnx, tflite, c; several, with commas, as OUT.onnx, ...")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb->add_flag("--anew", request.is_anew, "Begin with random weights (default: with those of the net)");
  verb->add_option("-q,--quantize", request.quantize,
                   "Round weights of convolutions and matrices while they are trained, a scale for each row: int8, "
                   "int4, int2, ternary or binary");
  verb->add_option("--ends", request.ends,
                   "The same of the first and the last of them (default: int8 beside int2, ternary and binary, else as "
                   "the others)");
  verb->add_flag("--signs", request.takes_signs,
                 "Those between read signs, 1 or -1, of what they read before, behind a norm: with -q binary products "
                 "are counts of equal bits");
  verb->add_flag("--qdq", options->stores_int4,
                 "In ONNX, store ternary and binary weights as int4 behind a DequantizeLinear (default: in 2 bits and "
                 "1, which standard operators take apart when a runtime loads the file)");
  verb->add_option("--estimator", request.estimator, estimator_help());
  verb->add_option("--teacher", options->teacher, "Learn what this net, of the same inputs and classes, decides");
  verb->add_option("--teacher-share", settings.teacher_share, "Of the loss; the rest is of the labels")
      ->check(number_within(0, 1))
      ->capture_default_str();
  verb->add_option("--temperature", settings.temperature, "At which the teacher is heard")
      ->check(number_within(0.01, 100))
      ->capture_default_str();
  verb->add_option("--epochs", settings.epochs, "Passes over the examples")
      ->check(count_within(1, 1'000'000))
      ->capture_default_str();
  verb->add_option("-b,--batch", settings.batch, "Examples of a step")
      ->check(count_within(1, 65536))
      ->capture_default_str();
  verb->add_option("--rate", settings.rate,
                   "Learning rate of AdamW (default 0.002 with --anew, else 0.0002, but for int2, ternary and binary)")
      ->check(number_within(1e-9, 10));
  verb->add_option("--relative-rate", options->relative_rate,
                   "The same as a share of each matrix's root mean square at the beginning (default without --anew of "
                   "int2, ternary and binary, 0.01)")
      ->check(number_within(1e-9, 10));
  verb->add_option("--scale-rate", settings.scale_rate, "Learning rate of learned scales, as a share of each")
      ->check(number_within(1e-9, 10))
      ->capture_default_str();
  verb->add_option("--weight-decay", settings.weight_decay, "Of weights that are not rounded")
      ->check(number_within(0, 10))
      ->capture_default_str();
  verb->add_option("--clip", settings.clip, "The longest gradient; 0: any")
      ->check(number_within(0, 1e9))
      ->capture_default_str();
  verb->add_option("--fall", options->fall, "How the rate falls: constant, linear or cosine")
      ->check(CLI::IsMember({"constant", "linear", "cosine"}))
      ->capture_default_str();
  verb->add_option("--warm-up", settings.warm_up, "Share of the steps in which the rate rises")
      ->check(number_within(0, 1))
      ->capture_default_str();
  verb->add_option("--shift", settings.shift, "Move pictures by up to so many places, another way every time")
      ->check(count_within(0, 65536))
      ->capture_default_str();
  verb->add_flag("--mirror", settings.mirrors, "Mirror every other picture, left to right");
  verb->add_option("--held-out", request.held_out,
                   "Share of the examples that judges before the first pass and after each; what did best is written, "
                   "what it began with included, unless that is random")
      ->check(number_within(0, 0.9))
      ->capture_default_str();
  verb->add_option("--seed", settings.seed, "Of random weights, and of the order of the examples")
      ->capture_default_str();
  verb->add_option("--save-every", request.save_every, "Steps between states on disk")
      ->check(count_within(1, 1'000'000'000))
      ->capture_default_str();
  add_net_shape_options(*verb, options->net);
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] { train(*verb, *options, session); });
}

}  // namespace nibble::cli
