// SPDX-License-Identifier: Apache-2.0
//
// What a convolution or a pooling sees at a time, along each dimension behind batch and channels.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "graph/onnx_spelling.h"
#include "graph/value.h"

namespace nibble {

struct Window {
  std::vector<std::uint64_t> taps, strides, dilations, before, behind;  // before, behind: pads
  bool operator==(const Window&) const = default;

  std::size_t rank() const { return taps.size(); }
  std::uint64_t num_taps() const;
  // How many places the window has along a dimension of x. Error(internal) names the operation: none.
  std::uint64_t places(std::size_t dimension, std::uint64_t extent, bool rounds_up, std::string_view operation) const;
  // Error(internal) where x has no such dimensions, or a number is missing or 0.
  void require_fit(const Dimensions& x, std::string_view operation) const;
  void spell(std::vector<OnnxSetting>& settings, bool has_dilations = true) const;

  // Of two dimensions; of one the first has extent 1.
  struct Plane {
    std::size_t height = 1, width = 1, tap_rows = 1, tap_cols = 1;
    std::ptrdiff_t row_stride = 1, col_stride = 1, row_step = 1, col_step = 1, top = 0, left = 0;  // step: dilation
    std::ptrdiff_t bottom = 0, right = 0;
  };
  Plane plane(const Dimensions& x) const;
};

// The places p of 0 .. count whose p * stride + shift lies in 0 .. extent: first .. end.
struct PlaceRange {
  std::ptrdiff_t first = 0, end = 0;
};
PlaceRange places_within(std::ptrdiff_t count, std::ptrdiff_t stride, std::ptrdiff_t shift, std::ptrdiff_t extent);

}  // namespace nibble
