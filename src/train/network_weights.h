// SPDX-License-Identifier: Apache-2.0
//
// A network's weights in f32, of all its layers, each with a place for its gradient where it is trained. One thread at
// a time changes them.
//
//   NetworkWeights weights(model, machine.pool);
//   weights.train([](const NetworkWeight& w) { return w.role == TensorRole::norm; });
//   optimizer.step(weights.parameters(), scale, machine);
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "calibrate/layer_weights.h"
#include "graph/network.h"
#include "model/source_model.h"
#include "train/input_rounding.h"
#include "train/parameter.h"

namespace nibble {

struct NetworkWeight {
  std::string name;  // as Hugging Face files have it
  std::string part;
  std::int64_t layer = Network::kBegin;  // that of weights of the whole network, whichever drawing reads them
  TensorRole role = TensorRole::linear;
  Matrix values;
  std::vector<float> gradient = {};          // as values; empty: it is not trained
  std::optional<InputRounding> inputs = {};  // of Linears: how what it is multiplied with is rounded
  // What is larger has no place in the model's file.
  float largest = std::numeric_limits<float>::infinity();

  bool is_trained() const { return !gradient.empty(); }
};

class NetworkWeights {
 public:
  explicit NetworkWeights(std::vector<NetworkWeight> weights);
  // All of a model's, as the network reads them. Error(corrupt) names a tensor with a value that is not finite.
  NetworkWeights(const SourceModel& model, ThreadPool& pool);

  // Null: there is none.
  const NetworkWeight* find(std::int64_t layer, std::string_view part) const;
  NetworkWeight* find(std::int64_t layer, std::string_view part);
  std::span<const NetworkWeight> all() const { return weights_; }
  std::span<NetworkWeight> all() { return weights_; }

  // Gives those that are chosen a gradient of zeros, and takes it from the others.
  void train(const std::function<bool(const NetworkWeight&)>& is_trained);
  void clear_gradients(ThreadPool& pool);
  void hold_in_bounds(ThreadPool& pool);  // what training has driven past `largest`
  // Those that are trained, in the order of the model. Valid until train() is called.
  std::vector<Parameter> parameters();

 private:
  std::vector<NetworkWeight> weights_;
  std::map<std::pair<std::int64_t, std::string>, std::size_t, std::less<>> places_;
};

}  // namespace nibble
