// SPDX-License-Identifier: Apache-2.0
//
// Gelu as files spell it out, number by number: one operation, for which there is a loop.
#pragma once

#include <cstddef>

#include "net/net.h"

namespace nibble::net_engine {

// x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2 in any order of its products and sums, of values that nobody
// else reads. Returns how many there were.
std::size_t find_gelus(Net& net);

}  // namespace nibble::net_engine
