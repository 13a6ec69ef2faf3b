// SPDX-License-Identifier: Apache-2.0
//
// Shapes, and tensors that own or borrow their bytes. Row-major, last axis contiguous. A Linear weight is [rows =
// outputs, cols = inputs].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace nibble {

using Shape = std::vector<std::uint64_t>;

std::string shape_text(const Shape& shape);  // "[256, 768]"

// The number of elements, or Error(corrupt) "what" if the product does not fit in 63 bits. [] is a scalar: 1.
std::uint64_t checked_elements(const Shape& shape, const std::string& what);

// Borrowed bytes of a known type and shape. The owner must outlive the view.
struct TensorView {
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;
};

struct Tensor {
  DType dtype = DType::f32;
  Shape shape;
  std::vector<std::byte> bytes;

  TensorView view() const { return {dtype, shape, bytes}; }
};

// Widens a run of elements of a floating type (f32, f16, bf16, f64) to f32. Error(unsupported) for other types.
void widen_to_f32(DType dtype, std::span<const std::byte> bytes, std::span<float> out);

}  // namespace nibble
