// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// x at other extents, by weights of what lies nearby along each dimension.
struct Resize {
  static constexpr std::string_view kName = "resize";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  enum class Kind { nearest, linear, cubic };
  // Which x a place of the result is, s: the scale, n and m: extents of x and of the result.
  enum class Places {
    half_pixel,          // (i + 1/2) / s - 1/2
    half_pixel_or_zero,  // the same, 0 where m is 1
    align_corners,       // i * (n - 1) / (n * s - 1)
    asymmetric           // i / s
  };
  enum class Rounding { down_at_half, up_at_half, down, up };
  Kind kind = Kind::nearest;
  Places places = Places::half_pixel;
  Rounding rounding = Rounding::down_at_half;  // of nearest
  float cubic = -0.75F;                        // the cubic's parameter
  bool leaves_out_outside = false;             // weights of what lies outside are shared by the others
  std::vector<std::uint64_t> extents;
  std::vector<float> scales;  // by dimension
  bool operator==(const Resize&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands&, std::span<const Dimensions>, std::span<const float>, const Gradients&) const {
    refuse_gradient(kName);
  }
};

}  // namespace nibble
