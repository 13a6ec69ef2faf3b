// SPDX-License-Identifier: Apache-2.0
#include "engine/expert_groups.h"

#include <algorithm>
#include <numeric>

namespace nibble {

void ExpertGroups::fill(const float* routing, std::size_t tokens, std::size_t experts) {
  begin.assign(experts + 1, 0);
  first.assign(tokens + 1, 0);
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t e = 0; e < experts; ++e)
      if (routing[t * experts + e] != 0) {
        ++begin[e + 1];
        ++first[t + 1];
      }
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  std::partial_sum(first.begin(), first.end(), first.begin());
  token.resize(begin[experts]);
  weight.resize(begin[experts]);
  rows.resize(begin[experts]);
  std::vector<std::size_t> next(begin.begin(), begin.end() - 1);
  for (std::size_t t = 0; t < tokens; ++t) {
    std::size_t entry = first[t];
    for (std::size_t e = 0; e < experts; ++e) {
      const float w = routing[t * experts + e];
      if (w == 0) continue;
      const std::size_t row = next[e]++;
      token[row] = static_cast<std::uint32_t>(t);
      weight[row] = w;
      rows[entry++] = static_cast<std::uint32_t>(row);
    }
  }
}

void choose_experts(const float* logits, std::size_t tokens, std::size_t experts, const Route& route,
                    std::span<const float> correction, float* routing) {
  Route::Choice choice;
  for (std::size_t t = 0; t < tokens; ++t) {
    route.choose({logits + t * experts, experts}, correction, choice);
    float* const out = routing + t * experts;
    std::fill_n(out, experts, 0.0f);
    for (std::uint64_t i = 0; i < route.used; ++i) {
      const std::uint64_t e = choice.order[i];
      out[e] = static_cast<float>(choice.shares[e] / choice.total * static_cast<double>(route.factor));
    }
  }
}

}  // namespace nibble
