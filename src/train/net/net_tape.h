// SPDX-License-Identifier: Apache-2.0
//
// Reverse mode over a small net: a batch of samples forwards, and gradients by the weights that are trained back. All
// values of the batch are kept. Where a net takes signs of a value, slopes pass that lie between -1 and 1 (the
// straight-through estimator of Courbariaux et al. 2016, arXiv:1602.02830). The same bits for any number of threads.
// One thread at a time.
//
//   NetworkWeights weights(weights_of(net));
//   weights.train([](const NetworkWeight& weight) { return is_learnt(weight); });
//   NetTape tape(net, weights, machine);
//   tape.forward({images}, 64, NetTape::Norms::of_batch);
//   tape.backward({{logits, by_logits}});
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "net/net.h"
#include "train/net/batch_node.h"
#include "train/network_weights.h"

namespace nibble {

// What a net's operations read, but for stored values: matrices with a row for each output, vectors of one row.
std::vector<NetworkWeight> weights_of(const Net& net);
// Whether a weight is one that a loss has slopes in: no mean or variance of a norm.
bool is_learnt(const NetworkWeight& weight);
// Back into the net.
void put_weights(const NetworkWeights& weights, Net& net);

class NetTape {
 public:
  // The net, which weights are of, and the weights outlive this. Error(unsupported) names operations between trained
  // weights and outputs that are not walked backwards, all of them.
  NetTape(const Net& net, NetworkWeights& weights, Machine& machine);

  // How batch norms norm: by the batch, of which the stored mean and variance then take a share, or by what is stored.
  enum class Norms { of_batch, stored };
  // given: by input, [samples, numbers].
  void forward(std::vector<std::vector<float>> given, std::size_t samples, Norms norms);
  std::span<const float> value(ValueId value) const { return values_[value]; }
  // by: gradients by values, of the last forward. Added to those of the weights.
  void backward(const std::map<ValueId, std::vector<float>>& by);

 private:
  BatchNode batch_node(const Node& node);
  void mark_needs();
  void blend(const BatchNorm& op, const NormOfBatch& norm, double count);

  const Net& net_;
  NetworkWeights& weights_;
  Machine& machine_;
  std::size_t samples_ = 0;
  std::vector<bool> is_shared_, needs_gradient_;
  std::vector<std::optional<ValueId>> signs_of_;  // by node
  std::vector<std::vector<float>> values_, gradients_;
  std::map<std::size_t, NormOfBatch> norms_;  // by node, of the last forward
};

}  // namespace nibble
