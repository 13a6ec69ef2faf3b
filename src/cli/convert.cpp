// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert/convert_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <tuple>

#include "base/elapsed.h"
#include "cli/convert_net.h"
#include "cli/onnx_options.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/text_files.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/export/container.h"
#include "pipeline/export/runtime.h"
#include "pipeline/tell/inspect.h"
#include "report/number_text.h"
#include "report/quantize_report.h"
#include "report/verdict_json.h"
#include "report/verdict_tables.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, output, shard_size;
  std::vector<std::string> texts;
  bool no_verdict = false;
  NetArguments net;
  OnnxArguments onnx;
  ConvertOptions request;
};

Json to_json(const ConvertSummary& summary, double seconds) {
  Json tensors = Json::array();
  for (const ConvertedTensor& tensor : summary.tensors) {
    Json one = {{"name", tensor.name},
                {"from", tensor.from},
                {"to", tensor.to},
                {"conversion", conversion_name(tensor.conversion)},
                {"numbers", tensor.numbers}};
    if (tensor.conversion == Conversion::rounded)
      one.update({{"changed", tensor.loss.changed},
                  {"largest_relative_change", std::isfinite(tensor.loss.largest) ? Json(tensor.loss.largest) : Json()},
                  {"relative_rms", tensor.loss.relative_rms}});
    tensors.push_back(std::move(one));
  }
  Json json = {{"output", summary.output.output.string()},
               {"bytes", summary.output.output_bytes},
               {"source_bytes", summary.output.source_bytes},
               {"exact", summary.is_exact()},
               {"tensors", std::move(tensors)},
               {"ignored", summary.output.ignored},
               {"notes", summary.output.notes},
               {"seconds", seconds}};
  if (summary.verdict) json["verdict"] = to_json(*summary.verdict);
  return json;
}

struct Row {
  std::uint64_t tensors = 0, numbers = 0, changed = 0;
  double rms = 0;
};

Table table_of(const ConvertSummary& summary) {
  std::map<std::tuple<std::string, std::string, Conversion>, Row> rows;
  for (const ConvertedTensor& tensor : summary.tensors) {
    Row& row = rows[{tensor.from, tensor.to, tensor.conversion}];
    ++row.tensors;
    row.numbers += tensor.numbers;
    row.changed += tensor.loss.changed;
    row.rms = std::max(row.rms, tensor.loss.relative_rms);
  }
  Table table({{"from"}, {"to"}, {"matrices", Align::right}, {"numbers", Align::right}, {""}});
  for (const auto& [key, row] : rows) {
    const auto& [from, to, conversion] = key;
    table.add(
        {from, to, std::to_string(row.tensors), count_text(row.numbers),
         conversion == Conversion::kept ? "kept as they are"
         : conversion == Conversion::exact
             ? "exact: the same numbers"
             : fmt::format("rounded: {} numbers change, the most changed matrix by {:.2g} of its root mean square",
                           grouped_text(row.changed), row.rms)});
  }
  return table;
}

bool may_judge(const Options& options) {
  return options.request.lossy && !options.request.dry_run && !options.no_verdict;
}

void judge_effects(const CLI::App& verb, const Options& options) {
  refuse_without_effect(verb, "--verify", may_judge(options),
                        "where nothing is judged (--lossy, without --dry-run and --no-verdict)");
  refuse_without_effect(verb, "--no-verdict", options.request.lossy && !options.request.dry_run,
                        "where nothing is judged (--lossy, without --dry-run)");
  refuse_without_effect(verb, "--force-text", may_judge(options), "without a text (--verify)");
}

// What is judged where numbers are rounded: both models in f32, so that nothing but the numbers differs.
std::optional<VerifyOptions> verify_options(const Options& options, const SourceModel& source, Session& session) {
  if (!may_judge(options)) return std::nullopt;
  const std::vector<std::string> texts = options.texts.empty() ? texts_beside(options.model) : options.texts;
  const std::string obstacle = source.has_tokenizer() ? obstacle_of(source) : "it has no tokenizer";
  if (!obstacle.empty() && options.texts.empty()) {
    session.note("note: what rounding costs is not judged, since the model cannot be run: " + obstacle);
    return std::nullopt;
  }
  if (texts.empty()) {
    session.note(
        "note: what rounding costs is counted, and judged only on a text: add --verify FILE (a file heldout.txt in the "
        "model's directory would be taken)");
    return std::nullopt;
  }
  VerifyOptions verify{.texts = session.read_named_texts(texts)};
  verify.judge.kernels.activations = ActivationMode::f32;
  verify.judge.kv = KvType::f32;
  return verify;
}

// Beside the model's, which convert_model looks at.
void judge_places(const Options& options, const Container& container) {
  if (options.texts.empty()) return;
  Places places;
  places.reads("--verify", options.texts);
  if (!options.request.dry_run)
    container.is_file() ? places.writes_file("--output", options.output)
                        : places.writes_directory("--output", options.output);
  places.judge();
}

