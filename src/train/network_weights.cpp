// SPDX-License-Identifier: Apache-2.0
#include "train/network_weights.h"

#include <algorithm>
#include <cmath>

#include "base/huge_pages.h"

namespace nibble {

namespace {

std::vector<NetworkWeight> decoded(const SourceModel& model, ThreadPool& pool) {
  std::vector<NetworkWeight> weights;
  for (const ModelTensor& tensor : model.parts().all()) {
    const StoredTensor& stored = model.stored(tensor);
    weights.push_back({tensor.hf_name, tensor.part, tensor.layer, tensor.role, decode_matrix(model, tensor, pool)});
    model.release(stored);
  }
  return weights;
}

}  // namespace

NetworkWeights::NetworkWeights(std::vector<NetworkWeight> weights) : weights_(std::move(weights)) {
  for (std::size_t i = 0; i < weights_.size(); ++i) places_.emplace(std::pair(weights_[i].layer, weights_[i].part), i);
}

NetworkWeights::NetworkWeights(const SourceModel& model, ThreadPool& pool) : NetworkWeights(decoded(model, pool)) {}

const NetworkWeight* NetworkWeights::find(std::int64_t layer, std::string_view part) const {
  const auto found = places_.find(std::pair(layer, std::string(part)));
  return found == places_.end() ? nullptr : &weights_[found->second];
}

NetworkWeight* NetworkWeights::find(std::int64_t layer, std::string_view part) {
  const auto found = places_.find(std::pair(layer, std::string(part)));
  return found == places_.end() ? nullptr : &weights_[found->second];
}

void NetworkWeights::train(const std::function<bool(const NetworkWeight&)>& is_trained) {
  for (NetworkWeight& weight : weights_)
    weight.gradient = is_trained(weight) ? large_vector(weight.values.values.size()) : std::vector<float>{};
}

void NetworkWeights::clear_gradients(ThreadPool& pool) {
  for (NetworkWeight& weight : weights_)
    pool.parallel_for(weight.gradient.size(), std::size_t{1} << 18,
                      [&](std::size_t begin, std::size_t end, std::size_t) {
                        std::fill(&weight.gradient[begin], &weight.gradient[begin] + (end - begin), 0.0F);
                      });
}

void NetworkWeights::hold_in_bounds(ThreadPool& pool) {
  for (NetworkWeight& weight : weights_) {
    if (!weight.is_trained() || std::isinf(weight.largest)) continue;
    std::vector<float>& values = weight.values.values;
    pool.parallel_for(values.size(), std::size_t{1} << 18, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i) values[i] = std::min(values[i], weight.largest);
    });
  }
}

std::vector<Parameter> NetworkWeights::parameters() {
  std::vector<Parameter> found;
  for (NetworkWeight& weight : weights_)
    if (weight.is_trained())
      found.push_back({weight.name, weight.values.rows, weight.values.cols, weight.values.values, weight.gradient});
  return found;
}

}  // namespace nibble
