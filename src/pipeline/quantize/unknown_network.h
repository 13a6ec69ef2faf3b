// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints whose network no family draws: an encoder, a vision tower, a newer decoder, weights without a
// configuration. Every matrix of numbers is taken for a Linear of which nothing but its weights is known; names tell
// what is looked up, what makes logits, and what is left as it is (norms, routers, tables of positions, whatever has
// more than two dimensions but for the stacks of experts of GGUF files). Internal to pipeline/; pure.
//
//   if (!has_known_family(source)) plan(read_unknown_network(source));
#pragma once

#include <string>
#include <vector>

#include "model/arch/architecture.h"
#include "model/source_model.h"

namespace nibble {

struct UnknownNetwork {
  std::string reason;  // what the configuration says, and what it could say
  ModelConfig facts;   // what recipes ask of a model: layers, and heads where keys tell them; no architecture
  std::uint64_t num_experts = 0;
  std::vector<ModelTensor> tensors;         // as they are stored, by their own names
  std::vector<const StoredTensor*> stored;  // of each
  std::vector<std::string> left_out;        // "position_ids (I64)": elements that are no weights, or none at all
};

// Errors: unsupported where another program has quantized the checkpoint (names it), corrupt.
UnknownNetwork read_unknown_network(const SourceModel& source);

}  // namespace nibble
