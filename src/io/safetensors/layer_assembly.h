// SPDX-License-Identifier: Apache-2.0
//
// Weights that directories hold as several tensors each (codes, scales, ...), put together as one tensor in their
// place. Internal to io/. Safe from any thread.
//
//   AssembledLayers layers(tensors.size());
//   layers.take(scales);
//   layers.put(codes, std::move(weight));
//   layers.replace(tensors);
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/checkpoint.h"

namespace nibble {

class AssembledLayers {
 public:
  explicit AssembledLayers(std::size_t num_tensors) : taken_(num_tensors, false) {}

  // This tensor is a part of a weight, and none by itself.
  void take(std::size_t tensor) { taken_[tensor] = true; }
  // The weight stands where this tensor was.
  void put(std::size_t tensor, StoredTensor weight) { weights_.emplace(tensor, std::move(weight)); }
  // Once.
  void replace(std::vector<StoredTensor>& tensors);

 private:
  std::vector<bool> taken_;
  std::unordered_map<std::size_t, StoredTensor> weights_;
};

// One part of a weight. name, where: for messages. Error(corrupt): numbers of a type that is not known here.
TensorView view_of_part(const StoredTensor& tensor, std::string_view name, const std::string& where);

}  // namespace nibble
