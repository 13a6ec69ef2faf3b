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
  bool learns_scales() const override { return false; }
  void find_scales(const MasterRun& run, float, float* scales) const override {
    double sum = 0;
    for (const float master : run.masters) sum += static_cast<double>(std::fabs(master));
    scales[0] = static_cast<float>(std::max(sum / static_cast<double>(run.masters.size()), kLeastMean));
  }
  void values(const MasterRun& run, const float* scales, std::span<float> out) const override {
    round_to_points(run, scales[0], out);
  }
  void gradient(const MasterRun&, const float*, std::span<float>, double*) const override {}
};

}  // namespace

const Estimator& absmean_estimator() {
  static const Absmean estimator;
  return estimator;
}

}  // namespace nibble
