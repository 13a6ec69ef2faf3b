// SPDX-License-Identifier: Apache-2.0
//
// What a report page shows of a comparison or a verdict, as the JSON that html_page takes.
//
//   Json figures = page_figures(comparison, {.original = "fable-5M", .settings = {{"threads", "2"}}});
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "pipeline/judge/compare.h"
#include "pipeline/tell/model_portrait.h"
#include "report/json_report.h"
#include "report/task_report.h"

namespace nibble {

struct PageOptions {
  std::string original;                                         // its name
  std::vector<std::pair<std::string, std::string>> settings{};  // of the run: label, value
};

Json page_figures(const Comparison& comparison, const PageOptions& options);

// original, portraits: of the original beside itself and of each candidate.
Json page_figures(const PairedVerdict& verdict, const ModelPortrait& original,
                  const std::vector<ModelPortrait>& portraits, const PageOptions& options);

// Scores of a task, and what the candidates answer differently. options.original may be empty: then nothing is
// compared.
Json page_figures(const TaskVerdict& verdict, const PageOptions& options);

}  // namespace nibble
