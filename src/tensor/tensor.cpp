// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.h"

#include <cassert>
#include <cstring>

#include "base/half.h"
#include "nibble/error.h"

namespace nibble {

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::uint64_t checked_elements(const Shape& shape, const std::string& what) {
  constexpr std::uint64_t kMax = std::uint64_t{1} << 63;
  std::uint64_t count = 1;
  bool empty = false;
  for (const std::uint64_t extent : shape) {
    if (extent == 0) {
      empty = true;
      continue;
    }
    if (extent >= kMax / count)
      throw Error(ErrorKind::corrupt, what + ": the number of elements overflows: shape " + shape_text(shape));
    count *= extent;
  }
  return empty ? 0 : count;
}

void widen_to_f32(DType dtype, std::span<const std::byte> bytes, std::span<float> out) {
  assert(bytes.size() == out.size() * dtype_size(dtype));
  const auto each = [&]<class T>(T, auto convert) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      T element;
      std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
      out[i] = convert(element);
    }
  };
  switch (dtype) {
    case DType::f32:
      std::memcpy(out.data(), bytes.data(), bytes.size());
      return;
    case DType::f16:
      each(std::uint16_t{}, f16_to_f32);
      return;
    case DType::bf16:
      each(std::uint16_t{}, bf16_to_f32);
      return;
    case DType::f64:
      each(double{}, [](double value) { return static_cast<float>(value); });
      return;
    default:
      throw Error(ErrorKind::unsupported,
                  "not a floating-point type that can be widened: " + std::string(dtype_name(dtype)));
  }
}

}  // namespace nibble
