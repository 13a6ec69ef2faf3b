// SPDX-License-Identifier: Apache-2.0
//
// What all ways of asking for a text have in common: how tokens are chosen, where it ends, how it is sent.
#pragma once

#include "serve/api/request_fields.h"
#include "serve/api/served_model.h"
#include "serve/generation.h"

namespace nibble::serve {

inline constexpr std::size_t kMostChoices = 8, kMostStops = 16, kMostChances = 20, kMostBiases = 1024;

struct GenerationFields {
  GenerationRequest request;  // without a prompt
  std::size_t choices = 1;    // each with a seed of its own
  bool streams = false, includes_usage = false;
};

// most_tokens: where the request does not say. ApiError(400) names the field; 404: another model is asked for.
GenerationFields read_generation_fields(const RequestFields& fields, const ServedModel& model, std::size_t most_tokens);

// Of choice number i.
GenerationRequest choice_of(const GenerationFields& fields, std::vector<std::int32_t> prompt, std::size_t i);

}  // namespace nibble::serve
