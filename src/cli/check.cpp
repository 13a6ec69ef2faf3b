// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <ranges>

#include "cli/net_command.h"
#include "cli/option_checks.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/convert/same_numbers.h"
#include "pipeline/tell/inspect.h"
#include "report/number_text.h"
#include "report/table.h"

namespace nibble::cli {
namespace {

constexpr std::size_t kShown = 20;

Json to_json(const NumbersComparison& result) {
  Json tensors = Json::array();
  for (const TensorDifference& tensor : result.differing)
    tensors.push_back({{"name", tensor.name},
                       {"format", tensor.format},
                       {"other_format", tensor.other_format},
                       {"numbers", tensor.numbers},
                       {"changed", tensor.changed},
                       {"largest", std::isfinite(tensor.largest) ? Json(tensor.largest) : Json()},
                       {"relative_rms", std::isfinite(tensor.relative_rms()) ? Json(tensor.relative_rms()) : Json()},
                       {"row", tensor.row},
                       {"col", tensor.col}});
  return {{"same", result.is_same()},
          {"tensors", result.tensors},
          {"numbers", result.numbers},
          {"recoded", result.recoded},
          {"configuration", result.configuration},
          {"differing", std::move(tensors)}};
}

void compare_with(const std::string& model, const std::string& other, Session& session) {
  const NumbersComparison result =
      compare_numbers(SourceModel::open(model), SourceModel::open(other), session.pool(), session.progress());
  session.end_progress();
  for (const std::string& difference : result.configuration)
    session.note("warning: the configurations differ: " + difference);
  if (session.json()) {
    session.print_json(to_json(result));
  } else if (result.is_same()) {
    session.print(
        fmt::format("the same numbers: {} tensors, {}{}\n", result.tensors, grouped_text(result.numbers),
                    result.recoded == 0 ? "" : fmt::format("; {} matrices are in another format", result.recoded)));
  } else {
    Table table({{"tensor"},
                 {"format"},
                 {"other's"},
                 {"changed", Align::right},
                 {"by up to", Align::right},
                 {"of root mean square", Align::right}});
    for (const TensorDifference& tensor : result.differing | std::views::take(kShown))
      table.add({tensor.name, tensor.format, tensor.other_format, grouped_text(tensor.changed),
                 std::isfinite(tensor.largest) ? fmt::format("{:.3g}", tensor.largest) : "no number",
                 std::isfinite(tensor.relative_rms()) ? percent_text(tensor.relative_rms()) : "no share"});
    session.print(table.text(session.style()));
  }
  if (result.is_same()) return;
  const TensorDifference& first = result.differing.front();
  throw Error(ErrorKind::unusable_input,
              fmt::format("{} does not hold the numbers of {}: {} of {} tensors differ, the first at row {}, column {} "
                          "of '{}'",
                          model, other, result.differing.size(), result.tensors, first.row, first.col, first.name));
}

// With --json, one that cannot be opened is an answer, too.
SourceModel open_to_check(const std::string& model, Session& session) {
  try {
    return SourceModel::open(model);
  } catch (const Error& error) {
    if (session.json()) session.print_json({{"sound", false}, {"obstacle", error.what()}});
    throw;
  }
}

void check(const std::string& model, Session& session) {
  const SourceModel checkpoint = open_to_check(model, session);
  const CheckResult result = check_checkpoint(checkpoint, kShown, session.pool(), session.progress());
  const std::string obstacle = result.total == 0 ? obstacle_of(checkpoint) : std::string();
  if (session.json()) {
    Json json = to_json(result);
    json["obstacle"] = obstacle.empty() ? Json(nullptr) : Json(obstacle);
    session.print_json(json);
  } else {
    std::string text;
    for (const Defect& defect : result.defects)
      text += defect.tensor.empty()
                  ? fmt::format("{}: {}\n", defect.file, defect.what)
                  : fmt::format("{}: tensor '{}', row {}: {}\n", defect.file, defect.tensor, defect.row, defect.what);
    if (result.total == 0)
      text += fmt::format("sound: {} tensors, {} rows, {}\n", result.tensors, grouped_text(result.rows),
                          bytes_text(result.bytes));
    session.print(text);
  }
  const std::uint64_t rows = result.total - result.overlong - result.changed;
  std::string found = rows > 0 ? fmt::format("{} rows hold values that no writer should have stored", rows) : "";
  if (result.overlong > 0)
    found += fmt::format("{}{} files go on behind their last tensor", found.empty() ? "" : ", ", result.overlong);
  if (result.changed > 0)
    found +=
        fmt::format("{}{} weight files are not those that were written", found.empty() ? "" : ", ", result.changed);
  if (!found.empty()) throw Error(ErrorKind::corrupt, fmt::format("{}: {}; get the file anew", model, found));
  if (!obstacle.empty())
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: the file is sound, but the model in it cannot be run: {}", model, obstacle));
}

}  // namespace

void add_check(CLI::App& app, Session& session) {
  struct Options {
    std::string model, against;
    NetArguments net;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("check", "Validate a whole file: structure, every row of every tensor, its end");
  verb->footer(
      "Examples:\n  nibble check model.gguf\n  nibble check model.gguf --json\n  nibble check out-gptq --against "
      "out.gguf   whether both hold the same numbers\n\nExit code 1 when there is a defect, a model that cannot be "
      "run, or a "
      "difference; the first 20 are shown.");
  verb->add_option("model", options->model, "Hugging Face directory, .safetensors or .gguf; or a net (.onnx, .tflite)")
      ->required();
  verb->add_option("--against", options->against,
                   "Another file of the network: every number of both is decoded and compared, whatever containers and "
                   "formats they are in");
  add_net_options(*verb, options->net);
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] {
    if (is_net(options->model)) {
      refuse_without_effect(*verb, "--against", false, "of nets");
      return check_net(options->model, net_options(options->net), session);
    }
    refuse_net_options(*verb);
    verb->count("--against") == 0 ? check(options->model, session)
                                  : compare_with(options->model, options->against, session);
  });
}

}  // namespace nibble::cli
