// SPDX-License-Identifier: Apache-2.0
//
// The tensors of one layer that another program has quantized (codes, scales, ...), by their roles, while a weight is
// made of them. Internal to io/. One thread.
//
//   LayerTensors tensors(directory_tensors, index, "model.layers.0.mlp.up_proj", "model/");
//   const TensorView scales = tensors.need(".scales");
//   const auto order = tensors.take(".g_idx");
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/checkpoint.h"

namespace nibble {

using TensorIndex = std::unordered_map<std::string_view, std::size_t>;  // places of names

class LayerTensors {
 public:
  // Borrows all but the layer's name.
  LayerTensors(const std::vector<StoredTensor>& tensors, const TensorIndex& index, std::string layer,
               const std::string& directory);

  const std::string& layer() const { return layer_; }  // "model.layers.0.mlp.up_proj"
  const std::string& where() const { return where_; }  // for messages: directory and layer

  // The tensor of this role (what follows the layer in its name), which is then a part of the weight; nothing where
  // there is none. Error(corrupt): numbers of a type that is not known here.
  std::optional<TensorView> take(std::string_view role);
  // The same; Error(corrupt) where it is missing.
  TensorView need(std::string_view role);
  // Whether there is one, which stays what it is.
  const StoredTensor* find(std::string_view role) const;

  const std::vector<std::size_t>& taken() const { return taken_; }

 private:
  const std::vector<StoredTensor>& tensors_;
  const TensorIndex& index_;
  std::string layer_, where_;
  std::vector<std::size_t> taken_;
};

}  // namespace nibble
