// SPDX-License-Identifier: Apache-2.0
//
// The grid of a Linear's inputs, chosen from what calibration saw of them. The rules bear the names of those for
// weights:
//
//   absmax, minmax  all that was seen fits
//   percentile      a share of the values fits; with a zero point the rest is cut off at both ends in equal parts
//   search          the range with the smallest squared error
//   entropy         magnitudes are cut where the quantized distribution is closest to what was seen (format/clip.h)
//   automatic       search
//
// Statistics keep histograms, not values: eight bins an octave, taken as uniform within. Pure functions.
//
//   ActivationGrid grid = fit_activation_grid(*statistics.find({3, "mlp_out"}), parse_activation_format("a8:static"),
//   find_fit("percentile:99.99"));
#pragma once

#include "format/activation_format.h"
#include "format/format.h"
#include "quantize/statistics.h"

namespace nibble {

// Error(invalid_argument): a rule that means nothing for activations. Error(unusable_input): statistics without
// histogram or range (an imported importance matrix, or of an earlier version).
ActivationGrid fit_activation_grid(const SiteStatistics& site, ActivationFormat format, const FitOptions& fit);

// What fit_activation_grid(search) makes small: the mean squared difference between what was seen and its place on the
// grid.
double mean_squared_rounding(const SiteStatistics& site, const ActivationGrid& grid);

}  // namespace nibble
