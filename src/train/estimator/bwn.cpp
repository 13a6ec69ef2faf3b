// SPDX-License-Identifier: Apache-2.0
//
// Binary weight networks (Rastegari et al. 2016, XNOR-Net, arXiv:1603.05279): signs times the mean magnitude; slopes
// pass through weights between -1 and 1, where all are kept.
#include <cmath>

#include "train/estimator/estimator.h"

namespace nibble {
namespace {

class Bwn final : public Estimator {
 public:
  std::string_view name() const override { return "bwn"; }
  std::string_view description() const override { return "binary weight networks: signs times the mean magnitude"; }
  std::string refusal(const CodePoints& points) const override {
    return points.is_binary() ? std::string() : "bwn takes binary points";
  }
  bool learns_scales() const override { return false; }
  void find_scales(const MasterRun& run, float, float* scales) const override {
    double sum = 0;
    for (const float master : run.masters) sum += static_cast<double>(std::fabs(master));
    scales[0] = static_cast<float>(sum / static_cast<double>(run.masters.size()));
  }
  void values(const MasterRun& run, const float* scales, std::span<float> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = run.masters[i] < 0 ? -scales[0] : scales[0];
  }
  void gradient(const MasterRun& run, const float*, std::span<float> slopes, double*) const override {
    for (std::size_t i = 0; i < slopes.size(); ++i)
      if (std::fabs(run.masters[i]) > bound()) slopes[i] = 0;
  }
  float bound() const override { return 1; }
};

}  // namespace

const Estimator& bwn_estimator() {
  static const Bwn estimator;
  return estimator;
}

}  // namespace nibble
