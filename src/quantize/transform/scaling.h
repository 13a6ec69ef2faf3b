// SPDX-License-Identifier: Apache-2.0
//
// Scales that fold away.
//
//   awq          Lin et al. 2023: s = a^alpha or a^alpha / w^(1 - alpha), a the columns' root mean square input (the
//   paper takes the mean
//                magnitude), w their mean relative magnitude of weights; alpha by a grid of 20 on the error that
//                rounding leaves in the outputs, tr(E H E^T), measured with the site's second moment in place of
//                samples
//   smoothquant  Xiao et al. 2022: s = max|x|^alpha / max|w|^(1 - alpha)
//
// The scales here multiply weights' columns. Internal to transform/.
#pragma once

#include <vector>

#include "kernels/machine.h"
#include "quantize/transform/transform.h"

namespace nibble {

std::vector<float> awq_scales(const ScaleRequest& request, Machine& machine);
std::vector<float> smoothquant_scales(const ScaleRequest& request, double alpha);

}  // namespace nibble
