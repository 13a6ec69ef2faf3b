// SPDX-License-Identifier: Apache-2.0
//
// The tokens of a batch by the experts that they are routed to: rows of one expert lie one after the other, in the
// tokens' order, so that each expert's matrix is read once for all of its tokens. Plain values; one thread at a time
// fills them.
//
//   groups.fill(routing, tokens, experts);
//   for (std::size_t e = 0; e < experts; ++e) multiply(expert[e], rows groups.begin[e] .. groups.begin[e + 1]);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "graph/op/route.h"

namespace nibble {

struct ExpertGroups {
  std::vector<std::size_t> begin;    // [experts + 1]: where an expert's rows begin
  std::vector<std::uint32_t> token;  // of each row
  std::vector<float> weight;         // of each row
  std::vector<std::size_t> first;    // [tokens + 1]: where a token's entries in `rows` begin
  std::vector<std::uint32_t> rows;   // of each token, by ascending expert

  // routing: [tokens, experts]; 0 where a token is not routed to an expert.
  void fill(const float* routing, std::size_t tokens, std::size_t experts);
};

// The routing of `route` from logits [tokens, experts], without its scales: the same numbers on every processor.
// correction: [experts], or empty.
void choose_experts(const float* logits, std::size_t tokens, std::size_t experts, const Route& route,
                    std::span<const float> correction, float* routing);

}  // namespace nibble
