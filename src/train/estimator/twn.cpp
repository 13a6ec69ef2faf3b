// SPDX-License-Identifier: Apache-2.0
//
// Ternary weight networks (Li et al. 2016, arXiv:1605.04711): what is larger than 0.7 of the mean magnitude is kept, as
// the mean of what is kept, and slopes pass through as if nothing were rounded.
#include <cmath>

#include "train/estimator/estimator.h"

namespace nibble {
namespace {

constexpr double kKeptFrom = 0.7;  // of the mean magnitude

float threshold_of(std::span<const float> masters) {
  double sum = 0;
  for (const float master : masters) sum += static_cast<double>(std::fabs(master));
  return static_cast<float>(kKeptFrom * sum / static_cast<double>(masters.size()));
}

class Twn final : public Estimator {
 public:
  std::string_view name() const override { return "twn"; }
  std::string_view description() const override {
    return "ternary weight networks: a threshold, and the mean above it";
  }
  std::string refusal(const CodePoints& points) const override {
    return points.is_ternary() ? std::string() : "twn takes ternary points";
  }
  bool learns_scales() const override { return false; }
  void find_scales(const MasterRun& run, float, float* scales) const override {
    const float threshold = threshold_of(run.masters);
    double sum = 0;
    std::size_t kept = 0;
    for (const float master : run.masters)
      if (const float magnitude = std::fabs(master); magnitude > threshold) {
        sum += static_cast<double>(magnitude);
        ++kept;
      }
    scales[0] = kept == 0 ? 0 : static_cast<float>(sum / static_cast<double>(kept));
  }
  void values(const MasterRun& run, const float* scales, std::span<float> out) const override {
    const float threshold = threshold_of(run.masters);
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = std::fabs(run.masters[i]) > threshold ? std::copysign(scales[0], run.masters[i]) : 0.0F;
  }
  void gradient(const MasterRun&, const float*, std::span<float>, double*) const override {}
};

}  // namespace

const Estimator& twn_estimator() {
  static const Twn estimator;
  return estimator;
}

}  // namespace nibble
