// SPDX-License-Identifier: Apache-2.0
//
//   round_up(300, 128);  // 384
#pragma once

#include <cstddef>

namespace nibble {

// The least multiple of `multiple`, which is not 0, that n fits in.
constexpr std::size_t round_up(std::size_t n, std::size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace nibble
