// SPDX-License-Identifier: Apache-2.0
//
// The loop behind input_rotation.h, by instruction set; all sets give the same bits. Neither throws, allocates nor
// prints.
#pragma once

#include <cstddef>

#include "base/cpu.h"

namespace nibble {

// out = H (factors * x) for each run of `size` channels, a power of two, H in Sylvester's order with elements 1 and -1;
// out may be x. Sums of partners 1, 2, 4, ... apart, in this order.
using HadamardRuns = void (*)(const float* x, const float* factors, std::size_t size, std::size_t channels, float* out);

// The processor must have the set.
HadamardRuns hadamard_runs(Isa isa);

namespace scalar {
extern const HadamardRuns kHadamardRuns;
}
namespace avx2 {
extern const HadamardRuns kHadamardRuns;
}
namespace avx512 {
extern const HadamardRuns kHadamardRuns;
}
namespace neon {
extern const HadamardRuns kHadamardRuns;
}

}  // namespace nibble
