// SPDX-License-Identifier: Apache-2.0
//
// Rounding to the nearest storable value, each weight by itself.
#pragma once

#include <memory>

#include "quantize/round/rounder.h"

namespace nibble {

std::shared_ptr<const Rounder> make_nearest_rounder();

}  // namespace nibble
