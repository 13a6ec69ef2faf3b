// SPDX-License-Identifier: Apache-2.0
//
// What a tensor has beside codes and grids, as planes of bytes: one small tensor each, named by its suffix.
// docs/container.md specifies them. Nothing here knows files.
//
//   for (const PartPlane& plane : pack_parts(parts)) write(plane.suffix, plane.tensor);
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/tensor_parts.h"
#include "tensor/tensor.h"

namespace nibble {

struct PartPlane {
  std::string_view suffix;  // "input_order"
  Tensor tensor;
};

// The planes that these parts need, in the order of the specification. Names of transforms are no planes.
std::vector<PartPlane> pack_parts(const TensorParts& parts);

// The suffixes that planes of parts may have.
std::span<const std::string_view> part_suffixes();

// Puts one plane into its part. Returns what is wrong with its type, or nothing; whether the parts make sense together
// is what find_parts_defect says.
std::string unpack_part(std::string_view suffix, const TensorView& plane, TensorParts& parts);

}  // namespace nibble
