// SPDX-License-Identifier: Apache-2.0
//
// What moments that weigh tokens take beside plain ones: gradients of the whole model, weights of all tokens, a moment
// for each group of a matrix's rows. Judged before any of it is taken. Internal to pipeline/.
//
//   require_hessian_memory(hessian, {source, tokens, true, arithmetic}, available_memory(), machine);
#pragma once

#include <cstdint>

#include "calibrate/calibration_text.h"
#include "kernels/dense/matrix_product.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "pipeline/quantize/hessian.h"

namespace nibble {

// Borrowed.
struct HessianText {
  const SourceModel& source;
  const CalibrationTokens& tokens;
  bool follows_original = true;  // whether targets are summed up, too
  ProductArithmetic arithmetic = ProductArithmetic::f32;
  bool rotates = false;  // whether a moment is kept as its Linears' rotated inputs have it, too
};

// What kl moments keep of such layers while these are rounded and learn, in bytes: of every Linear the moment of its
// outputs and what each token weighs, and the moments of the streams behind the layers.
std::uint64_t kept_curvature_bytes(const SourceModel& source, std::uint64_t tokens, std::int64_t first_layer,
                                   std::int64_t end_layer);

// What rounding by moments takes at a time beside what is kept of gradients, in bytes; of plain ones nothing.
std::uint64_t rounding_bytes(const Hessian& hessian, const HessianText& text);

// At most, in bytes; of plain ones nothing.
std::uint64_t hessian_bytes(const Hessian& hessian, const HessianText& text, Machine& machine);

// Error(resource) where that is more than is available; says which moments would fit.
void require_hessian_memory(const Hessian& hessian, const HessianText& text, std::uint64_t available, Machine& machine);

}  // namespace nibble
