// SPDX-License-Identifier: Apache-2.0
//
// The direction of a matrix without its lengths: U V^T of the singular value decomposition U S V^T, approximately. By
// Newton and Schulz's iteration with the coefficients of Jordan 2024, which take singular values to about [0.7, 1.2]
// fast rather than to 1.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/machine.h"

namespace nibble {

// In place, [rows, cols]. Zeros stay zeros. The same bits for any number of threads.
void make_orthogonal(std::span<float> matrix, std::uint64_t rows, std::uint64_t cols, unsigned iterations,
                     Machine& machine);

}  // namespace nibble
