// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// One number for all along some dimensions, whose extent becomes 1, or which the result lacks.
struct Reduce {
  static constexpr std::string_view kName = "reduce";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  enum class Kind {
    mean,
    sum,
    maximum,
    minimum,
    product,
    l1,
    l2,
    log_sum,
    log_sum_exp,
    sum_of_squares,
    argmax,
    argmin
  };
  Kind kind = Kind::mean;
  std::vector<std::uint64_t> axes;  // ascending; of argmax and argmin one
  bool keeps_dimensions = true;
  bool takes_last = false;  // of several largest or smallest the last one's place, else the first one's
  bool operator==(const Reduce&) const = default;

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
