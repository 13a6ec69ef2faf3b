// SPDX-License-Identifier: Apache-2.0
//
// Whether a format's grids can hold weights of a tensor's magnitude. Scales are stored in few bits: halves overflow
// above 65504 and lose their digits below 6e-5, and whatever is rounded to such a scale clips, loses precision or
// becomes zero. Judged by doing it: some rows are encoded as they are and once more at a magnitude that every scale
// holds. Immutable once made, safe from many threads.
//
//   const MagnitudeSample sample(source, peak_of(source), isa);
//   if (!sample.is_held_by(find_format("q8_0"), {})) ...
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "format/tensor_source.h"
#include "quantize/weight_peak.h"

namespace nibble {

class MagnitudeSample {
 public:
  // Reads a few rows, and the one that the peak lies in. peak: of the whole matrix, where needs_peak().
  MagnitudeSample(const TensorSource& source, const std::optional<WeightPeak>& peak, Isa isa);

  // True where the format loses about as much as it does at any magnitude, and for tensors that hold NaN or infinity:
  // those are for whoever encodes them to name.
  bool is_held_by(const FormatPtr& format, const FitOptions& fit) const;

  float largest() const { return largest_; }

 private:
  std::vector<double> errors(const Format& format, const FitOptions& fit, std::span<const float> values) const;

  Isa isa_;
  std::uint64_t rows_ = 0, cols_ = 0;  // of the sample
  std::vector<float> values_;  // [rows, cols]; the last row is the one with the largest magnitude where that is known
  bool has_peak_ = false;
  bool is_finite_ = true;
  float largest_ = 0;
};

// Whether a tensor of the source format may hold what the target's scales cannot for being too large, so that all of it
// is to be looked at.
bool needs_peak(const Format& source, const Format& target);

// The wanted format where it holds the sample's weights, else the first of other_scales() that does; the last one holds
// all there is.
FormatPtr held_format(const FormatPtr& wanted, const MagnitudeSample& sample, const FitOptions& fit,
                      std::uint64_t cols);

}  // namespace nibble
