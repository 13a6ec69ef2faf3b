// SPDX-License-Identifier: Apache-2.0
//
// Operations of a walk that networks spend time in, row by row as the processor's set does them.
#include "kernels/training/training_loops.h"
#include "kernels/vector_ops.h"
#include "train/graph_run.h"

namespace nibble {
namespace {

constexpr std::size_t kNumbers = 1 << 14;  // that are looked at by themselves, of a task
constexpr std::size_t kRows = 32;          // of a task, whose sums for weights are its own

template <class Body>
void for_each_run(std::size_t count, ThreadPool& pool, Body&& body) {
  pool.parallel_for(count, kNumbers,
                    [&](std::size_t begin, std::size_t end, std::size_t) { body(begin, end - begin); });
}

}  // namespace

void GraphRun::run_forward(const Node& node, const Silu&) {
  const std::span<const float> x = values_[node.inputs[0]].numbers;
  std::vector<float>& y = make(node.output, x.size());
  for_each_run(x.size(), room_.machine.pool,
               [&](std::size_t at, std::size_t count) { loops_.silu(&x[at], count, &y[at]); });
}

void GraphRun::run_backward(const Node& node, const Silu&) {
  const std::span<const float> x = values_[node.inputs[0]].numbers, dy = gradients_[node.output];
  const std::span<float> dx = gradient_of(node.inputs[0]);
  for_each_run(dx.size(), room_.machine.pool,
               [&](std::size_t at, std::size_t count) { loops_.add_silu_gradient(&x[at], &dy[at], count, &dx[at]); });
}

void GraphRun::run_forward(const Node& node, const Gelu&) {
  const std::span<const float> x = values_[node.inputs[0]].numbers;
  std::vector<float>& y = make(node.output, x.size());
  for_each_run(x.size(), room_.machine.pool,
               [&](std::size_t at, std::size_t count) { loops_.gelu(&x[at], count, &y[at]); });
}

void GraphRun::run_backward(const Node& node, const Gelu&) {
  const std::span<const float> x = values_[node.inputs[0]].numbers, dy = gradients_[node.output];
  const std::span<float> dx = gradient_of(node.inputs[0]);
  for_each_run(dx.size(), room_.machine.pool,
               [&](std::size_t at, std::size_t count) { loops_.add_gelu_gradient(&x[at], &dy[at], count, &dx[at]); });
}

void GraphRun::run_forward(const Node& node, const RmsNorm& op) {
  const std::span<const float> x = values_[node.inputs[0]].numbers;
  const std::size_t length = op.group == 0 ? graph_.width(node.inputs[0]) : op.group;
  std::vector<float>& y = make(node.output, x.size());
  rms_norm(x.data(), weight(op.part).values.data(), x.size() / length, length, op.epsilon, y.data(), room_.machine);
}

void GraphRun::run_backward(const Node& node, const RmsNorm& op) {
  const std::span<const float> x = values_[node.inputs[0]].numbers, dy = gradients_[node.output];
  const std::size_t length = op.group == 0 ? graph_.width(node.inputs[0]) : op.group, rows = x.size() / length;
  const std::span<float> dx = gradient_of(node.inputs[0]), dw = weight_gradient(op.part);
  const float* const w = weight(op.part).values.data();
  std::vector<float> sums((rows + kRows - 1) / kRows * dw.size());
  room_.machine.pool.parallel_for(rows, kRows, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row)
      loops_.add_rms_norm_gradient(&x[row * length], w, &dy[row * length], length, op.epsilon,
                                   dx.empty() ? nullptr : &dx[row * length],
                                   dw.empty() ? nullptr : &sums[begin / kRows * length]);
  });
  for (std::size_t i = 0; i < sums.size(); ++i) dw[i % length] += sums[i];
}

}  // namespace nibble
