// SPDX-License-Identifier: Apache-2.0
//
// What a compiled net does with codes.
#pragma once

#include "net/engine/code_fusion.h"
#include "net/engine/convolution_step.h"
#include "net/engine/step.h"

namespace nibble::net_engine {

StepPointer code_convolution(const ProductShape& shape, const ConvolutionViews& views, const CodeProduct& product);
StepPointer code_sum_step(const CodeSum& sum, const View& a, const View& b, const View& y);
StepPointer code_table_step(const CodeTable& table, const View& x, const View& y);
// Codes to what they stand for, and numbers to codes. grid: of bytes.
StepPointer widen_step(const CodeGrid& grid, const View& x, const View& y);
StepPointer narrow_step(const CodeGrid& grid, float low, float high, const View& x, const View& y);

}  // namespace nibble::net_engine
