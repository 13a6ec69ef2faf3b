// SPDX-License-Identifier: Apache-2.0
//
// Linears and attention of a walk: dense products.
#include <algorithm>

#include "train/attention_products.h"
#include "train/graph_run.h"

namespace nibble {

void GraphRun::add_to_rows(std::span<float> y, std::span<const float> bias) {
  const std::size_t width = bias.size();
  room_.machine.pool.parallel_for(y.size() / width, 32, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row)
      for (std::size_t i = 0; i < width; ++i) y[row * width + i] += bias[i];
  });
}

void GraphRun::add_column_sums(std::span<const float> rows, std::span<float> sums) {
  constexpr std::size_t kColumns = 64;
  const std::size_t width = sums.size();
  room_.machine.pool.parallel_for(width, kColumns, [&](std::size_t begin, std::size_t end, std::size_t) {
    double totals[kColumns] = {};
    for (std::size_t place = 0; place < rows.size(); place += width)
      for (std::size_t i = begin; i < end; ++i) totals[i - begin] += static_cast<double>(rows[place + i]);
    for (std::size_t i = begin; i < end; ++i) sums[i] += static_cast<float>(totals[i - begin]);
  });
}

const float* GraphRun::rounded_inputs(std::string_view part, std::span<const float> x, std::size_t cols,
                                      std::vector<float>& room) {
  NetworkWeight* const found = weights_.find(layer_, part);
  if (found == nullptr || !found->inputs) return x.data();
  InputRounding& rounding = *found->inputs;
  // A static grid is that of the first batch that is seen.
  if (rounding.format.is_static() && rounding.grid.scale == 0) rounding.grid = reaching_grid(x, rounding.format);
  room = room_.buffers.take(x.size());
  round_inputs(x, cols, rounding, room, room_.machine.pool);
  return room.data();
}

bool GraphRun::cuts_inputs_off(std::string_view part) const {
  const NetworkWeight* const found = weights_.find(layer_, part);
  return found != nullptr && found->inputs && found->inputs->format.is_static();
}

void GraphRun::cut_slopes(std::string_view part, std::span<const float> x, std::span<float> slopes) const {
  const InputRounding& rounding = *weights_.find(layer_, part)->inputs;
  room_.machine.pool.parallel_for(x.size(), std::size_t{1} << 14, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i)
      if (is_cut_off(x[i], rounding.grid, rounding.format.is_asymmetric)) slopes[i] = 0;
  });
}

void GraphRun::run_forward(const Node& node, const Linear& op) {
  const std::size_t cols = graph_.width(node.inputs[0]), rows = op.rows, tokens = batch_.tokens();
  std::vector<float>& y = make(node.output, tokens * rows);
  std::vector<float> room;
  const float* const x = rounded_inputs(op.part, values_[node.inputs[0]].numbers, cols, room);
  multiply({x, cols}, {weight(op.part).values.data(), cols, true}, {tokens, rows, cols}, {y.data(), rows},
           room_.arithmetic, room_.machine);
  room_.buffers.give_back(std::move(room));
  if (op.has_bias) add_to_rows(y, weight(op.bias()).values);
}

void GraphRun::run_backward(const Node& node, const Linear& op) {
  const std::size_t cols = graph_.width(node.inputs[0]), rows = op.rows, tokens = batch_.tokens();
  const std::span<const float> given = values_[node.inputs[0]].numbers;
  const std::vector<float>& dy = gradients_[node.output];
  if (watch_) watch_(op, given, dy);
  bool has = false;
  if (const std::span<float> dx = gradient_of(node.inputs[0], &has); !dx.empty()) {
    std::vector<float> apart;  // where some of it is cut off
    if (cuts_inputs_off(op.part)) apart = room_.buffers.take(dx.size());
    multiply({dy.data(), rows}, {weight(op.part).values.data(), cols}, {tokens, cols, rows},
             {apart.empty() ? dx.data() : apart.data(), cols, has && apart.empty()}, room_.arithmetic, room_.machine);
    if (!apart.empty()) {
      cut_slopes(op.part, given, apart);
      for (std::size_t i = 0; i < dx.size(); ++i) dx[i] = has ? dx[i] + apart[i] : apart[i];
    }
    room_.buffers.give_back(std::move(apart));
  }
  if (const std::span<float> dw = weight_gradient(op.part); !dw.empty()) {
    std::vector<float> room;
    const float* const x = rounded_inputs(op.part, given, cols, room);
    multiply({dy.data(), rows, true}, {x, cols}, {rows, cols, tokens}, {dw.data(), cols, true}, room_.arithmetic,
             room_.machine);
    room_.buffers.give_back(std::move(room));
  }
  if (op.has_bias)
    if (const std::span<float> by_bias = weight_gradient(op.bias()); !by_bias.empty()) add_column_sums(dy, by_bias);
}

const float* GraphRun::cached(ValueId value, const Attention& op, CachedNumbers which, std::vector<float>& room) {
  const std::span<const float> numbers = values_[value].numbers;
  if (room_.kv == KvType::f32) return numbers.data();
  room = room_.buffers.take(numbers.size());
  std::ranges::copy(numbers, room.begin());
  round_as_cached(room, op.head_dim, room_.kv, which, room_.machine.pool);
  return room.data();
}

void GraphRun::run_forward(const Node& node, const Attention& op) {
  std::vector<float>& y = make(node.output, batch_.tokens() * graph_.width(node.output));
  std::vector<float> keys, values;
  attend({op, batch_, values_[node.inputs[0]].numbers.data(), cached(node.inputs[1], op, CachedNumbers::keys, keys),
          cached(node.inputs[2], op, CachedNumbers::values, values),
          op.sinks.empty() ? std::span<const float>{} : weight(op.sinks).values},
         y.data(), room_);
  room_.buffers.give_back(std::move(keys));
  room_.buffers.give_back(std::move(values));
}

void GraphRun::run_backward(const Node& node, const Attention& op) {
  // Each of the three takes part in the others' gradients: what nobody asks for is thrown away.
  std::vector<std::vector<float>> unasked(3);
  const auto by = [&](std::size_t i) {
    if (const std::span<float> gradient = gradient_of(node.inputs[i]); !gradient.empty()) return gradient.data();
    unasked[i] = room_.buffers.take(batch_.tokens() * graph_.width(node.inputs[i]));
    return unasked[i].data();
  };
  std::vector<float> keys, values;
  const AttentionOperands operands = {op,
                                      batch_,
                                      values_[node.inputs[0]].numbers.data(),
                                      cached(node.inputs[1], op, CachedNumbers::keys, keys),
                                      cached(node.inputs[2], op, CachedNumbers::values, values),
                                      op.sinks.empty() ? std::span<const float>{} : weight(op.sinks).values};
  add_attention_gradient(operands, gradients_[node.output].data(),
                         {by(0), by(1), by(2), op.sinks.empty() ? std::span<float>{} : weight_gradient(op.sinks)},
                         room_);
  for (std::vector<float>& buffer : unasked) room_.buffers.give_back(std::move(buffer));
  room_.buffers.give_back(std::move(keys));
  room_.buffers.give_back(std::move(values));
}

}  // namespace nibble
