// SPDX-License-Identifier: Apache-2.0
//
// The third stage of a method: which of the storable values stand for the weights. One file for each choice. A rounder works through
// the Format interface only, so that any rounder works in any format.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "format/format.h"

namespace nibble {

// What a rounder knows of one row.
struct RoundInput {
  std::span<const float> values;      // [cols], finite
  std::span<const float> importance;  // [cols] or empty
  const TensorGrid* tensor_grid = nullptr;
  std::uint64_t row = 0;  // within the tensor
  FitOptions fit{};
};

// Immutable, safe from many threads. Rows are independent of each other.
class Rounder {
 public:
  virtual ~Rounder() = default;
  virtual std::string_view name() const noexcept = 0;
  // Writes the row's codes and grids into zeroed planes.
  virtual void encode(const Format& format, const RoundInput& input, const RowPlanes& out) const = 0;
};

}  // namespace nibble
