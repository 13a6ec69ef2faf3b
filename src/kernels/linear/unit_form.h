// SPDX-License-Identifier: Apache-2.0
//
// The integer forms of ggml's IQ types, whose codes name 4 or 8 columns at once.
#pragma once

#include "kernels/linear/integer_form.h"

namespace nibble {

std::optional<IntegerForm> unit_form(const Format& format);

}  // namespace nibble
