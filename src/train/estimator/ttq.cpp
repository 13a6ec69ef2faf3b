// SPDX-License-Identifier: Apache-2.0
//
// Trained ternary quantization (Zhu et al. 2017, arXiv:1612.01064): what is larger than 0.05 of the largest magnitude
// is kept, as one learned number where it is positive and as another where it is negative; slopes of what is kept are
// multiplied by that number. Such points lie in tables of four, of which 0 has two.
#include <cmath>

#include "train/estimator/learned_scale.h"

namespace nibble {
namespace {

constexpr float kKeptFrom = 0.05F;  // of the largest magnitude

float threshold_of(std::span<const float> masters) {
  float largest = 0;
  for (const float master : masters) largest = std::max(largest, std::fabs(master));
  return kKeptFrom * largest;
}

class Ttq final : public Estimator {
 public:
  std::string_view name() const override { return "ttq"; }
  std::string_view description() const override {
    return "trained ternary quantization: a learned number for each sign";
  }
  std::string refusal(const CodePoints& points) const override {
    return points.are_learned() ? std::string() : "ttq takes tables of four points (table2:row, table2:g64)";
  }
  bool learns_scales() const override { return true; }
  std::size_t num_scales() const override { return 2; }
  // {of what is positive, of what is negative}
  void find_scales(const MasterRun& run, float, float* scales) const override {
    const float threshold = threshold_of(run.masters);
    double sums[2] = {};
    std::size_t kept[2] = {};
    for (const float master : run.masters)
      if (std::fabs(master) > threshold) {
        const std::size_t sign = master < 0 ? 1 : 0;
        sums[sign] += static_cast<double>(std::fabs(master));
        ++kept[sign];
      }
    for (std::size_t sign = 0; sign < 2; ++sign)
      scales[sign] = kept[sign] == 0 ? 0 : static_cast<float>(sums[sign] / static_cast<double>(kept[sign]));
  }
  void values(const MasterRun& run, const float* scales, std::span<float> out) const override {
    const float threshold = threshold_of(run.masters);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const float master = run.masters[i];
      out[i] = master > threshold ? scales[0] : master < -threshold ? -scales[1] : 0.0F;
    }
  }
  void gradient(const MasterRun& run, const float* scales, std::span<float> slopes, double* by_scales) const override {
    const float threshold = threshold_of(run.masters);
    double sums[2] = {};
    for (std::size_t i = 0; i < slopes.size(); ++i) {
      const float master = run.masters[i];
      if (std::fabs(master) <= threshold) continue;
      const std::size_t sign = master < 0 ? 1 : 0;
      sums[sign] += static_cast<double>(sign == 0 ? slopes[i] : -slopes[i]);
      slopes[i] *= scales[sign];
    }
    for (std::size_t sign = 0; sign < 2; ++sign) by_scales[sign] = balance(run, 1) * sums[sign];
  }
  void to_grid(const float* scales, float* numbers) const override {
    numbers[0] = -scales[1];
    numbers[1] = numbers[2] = 0;
    numbers[3] = scales[0];
  }
  void from_grid(const float* numbers, float* scales) const override {
    scales[0] = numbers[3];
    scales[1] = -numbers[0];
  }
};

}  // namespace

const Estimator& ttq_estimator() {
  static const Ttq estimator;
  return estimator;
}

}  // namespace nibble
