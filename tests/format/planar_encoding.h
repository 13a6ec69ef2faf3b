// SPDX-License-Identifier: Apache-2.0
//
// A few numbers in a planar format: what is stored of them and what they become.
#pragma once

#include <cstring>
#include <string_view>
#include <vector>

#include "format/quantized_tensor.h"

namespace nibble {

struct Encoded {
  QuantizedTensor tensor;
  std::vector<float> decoded;
};

inline Encoded encode(std::string_view spelling, const std::vector<float>& x, FitRule rule = FitRule::absmax,
                      std::uint64_t rows = 1) {
  const FormatPtr format = find_format(spelling);
  const std::uint64_t cols = x.size() / rows;
  QuantizedTensor tensor(format, rows, cols);
  const FitOptions options{.rule = rule};
  tensor.tensor_grid = format->prepare(x, rows, cols, {}, options);
  format->pack_tensor(tensor.tensor_grid.get(), tensor.row(0));
  for (std::uint64_t row = 0; row < rows; ++row)
    format->encode_row(std::span(x).subspan(row * cols, cols), {}, tensor.tensor_grid.get(), row, options,
                       tensor.row(row));
  auto decoded = tensor.view().decode();
  return {std::move(tensor), std::move(decoded)};
}

inline float as_float(std::span<const std::byte> bytes) {
  float value;
  std::memcpy(&value, bytes.data(), 4);
  return value;
}

}  // namespace nibble
