// SPDX-License-Identifier: Apache-2.0
//
// Stretched elastic quantization (Liu et al. 2025, ParetoQ, arXiv:2502.02631): as lsq, but weights have slopes up to
// half a step beyond the outermost points, of which few are then out of reach where there are few points. Levels are
// those of the format that is stored, wherever they lie.
#include "train/estimator/learned_scale.h"

namespace nibble {
namespace {

constexpr float kClip = 0.99F;  // of the range

class Seq final : public Estimator {
 public:
  std::string_view name() const override { return "seq"; }
  std::string_view description() const override { return "stretched elastic quantization, for few points"; }
  std::string refusal(const CodePoints& points) const override {
    return points.step == 0 || points.points.size() < 3 ? "seq takes three or more points at equal distances"
                                                        : std::string();
  }
  bool learns_scales() const override { return true; }
  void find_scales(const MasterRun&, float fitted, float* scales) const override { scales[0] = fitted; }
  void values(const MasterRun& run, const float* scales, std::span<float> out) const override {
    round_to_points(run, scales[0], out);
  }
  void gradient(const MasterRun& run, const float* scales, std::span<float> slopes, double* by_scales) const override {
    const float half = run.points.step / 2;
    const float low = run.points.lowest() - half, high = run.points.highest() + half;
    by_scales[0] = balance(run, static_cast<double>(run.points.highest() / high)) *
                   slopes_within(run, scales[0], kClip * low, kClip * high, slopes);
  }
};

}  // namespace

const Estimator& seq_estimator() {
  static const Seq estimator;
  return estimator;
}

}  // namespace nibble
