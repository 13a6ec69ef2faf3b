// SPDX-License-Identifier: Apache-2.0
//
// What `nibble quantize` is asked on the command line, and whether it makes sense, before any work is done.
//
//   CLI::App* verb = add_quantize_arguments(app, arguments);
//   judge_arguments(*verb, arguments);  // also fills arguments.request
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/onnx_options.h"
#include "cli/quantize_net.h"
#include "cli/session.h"
#include "cli/text_files.h"
#include "distribute/transport.h"
#include "pipeline/quantize/job_part.h"
#include "pipeline/quantize/quantize_model.h"

namespace nibble::cli {

struct QuantizeArguments {
  std::string model, format, recipe_file, output, fit, activation_fit, original;
  OnnxArguments onnx;
  TextFiles texts;
  std::string statistics, size, shard_size, recipe_output, hidden_states = "memory";
  std::optional<double> bits, max_kl;
  std::vector<std::string> candidates;  // of a budget; empty: the container's
  bool pareto = false, verbose = false;
  QuantizeModelOptions request;
  NetQuantizeArguments net;
  std::vector<std::string> containers;  // of --to; several: one quantization in each
  std::vector<std::string> verify;
  std::optional<JobPart> part;  // of several processes that make the output together
  bool assembles = false;       // what they have made
  bool is_distributed = false;  // among the ranks of an MPI job,
  Transport* ranks = nullptr;   // which are these
  std::string accept;
  std::size_t split = kUsualSplitWindows;

  bool has_budget() const { return bits || max_kl || !size.empty() || pareto; }
};

// The verb with its options; `arguments` must outlive it.
CLI::App* add_quantize_arguments(CLI::App& app, QuantizeArguments& arguments);

// Error(invalid_argument) when they contradict each other, name what is not known, or one would have no effect. Reads
// the recipe's file, if any.
void judge_arguments(const CLI::App& verb, QuantizeArguments& arguments);

// Error(invalid_argument) where nothing of this model would use a text, statistics or a method that are named.
void refuse_idle_methods(const CLI::App& verb, const QuantizeArguments& arguments, const SourceModel& source);

}  // namespace nibble::cli
