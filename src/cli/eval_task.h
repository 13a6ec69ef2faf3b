// SPDX-License-Identifier: Apache-2.0
//
// eval --task: models put to a task.
#pragma once

#include <string>
#include <vector>

#include "cli/places.h"
#include "cli/session.h"

namespace nibble::cli {

struct TaskArguments {
  std::vector<std::string> name_and_files, shots;
  std::string answers;  // a file to write; empty: none
  std::size_t num_shots = 0, limit = 0, max_tokens = 256;
};

void add_task_options(CLI::App& verb, TaskArguments& arguments);
// What the task reads and writes. Error(invalid_argument): an unknown task.
void add_task_places(const TaskArguments& arguments, Places& places);

struct TaskModels {
  std::vector<std::string> models;
  std::string against, html;  // empty: none
  bool markdown = false;
};

void evaluate_task(const TaskModels& models, const TaskArguments& arguments, Session& session);

}  // namespace nibble::cli
