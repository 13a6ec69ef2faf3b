// SPDX-License-Identifier: Apache-2.0
//
// The points of MXFP4 and NVFP4 as ggml codes them: E2M1 floats, doubled so that they are integers: 0 1 2 3 4 6 8 12, with bit 3 the
// sign. A code and its negative zero decode alike; encoders never choose code 8.
#pragma once

#include <cmath>
#include <cstdint>

#include "format/format.h"

namespace nibble {

inline constexpr float kDoubledE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, -0.0f, -1, -2, -3, -4, -6, -8, -12};

// The code nearest to `scaled`; ties go to the smaller magnitude, as the reference's first-come search has it.
inline Code nearest_doubled_e2m1(float scaled) {
  const float m = std::fabs(scaled);
  const int magnitude = (m > 0.5f) + (m > 1.5f) + (m > 2.5f) + (m > 3.5f) + (m > 5.0f) + (m > 7.0f) + (m > 10.0f);
  return static_cast<Code>(magnitude == 0 || scaled > 0 ? magnitude : magnitude + 8);
}

}  // namespace nibble
