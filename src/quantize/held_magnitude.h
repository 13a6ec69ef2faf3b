// SPDX-License-Identifier: Apache-2.0
//
// Whether a format's grids can hold weights of a tensor's magnitude. Scales are stored in few bits: halves overflow above 65504 and lose
// their digits below 6e-5, and whatever is rounded to such a scale clips, loses precision or becomes zero. Judged by doing it: some rows are
// encoded as they are and once more at a magnitude that every scale holds. Immutable once made, safe from many threads.
//
//   const MagnitudeSample sample(view, order, pool, isa);
//   if (!sample.is_held_by(find_format("q8_0"), {})) ...
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "format/quantized_tensor.h"

namespace nibble {

class MagnitudeSample {
 public:
  // Reads the whole tensor once where `scan` asks for it, for the largest magnitude; else a few rows.
  enum class Scan { rows, whole };
  MagnitudeSample(const QuantizedView& view, Scan scan, ThreadPool& pool, Isa isa);

  // True where the format loses about as much as it does at any magnitude, and for tensors that hold NaN or infinity: those are for whoever
  // encodes them to name.
  bool is_held_by(const FormatPtr& format, const FitOptions& fit) const;

  float largest() const { return largest_; }

 private:
  std::vector<double> errors(const Format& format, const FitOptions& fit, std::span<const float> values) const;

  Isa isa_;
  std::uint64_t rows_ = 0, cols_ = 0;  // of the sample
  std::vector<float> values_;          // [rows, cols]; the last row is the one with the largest magnitude where the whole tensor was read
  bool has_peak_ = false;
  bool is_finite_ = true;
  float largest_ = 0;
};

// Whether a tensor of the source format may hold what the target's scales cannot for being too large, so that all of it is to be read.
MagnitudeSample::Scan scan_for(const Format& source, const Format& target);

// The wanted format where it holds the sample's weights, else the first of other_scales() that does; the last one holds all there is.
FormatPtr held_format(const FormatPtr& wanted, const MagnitudeSample& sample, const FitOptions& fit, std::uint64_t cols);

}  // namespace nibble
