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
  bool learns_scale() const override { return true; }
  float scale(const MasterRun&, float fitted) const override { return fitted; }
  void values(const MasterRun& run, float scale, std::span<float> out) const override {
    round_to_points(run, scale, out);
  }
  double gradient(const MasterRun& run, float scale, std::span<float> slopes) const override {
    const float half = run.points.step / 2;
    const float low = run.points.lowest() - half, high = run.points.highest() + half;
    return balance(run, static_cast<double>(run.points.highest() / high)) *
           slopes_within(run, scale, kClip * low, kClip * high, slopes);
  }
};

}  // namespace

const Estimator& seq_estimator() {
  static const Seq estimator;
  return estimator;
}

}  // namespace nibble
