// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/op/window.h"
#include "graph/operation.h"

namespace nibble {

// The largest number, or the mean, of each window over the dimensions behind batch and channels.
struct Pooling {
  static constexpr std::string_view kName = "pooling";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  enum class Kind { maximum, average };
  Kind kind = Kind::maximum;
  Window window;
  bool rounds_up = false;  // a last window that is not whole counts, too, where it begins in x or in the pads before it
  bool counts_pads = false;  // of means: zeros of the pads are numbers, too
  bool operator==(const Pooling&) const = default;

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
