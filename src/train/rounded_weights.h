// SPDX-License-Identifier: Apache-2.0
//
// Matrices that a network reads as a format stores them, while numbers in f32 behind them (masters) and the scales of
// their grids are trained: quantization-aware training. What is stored in the end is what the last step saw, bit for
// bit. The same bits for any number of threads. One thread at a time.
//
//   RoundedWeights rounded(weights, {{"model.layers.0.self_attn.q_proj.weight", find_format("int2:g64:half")}},
//   nullptr, pool); rounded.round(pool);                       // masters become the network's weights ...
//   tape.run(...); rounded.pull_back(pool);    // ... and gradients of these those of masters and scales
//   QuantizedTensor made = rounded.store(0, pool);
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "format/quantized_tensor.h"
#include "train/estimator/estimator.h"
#include "train/network_weights.h"

namespace nibble {

class RoundedWeights {
 public:
  // formats: by the weights' names. The weights, which must be trained, are the first masters, and outlive this.
  // estimator null: what serves the points of each best. Error(invalid_argument): a format whose points are not
  // trained, or not by this estimator.
  RoundedWeights(NetworkWeights& weights, const std::map<std::string, FormatPtr>& formats, const Estimator* estimator,
                 ThreadPool& pool);

  void round(ThreadPool& pool);
  // Turns the gradients of the network's weights, in their place, into those of the masters, and adds to those of the
  // scales. Of the last round().
  void pull_back(ThreadPool& pool);
  void clear_gradients();

  std::size_t size() const { return matrices_.size(); }
  const std::string& name(std::size_t index) const { return matrices_[index].weight->name; }
  const FormatPtr& format(std::size_t index) const { return matrices_[index].format; }
  const Estimator& estimator(std::size_t index) const { return *matrices_[index].estimator; }
  // Of the weight of this name; null: it is not rounded.
  std::vector<float>* find_masters(std::string_view name);
  // Learned scales of all matrices, as shares of what each began with.
  std::vector<Parameter> scales();

  // As round() has left it.
  QuantizedTensor store(std::size_t index, ThreadPool& pool) const;

 private:
  struct Matrix {
    NetworkWeight* weight = nullptr;
    FormatPtr format{};
    const Estimator* estimator = nullptr;
    CodePoints points{};
    std::size_t run = 0;          // weights that share a grid
    std::size_t runs_of_row = 0;  // 0: one run is the whole matrix
    std::vector<float> masters{};
    std::vector<std::byte> grids{};  // of each run
    // [runs, scales of a grid]: those that it began with, and where they are now; none: not learned.
    std::vector<float> first{}, shares{}, slopes{};
    std::vector<float> scales{};  // as they are stored

    std::size_t runs() const { return scales.size() / estimator->num_scales(); }
    std::span<const float> run_of(std::size_t index, std::span<const float> values) const;
  };
  template <class Body>
  static void each_run(const Matrix& matrix, ThreadPool& pool, Body body);

  std::vector<Matrix> matrices_;
};

}  // namespace nibble
