// SPDX-License-Identifier: Apache-2.0
//
// `nibble quantize` of a small net: its options beside those of models, and what is done.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/net_command.h"
#include "cli/session.h"
#include "nibble/quantize.h"

namespace nibble::cli {

struct NetQuantizeArguments {
  NetArguments net;
  std::vector<std::string> samples;  // of models: how many windows, see samples_of_models
  bool generates = false, is_dynamic = false;
  std::optional<double> max_drop;
  std::string metric = "sqnr", equalize = "auto", correct_biases = "auto";
};

// What a net and a model are asked alike, as it was given.
struct SharedQuantizeArguments {
  std::string model, format, output, method, activation_fit, runtime;
  std::vector<std::string> exclude, containers;
  LearningOptions learning;
  std::uint64_t seed = 0;
  bool writes = true;
};

void add_net_quantize_options(CLI::App& verb, NetQuantizeArguments& arguments);
// Error(invalid_argument): options of nets beside a model; --samples that is no number. nullopt: it was not given.
std::optional<std::uint64_t> samples_of_models(const CLI::App& verb, const NetQuantizeArguments& arguments);
void quantize_net_command(const CLI::App& verb, const NetQuantizeArguments& arguments,
                          const SharedQuantizeArguments& shared, Session& session);

}  // namespace nibble::cli