void convert(const CLI::App& verb, Options& options, Session& session) {
  if (is_net(options.model)) {
    const std::string& names = options.request.container;
    return convert_net(verb, options.model, options.net, names.empty() ? std::vector<std::string>{} : split_list(names),
                       options.output, !options.request.dry_run, session);
  }
  for (const char* const option : {"--shape", "--constant"})
    refuse_without_effect(verb, option, false, "of models other than nets (.onnx, .tflite)");
  options.request.output = options.output;
  if (options.request.container.find(',') != std::string::npos)
    throw Error(ErrorKind::invalid_argument,
                "one container is written; give the command once for each, or make several of one quantization with "
                "'nibble quantize --to': " +
                    options.request.container);
  if (!options.shard_size.empty()) options.request.shard_bytes = shard_bytes_of_option(options.shard_size);
  const Container& container =
      options.request.container.empty() ? container_of(options.output) : find_container(options.request.container);
  refuse_without_effect(verb, "--shard-size", container.takes_shards(), "for a single weight file");
  const std::string written(container.name());
  options.request.onnx = onnx_options(verb, options.onnx, std::span(&written, 1));
  if (!options.request.runtime.empty()) find_runtime(options.request.runtime);
  options.request.onnx.is_for_tensorrt = options.request.runtime == "tensorrt";
  judge_effects(verb, options);
  judge_places(options, container);
  const auto start = std::chrono::steady_clock::now();
  const SourceModel source = SourceModel::open(options.model);
  options.request.verify = verify_options(options, source, session);
  session.announce_stages(options.request.verify ? std::vector<std::string>{"compare", "quantize", "evaluate"}
                                                 : std::vector<std::string>{"compare", "quantize"});
  const ConvertSummary summary = convert_model(source, options.request, session.machine(), session.progress());
  const double seconds = seconds_since(start);
  session.end_progress();
  for (const std::string& note : source_notes(summary.output)) session.note(note);
  if (session.json()) return session.print_json(to_json(summary, seconds));
  session.print(table_of(summary).text(session.style()) +
                fmt::format("\n{}\n", size_text(summary.output, options.request.dry_run)));
  if (!options.request.dry_run) session.print(fmt::format("{} in {}\n", options.output, duration_text(seconds)));
  if (summary.verdict) session.print("\n" + verdict_text(*summary.verdict, {.style = session.style()}));
}

}  // namespace

void add_convert(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("convert", "The same numbers in the other container, another type, or other shards");
  verb->footer(
      "Examples:\n  nibble convert model -o model.gguf                   a directory, quantized or not, as a GGUF "
      "file\n"
      "  nibble convert model.gguf -o model --shard-size 2GB  and back, in weight files of 2 GB\n"
      "  nibble convert model -o half --dtype f16 --lossy     numbers that f16 has not are rounded, and judged\n"
      "  nibble convert q4_k.gguf -o plain.gguf --dtype f32   codes written out\n"
      "  nibble convert q4_0.gguf -o out --to gptq            the same codes as vLLM reads them\n"
      "  nibble convert net.onnx -o net.tflite                a small net, in f32 or in the codes that it has\n\n"
      "Codes find their place again where a format has the same numbers ('nibble formats --containers' shows which);\n"
      "what has none is an error unless --lossy. 'nibble quantize' makes a model smaller.");
  verb->add_option("model", options->model, "Hugging Face directory or .gguf; or a net (.onnx, .tflite)")->required();
  verb->add_option("-o,--output", options->output,
                   "NAME.gguf: one file; anything else: a directory; of a net OUT.onnx, OUT.tflite or OUT.c")
      ->required();
  verb->add_option("--to", options->request.container,
                   "Container, where the name does not say it: " + container_names() +
                       "; of a net onnx, tflite, c, or several by commas, as OUT.onnx and so on");
  add_net_shape_options(*verb, options->net);
  add_onnx_options(*verb, options->onnx);
  verb->add_option("--for", options->request.runtime,
                   "The program that is to load the output, and must take all of it: " + runtime_names());
  verb->add_option("--dtype", options->request.dtype, "Every matrix in f32, f16 or bf16 (default: as it is)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  verb->add_flag("--lossy", options->request.lossy,
                 "Round what has no exact place to the nearest number, and tell how much, and what it cost");
  verb->add_option("--verify", options->texts,
                   "With --lossy: texts on which the output is judged against the model before it takes its place "
                   "(default: heldout.txt in the model's directory)");
  verb->add_flag("--no-verdict", options->no_verdict, "With --lossy: count what changes, judge nothing");
  verb->add_option("--shard-size", options->shard_size,
                   "The largest weight file of a directory: 2GB, 500MB (default 5GB)");
  verb->add_flag("--strict", options->request.strict, "What the container cannot hold beside weights is an error");
  verb->add_flag("--dry-run", options->request.dry_run, "Look at every number, write nothing");
  verb->add_flag("--sync", options->request.sync, "Have the disk confirm the output before it appears");
  session.add_force_text(*verb);
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] { convert(*verb, *options, session); });
}

}  // namespace nibble::cli
