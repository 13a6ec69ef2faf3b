// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/layer_assembly.h"

#include <fmt/format.h>

#include <utility>

#include "nibble/error.h"

namespace nibble {

void AssembledLayers::replace(std::vector<StoredTensor>& tensors) {
  std::vector<StoredTensor> result;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (const auto weight = weights_.find(i); weight != weights_.end()) result.push_back(std::move(weight->second));
    if (!taken_[i]) result.push_back(std::move(tensors[i]));
  }
  tensors = std::move(result);
}

TensorView view_of_part(const StoredTensor& tensor, std::string_view name, const std::string& where) {
  const auto dtype = parse_dtype(tensor.type_name);
  if (!dtype)
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: {} has a type that is not known here: {}", where, name, tensor.type_name));
  return {*dtype, tensor.shape, tensor.data};
}

}  // namespace nibble
