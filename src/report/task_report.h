// SPDX-License-Identifier: Apache-2.0
//
// Task scores as JSON and for people.
#pragma once

#include <string>

#include "evaluate/tasks/task_verdict.h"
#include "report/verdict_json.h"
#include "report/verdict_tables.h"

namespace nibble {

// task, files, questions, planned, partial, left_out, models: a list of model, measures (by name: a figure), files (the
// same of each file), changes (by name: difference, changed, to_wrong, to_right, mcnemar_p)
Json to_json(const TaskVerdict& verdict);

// A line of JSON for each question: file, line, right (of choices: the option), models, a list of model,
// log_likelihoods, chosen and chosen_norm (of choices), text (what was generated), and whether the answer is right by
// each measure.
std::string answers_jsonl(const TaskVerdict& verdict);

std::string task_text(const TaskVerdict& verdict, const VerdictTextOptions& options);

}  // namespace nibble
