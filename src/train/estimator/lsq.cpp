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
  std::string refusal(const CodePoints&) const override { return {}; }
  bool learns_scale() const override { return true; }
  float scale(const MasterRun&, float fitted) const override { return fitted; }
  void values(const MasterRun& run, float scale, std::span<float> out) const override {
    round_to_points(run, scale, out);
  }
  double gradient(const MasterRun& run, float scale, std::span<float> slopes) const override {
    const auto largest = static_cast<double>(run.points.highest());
    return balance(run, largest) * slopes_within(run, scale, run.points.lowest(), run.points.highest(), slopes);
  }
};

}  // namespace

const Estimator& lsq_estimator() {
  static const Lsq estimator;
  return estimator;
}

}  // namespace nibble
