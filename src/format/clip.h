// SPDX-License-Identifier: Apache-2.0
//
// Where to cut a span's range off before the plain rules see it: FitRule::percentile and FitRule::entropy are "clip, then absmax".
#pragma once

#include <cstddef>
#include <span>

namespace nibble {

// The magnitude below or at which `percentile` percent of the values lie (nearest rank); 100 and above: the largest.
float percentile_clip(std::span<const float> x, double percentile);

// The magnitude at which cutting off keeps the quantized distribution of magnitudes closest to the original in Kullback-Leibler
// divergence (Migacz, "8-bit inference with TensorRT", GTC 2017), for a format with `num_levels` levels of magnitude. Spans too short
// for a histogram keep their range.
float entropy_clip(std::span<const float> x, std::size_t num_levels);

}  // namespace nibble
