// SPDX-License-Identifier: Apache-2.0
#include "engine/expert_groups.h"

#include <algorithm>
#include <cmath>
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

void choose_experts(const float* logits, std::size_t tokens, std::size_t experts, std::size_t used, bool normalizes,
                    float* routing) {
  std::vector<std::size_t> order(experts);
  std::vector<double> p(experts);
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* const given = logits + t * experts;
    float* const out = routing + t * experts;
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto is_before = [&](std::size_t a, std::size_t b) {
      return given[a] != given[b] ? given[a] > given[b] : a < b;
    };
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(used), order.end(), is_before);
    double sum = 0;
    for (std::size_t i = 0; i < (normalizes ? used : experts); ++i) {
      const std::size_t e = normalizes ? order[i] : i;
      sum += p[e] = std::exp(static_cast<double>(given[e]) - static_cast<double>(given[order[0]]));
    }
    std::fill_n(out, experts, 0.0f);
    for (std::size_t i = 0; i < used; ++i) out[order[i]] = static_cast<float>(p[order[i]] / sum);
  }
}

}  // namespace nibble
