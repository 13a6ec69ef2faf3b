// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert/convert_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <tuple>

#include "base/elapsed.h"
#include "cli/onnx_options.h"
#include "cli/option_checks.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/export/container.h"
#include "pipeline/export/runtime.h"
#include "report/number_text.h"
#include "report/quantize_report.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, output, shard_size;
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
  return {{"output", summary.output.output.string()},
          {"bytes", summary.output.output_bytes},
          {"source_bytes", summary.output.source_bytes},
          {"exact", std::ranges::none_of(
                        summary.tensors,
                        [](const ConvertedTensor& tensor) { return tensor.conversion == Conversion::rounded; })},
          {"tensors", std::move(tensors)},
          {"ignored", summary.output.ignored},
          {"notes", summary.output.notes},
          {"seconds", seconds}};
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

void convert(const CLI::App& verb, Options& options, Session& session) {
  options.request.output = options.output;
  if (!options.shard_size.empty()) options.request.shard_bytes = bytes_of_option(options.shard_size, "--shard-size");
  const Container& container =
      options.request.container.empty() ? container_of(options.output) : find_container(options.request.container);
  refuse_without_effect(verb, "--shard-size", container.takes_shards(), "for a single weight file");
  const std::string written(container.name());
  options.request.onnx = onnx_options(verb, options.onnx, std::span(&written, 1));
  if (!options.request.runtime.empty()) find_runtime(options.request.runtime);
  options.request.onnx.is_for_tensorrt = options.request.runtime == "tensorrt";
  session.announce_stages({"compare", "quantize"});
  const auto start = std::chrono::steady_clock::now();
  const SourceModel source = SourceModel::open(options.model);
  const ConvertSummary summary = convert_model(source, options.request, session.machine(), session.progress());
  const double seconds = seconds_since(start);
  session.end_progress();
  for (const std::string& note : source_notes(summary.output)) session.note(note);
  if (session.json()) return session.print_json(to_json(summary, seconds));
  session.print(table_of(summary).text(session.style()) +
                fmt::format("\n{}\n", size_text(summary.output, options.request.dry_run)));
  if (!options.request.dry_run) session.print(fmt::format("{} in {}\n", options.output, duration_text(seconds)));
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
      "  nibble convert model -o half --dtype f16 --lossy     numbers that f16 has not are rounded, and counted\n"
      "  nibble convert q4_k.gguf -o plain.gguf --dtype f32   codes written out\n"
      "  nibble convert q4_0.gguf -o out --to gptq            the same codes as vLLM reads them\n\n"
      "Codes find their place again where a format has the same numbers ('nibble formats --containers' shows which);\n"
      "what has none is an error unless --lossy. 'nibble quantize' makes a model smaller.");
  verb->add_option("model", options->model, "Hugging Face directory or .gguf")->required();
  verb->add_option("-o,--output", options->output, "NAME.gguf: one file; anything else: a directory")->required();
  verb->add_option("--to", options->request.container,
                   "Container, where the name does not say it: " + container_names());
  add_onnx_options(*verb, options->onnx);
  verb->add_option("--for", options->request.runtime,
                   "The program that is to load the output, and must take all of it: " + runtime_names());
  verb->add_option("--dtype", options->request.dtype, "Every matrix in f32, f16 or bf16 (default: as it is)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  verb->add_flag("--lossy", options->request.lossy,
                 "Round what has no exact place to the nearest number, and tell how much");
  verb->add_option("--shard-size", options->shard_size,
                   "The largest weight file of a directory: 2GB, 500MB (default 5GB)");
  verb->add_flag("--strict", options->request.strict, "What the container cannot hold beside weights is an error");
  verb->add_flag("--dry-run", options->request.dry_run, "Look at every number, write nothing");
  verb->add_flag("--sync", options->request.sync, "Have the disk confirm the output before it appears");
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] { convert(*verb, *options, session); });
}

}  // namespace nibble::cli
