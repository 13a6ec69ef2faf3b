// SPDX-License-Identifier: Apache-2.0
//
// How weights are rounded while they are trained, and what stands for the slope of that, which is 0 almost everywhere
// (the straight-through estimator of Bengio et al. 2013, arXiv:1308.3432, in the forms that came after it). An
// estimator sees one run of weights that share a grid: numbers in f32 that are trained (masters), and the numbers of
// the grid, which it learns or finds from the masters each time. A new one is a file and a line in the list. Immutable,
// safe from many threads.
//
//   const Estimator& lsq = find_estimator("lsq");
//   lsq.find_scales(run, fitted, scales);
//   lsq.values(run, scales, out);                   // ... a loss's slopes in them come back ...
//   lsq.gradient(run, scales, slopes, by_scales);   // ... and become its slopes in the masters
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "format/format.h"
#include "train/estimator/code_points.h"

namespace nibble {

// Borrowed.
struct MasterRun {
  const CodePoints& points;
  std::span<const float> masters;
};

inline constexpr std::size_t kMostScales = 2;

class Estimator {
 public:
  virtual ~Estimator() = default;
  virtual std::string_view name() const = 0;
  virtual std::string_view description() const = 0;  // a line for help
  // Why weights in these points are not trained by it; empty: they are.
  virtual std::string refusal(const CodePoints& points) const = 0;
  // Whether the grid's numbers are trained; else they are found from the masters before every step.
  virtual bool learns_scales() const = 0;
  // Of a grid; at most kMostScales. All are sizes, which keep their sign.
  virtual std::size_t num_scales() const { return 1; }
  // Of a run: where learned ones begin, fitted being the format's own choice; else what they are.
  virtual void find_scales(const MasterRun& run, float fitted, float* scales) const = 0;
  // What the run is rounded to, by scales that can be stored. out: as the masters.
  virtual void values(const MasterRun& run, const float* scales, std::span<float> out) const = 0;
  // slopes: of a loss in the values; become those in the masters. by_scales: set to those in scales that are learned,
  // with the factor that balances them against those of weights.
  virtual void gradient(const MasterRun& run, const float* scales, std::span<float> slopes,
                        double* by_scales) const = 0;
  // The numbers of a grid (TrainableGrid) that are meant, and scales of a grid.
  virtual void to_grid(const float* scales, float* numbers) const { numbers[0] = scales[0]; }
  virtual void from_grid(const float* numbers, float* scales) const { scales[0] = numbers[0]; }
  // Masters are kept between these; 0: anywhere.
  virtual float bound() const { return 0; }
};

// In the order of help.
std::span<const Estimator* const> list_estimators();
// Error(invalid_argument) lists the known ones.
const Estimator& find_estimator(std::string_view name);
// What serves these points best: see docs/training.md.
const Estimator& default_estimator(const CodePoints& points);

// A file each.
const Estimator& lsq_estimator();
const Estimator& seq_estimator();
const Estimator& absmean_estimator();
const Estimator& twn_estimator();
const Estimator& ttq_estimator();
const Estimator& bwn_estimator();

}  // namespace nibble
