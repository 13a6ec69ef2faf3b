// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/tell/inspect.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

constexpr std::size_t kShown = 20;

void check(const std::string& model, Session& session) {
  const SourceModel checkpoint = SourceModel::open(model);
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
    if (!obstacle.empty()) text += "the file is sound, but the model in it cannot be run: " + obstacle + "\n";
    session.print(text);
  }
  const std::uint64_t rows = result.total - result.overlong;
  std::string found = rows > 0 ? fmt::format("{} rows hold values that no writer should have stored", rows) : "";
  if (result.overlong > 0)
    found += fmt::format("{}{} files go on behind their last tensor", found.empty() ? "" : ", ", result.overlong);
  if (!found.empty()) throw Error(ErrorKind::corrupt, fmt::format("{}: {}; get the file anew", model, found));
}

}  // namespace

void add_check(CLI::App& app, Session& session) {
  const auto model = std::make_shared<std::string>();
  CLI::App* const verb =
      app.add_subcommand("check", "Validate a whole file: structure, every row of every tensor, its end");
  verb->footer(
      "Examples:\n  nibble check model.gguf\n  nibble check model.gguf --json\n\nExit code 1 when there is a defect; "
      "the first 20 are shown.");
  verb->add_option("model", *model, "Hugging Face directory, .safetensors or .gguf")->required();
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([model, &session] { check(*model, session); });
}

}  // namespace nibble::cli
