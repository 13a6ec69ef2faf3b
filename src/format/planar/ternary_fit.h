// SPDX-License-Identifier: Apache-2.0
//
// The grids of ternary and binary points. See fit.h for the rules.
#pragma once

#include "format/planar/fit.h"

namespace nibble {

// peak: the largest magnitude of the span, after clipping.
PlanarGrid fit_ternary(const PlanarSpec& spec, const SpanValues& span, float peak, FitRule rule, ScaleUnit unit);

// The mean magnitude is the least-squares scale; every rule comes to it.
PlanarGrid fit_binary(const PlanarSpec& spec, const SpanValues& span, ScaleUnit unit);

}  // namespace nibble
