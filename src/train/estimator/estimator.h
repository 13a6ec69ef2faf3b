// SPDX-License-Identifier: Apache-2.0
//
// How weights are rounded while they are trained, and what stands for the slope of that, which is 0 almost everywhere
// (the straight-through estimator of Bengio et al. 2013, arXiv:1308.3432, in the forms that came after it). An
// estimator sees one run of weights that share a grid: numbers in f32 that are trained (masters), and the numbers of
// the grid, which it learns or finds from the masters each time. A new one is a file and a line in the list. Immutable,
// safe from many threads.
//
//   const Estimator& lsq = find_estimator("lsq");
//   lsq.first_numbers(run, fitted, numbers);
//   lsq.values(run, numbers, out);                  // ... a loss's slopes in them come back ...
//   lsq.gradient(run, numbers, slopes, by_numbers); // ... and become its slopes in the masters
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

class Estimator {
 public:
  virtual ~Estimator() = default;
  virtual std::string_view name() const = 0;
  virtual std::string_view description() const = 0;  // a line for help
  // Why weights in these points are not trained by it; empty: they are.
  virtual std::string refusal(const CodePoints& points) const = 0;
  // Whether the grid's number is trained; else it is found from the masters before every step.
  virtual bool learns_scale() const = 0;
  // Of a run: where a learned one begins, fitted being the format's own choice; else what it is.
  virtual float scale(const MasterRun& run, float fitted) const = 0;
  // What the run is rounded to: points times the scale, which can be stored. out: as the masters.
  virtual void values(const MasterRun& run, float scale, std::span<float> out) const = 0;
  // slopes: of a loss in the values; become those in the masters. Returns that in the scale, where it is learned, with
  // the factor that balances it against those of weights.
  virtual double gradient(const MasterRun& run, float scale, std::span<float> slopes) const = 0;
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
const Estimator& bwn_estimator();

}  // namespace nibble
