// SPDX-License-Identifier: Apache-2.0
//
// BitNet b1.58 (Ma et al. 2024, arXiv:2402.17764): ternary, the scale is the mean magnitude of the weights, and slopes
// pass through as if nothing were rounded.
#include <cmath>

#include "train/estimator/learned_scale.h"

namespace nibble {
namespace {

constexpr double kLeastMean = 1e-5;

class Absmean final : public Estimator {
 public:
  std::string_view name() const override { return "absmean"; }
  std::string_view description() const override { return "BitNet b1.58: ternary, scaled by the mean magnitude"; }
  std::string refusal(const CodePoints& points) const override {
    return points.is_ternary() ? std::string() : "absmean takes ternary points";
  }
  bool learns_scale() const override { return false; }
  float scale(const MasterRun& run, float) const override {
    double sum = 0;
    for (const float master : run.masters) sum += static_cast<double>(std::fabs(master));
    return static_cast<float>(std::max(sum / static_cast<double>(run.masters.size()), kLeastMean));
  }
  void values(const MasterRun& run, float scale, std::span<float> out) const override {
    round_to_points(run, scale, out);
  }
  double gradient(const MasterRun&, float, std::span<float>) const override { return 0; }
};

}  // namespace

const Estimator& absmean_estimator() {
  static const Absmean estimator;
  return estimator;
}

}  // namespace nibble
