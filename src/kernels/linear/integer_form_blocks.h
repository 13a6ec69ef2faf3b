// SPDX-License-Identifier: Apache-2.0
//
// Block formats as integers on a grid: one line for each in the table of integer_form_blocks.cpp.
#pragma once

#include "kernels/linear/integer_form.h"

namespace nibble {

std::optional<IntegerForm> block_integer_form(const Format& format);

}  // namespace nibble
