// SPDX-License-Identifier: Apache-2.0
//
// How much memory there is to be had.
#pragma once

#include <cstdint>

namespace nibble {

// Bytes that this process may still take: the smaller of what the system calls available and what its cgroup leaves; the largest number
// when neither can be read.
std::uint64_t available_memory();

}  // namespace nibble
