// SPDX-License-Identifier: Apache-2.0
//
// Learned step size (Esser et al. 2020, arXiv:1902.08153): the scale is a parameter beside the weights. It begins where
// the format's own search puts it, which is never worse than the paper's 2 E|w| / sqrt(Qp) at the start.
#include "train/estimator/learned_scale.h"

namespace nibble {
namespace {

class Lsq final : public Estimator {
 public:
  std::string_view name() const override { return "lsq"; }
  std::string_view description() const override { return "learned step size, for any points"; }
  std::string refusal(const CodePoints& points) const override { return refusal_of_tables(points, name()); }
  bool learns_scales() const override { return true; }
  void find_scales(const MasterRun&, float fitted, float* scales) const override { scales[0] = fitted; }
  void values(const MasterRun& run, const float* scales, std::span<float> out) const override {
    round_to_points(run, scales[0], out);
  }
  void gradient(const MasterRun& run, const float* scales, std::span<float> slopes, double* by_scales) const override {
    const auto largest = static_cast<double>(run.points.highest());
    by_scales[0] =
        balance(run, largest) * slopes_within(run, scales[0], run.points.lowest(), run.points.highest(), slopes);
  }
};

}  // namespace

const Estimator& lsq_estimator() {
  static const Lsq estimator;
  return estimator;
}

}  // namespace nibble
