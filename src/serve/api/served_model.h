// SPDX-License-Identifier: Apache-2.0
//
// What a server serves: a model, what it is called, and what requests get that say nothing else. Immutable, safe from
// many threads.
#pragma once

#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <vector>

#include "engine/decoder.h"
#include "model/model_template.h"
#include "nibble/generate.h"
#include "nibble/model.h"
#include "serve/scheduler.h"

namespace nibble::serve {

// Tensors of one format.
struct FormatShare {
  std::string format;
  std::uint64_t tensors = 0, parameters = 0, bytes = 0;
};

// What stands in a model's files, as far as they say it.
struct WeightFacts {
  std::string architecture, quantizer, activations;
  double bits_per_weight = 0;
  std::vector<FormatShare> formats;  // most bytes first
  std::string verdict;               // what a comparison with the original found, as Markdown
};

struct ServedModel {
  std::vector<std::string> names;  // the first is told
  const Tokenizer* tokenizer = nullptr;
  const ModelTemplate* chat_template = nullptr;  // none: it does not chat
  nlohmann::ordered_json template_variables = nlohmann::ordered_json::object();
  SamplerOptions sampler{};  // of requests that say nothing else; its seed is not used
  std::size_t context = 0, trained_context = 0, vocabulary = 0;
  std::size_t most_sequences = 8, most_together = 72;  // texts at work at once, and with those that wait
  std::uint64_t parameters = 0, bytes = 0;
  std::string kv;  // how keys and values are kept: "q8_0"
  std::time_t created = 0;
  WeightFacts weights;
};

WeightFacts weight_facts(const SourceModel& model);

// What a model is called where nobody says: its directory, or its file without ".gguf".
std::string default_model_name(const std::string& path);

// What models are called, as a message lists them: 'one', 'another'.
std::string list_names(std::span<const ServedModel> models);

}  // namespace nibble::serve
