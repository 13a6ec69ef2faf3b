// SPDX-License-Identifier: Apache-2.0
//
// The instruction set that tests compute with where any would do.
#pragma once

#include <cstdlib>

#include "base/cpu.h"

namespace nibble {

// The best of this processor, or the one that NIBBLE_ISA names.
inline Isa chosen_isa() {
  const char* const wanted = std::getenv("NIBBLE_ISA");
  return choose_isa(detect_cpu(), wanted == nullptr ? "" : wanted);
}

}  // namespace nibble
