// SPDX-License-Identifier: Apache-2.0
//
// Experts of a walk: each one's products with the rows of its tokens.
#include <algorithm>

#include "train/graph_run.h"

namespace nibble {

const ExpertGroups& GraphRun::groups_of(ValueId routing) {
  const auto [found, is_new] = groups_.try_emplace(routing);
  if (is_new) {
    found->second.fill(values_[routing].numbers.data(), batch_.tokens(), graph_.width(routing));
    expert_rows_ = found->second.token.size();
  }
  return found->second;
}

// The rows of their tokens, one expert's after another's.
std::vector<float> GraphRun::gathered(const ExpertGroups& groups, std::span<const float> x, std::size_t width) {
  std::vector<float> rows = room_.buffers.take(groups.token.size() * width);
  room_.machine.pool.parallel_for(groups.token.size(), 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) std::copy_n(&x[groups.token[i] * width], width, &rows[i * width]);
  });
  return rows;
}

void GraphRun::run_forward(const Node& node, const ExpertLinear& op) {
  const ExpertGroups& groups = groups_of(node.inputs[1]);
  const std::size_t cols = graph_.width(node.inputs[0]), rows = op.rows;
  const std::span<const float> given = values_[node.inputs[0]].numbers;
  std::vector<float> own;
  if (!is_by_expert(node.inputs[0])) own = gathered(groups, given, cols);
  const float* const x = own.empty() ? given.data() : own.data();
  std::vector<float>& y = make(node.output, groups.token.size() * rows);
  for (std::size_t e = 0; e + 1 < groups.begin.size(); ++e) {
    const std::size_t first = groups.begin[e], count = groups.begin[e + 1] - first;
    if (count == 0) continue;
    multiply({x + first * cols, cols}, {weight(expert_part(op.part, e)).values.data(), cols, true}, {count, rows, cols},
             {&y[first * rows], rows}, room_.arithmetic, room_.machine);
    if (op.has_bias)
      add_to_rows(std::span(y).subspan(first * rows, count * rows), weight(expert_part(op.bias(), e)).values);
  }
  room_.buffers.give_back(std::move(own));
}

void GraphRun::run_backward(const Node& node, const ExpertLinear& op) {
  const ExpertGroups& groups = groups_of(node.inputs[1]);
  const std::size_t cols = graph_.width(node.inputs[0]), rows = op.rows;
  const bool has_own = is_by_expert(node.inputs[0]);
  const std::span<const float> given = values_[node.inputs[0]].numbers;
  const std::vector<float>& dy = gradients_[node.output];
  std::vector<float> own, by_own;
  if (!has_own) own = gathered(groups, given, cols);
  const float* const x = has_own ? given.data() : own.data();
  const std::span<float> by_input = gradient_of(node.inputs[0]);
  if (!has_own && !by_input.empty()) by_own = room_.buffers.take(own.size());
  float* const dx = has_own ? by_input.data() : by_own.data();
  for (std::size_t e = 0; e + 1 < groups.begin.size(); ++e) {
    const std::size_t first = groups.begin[e], count = groups.begin[e + 1] - first;
    if (count == 0) continue;
    const float* const rows_of_y = &dy[first * rows];
    if (!by_input.empty())
      multiply({rows_of_y, rows}, {weight(expert_part(op.part, e)).values.data(), cols}, {count, cols, rows},
               {dx + first * cols, cols, has_own}, room_.arithmetic, room_.machine);
    if (const std::span<float> dw = weight_gradient(expert_part(op.part, e)); !dw.empty())
      multiply({rows_of_y, rows, true}, {x + first * cols, cols}, {rows, cols, count}, {dw.data(), cols, true},
               room_.arithmetic, room_.machine);
    if (op.has_bias)
      if (const std::span<float> by_bias = weight_gradient(expert_part(op.bias(), e)); !by_bias.empty())
        add_column_sums({rows_of_y, count * rows}, by_bias);
  }
  if (!by_own.empty())
    room_.machine.pool.parallel_for(batch_.tokens(), 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t)
        for (std::size_t r = groups.first[t]; r < groups.first[t + 1]; ++r)
          for (std::size_t i = 0; i < cols; ++i) by_input[t * cols + i] += by_own[groups.rows[r] * cols + i];
    });
  room_.buffers.give_back(std::move(own));
  room_.buffers.give_back(std::move(by_own));
}

void GraphRun::run_forward(const Node& node, const MixExperts&) {
  const ExpertGroups& groups = groups_of(node.inputs[1]);
  const std::size_t width = graph_.width(node.output);
  const std::span<const float> x = values_[node.inputs[0]].numbers;
  std::vector<float>& y = make(node.output, batch_.tokens() * width);
  room_.machine.pool.parallel_for(batch_.tokens(), 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) {
      std::fill_n(&y[t * width], width, 0.0F);
      for (std::size_t r = groups.first[t]; r < groups.first[t + 1]; ++r)
        for (std::size_t i = 0; i < width; ++i)
          y[t * width + i] += groups.weight[groups.rows[r]] * x[groups.rows[r] * width + i];
    }
  });
}

void GraphRun::run_backward(const Node& node, const MixExperts&) {
  const ExpertGroups& groups = groups_of(node.inputs[1]);
  const std::size_t width = graph_.width(node.output), experts = groups.begin.size() - 1;
  const std::span<const float> x = values_[node.inputs[0]].numbers;
  const std::vector<float>& dy = gradients_[node.output];
  const std::span<float> dx = gradient_of(node.inputs[0]), by_routing = gradient_of(node.inputs[1]);
  room_.machine.pool.parallel_for(experts, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t e = begin; e < end; ++e)
      for (std::size_t row = groups.begin[e]; row < groups.begin[e + 1]; ++row) {
        const std::size_t t = groups.token[row];
        double worth = 0;
        for (std::size_t i = 0; i < width; ++i) {
          worth += static_cast<double>(dy[t * width + i]) * static_cast<double>(x[row * width + i]);
          if (!dx.empty()) dx[row * width + i] += groups.weight[row] * dy[t * width + i];
        }
        if (!by_routing.empty()) by_routing[t * experts + e] += static_cast<float>(worth);
      }
  });
}

}  // namespace nibble
