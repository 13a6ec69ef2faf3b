// SPDX-License-Identifier: Apache-2.0
#include "io/layers/layer_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// "qweight" of ".qweight", "blocks" of "_blocks".
std::string_view name_of_role(std::string_view role) {
  return role.substr(role.starts_with('.') || role.starts_with('_') ? 1 : 0);
}

}  // namespace

LayerTensors::LayerTensors(const std::vector<StoredTensor>& tensors, const TensorIndex& index, std::string layer,
                           const std::string& directory)
    : tensors_(tensors),
      index_(index),
      layer_(std::move(layer)),
      where_(fmt::format("{}: layer {}", directory, quote_name(layer_))) {}

const StoredTensor* LayerTensors::find(std::string_view role) const {
  const auto found = index_.find(layer_ + std::string(role));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::optional<TensorView> LayerTensors::take(std::string_view role) {
  const StoredTensor* const tensor = find(role);
  if (tensor == nullptr) return std::nullopt;
  const auto dtype = parse_dtype(tensor->type_name);
  if (!dtype)
    throw Error(ErrorKind::corrupt, fmt::format("{}: {} has a type that is not known here: {}", where_,
                                                name_of_role(role), tensor->type_name));
  const auto place = static_cast<std::size_t>(tensor - tensors_.data());
  if (std::ranges::find(taken_, place) == taken_.end()) taken_.push_back(place);
  return TensorView{*dtype, tensor->shape, tensor->data};
}

TensorView LayerTensors::need(std::string_view role) {
  auto tensor = take(role);
  if (!tensor) throw Error(ErrorKind::corrupt, fmt::format("{}: {} is missing", where_, name_of_role(role)));
  return *std::move(tensor);
}

}  // namespace nibble
