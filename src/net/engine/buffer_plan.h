// SPDX-License-Identifier: Apache-2.0
//
// Where buffers lie in one block of memory: those that are not needed at the same time share it.
#pragma once

#include <cstddef>
#include <vector>

namespace nibble::net_engine {

struct PlannedBuffer {
  std::size_t bytes = 0;
  std::size_t first = 0, last = 0;  // the steps from which and to which it is needed
  std::size_t offset = 0;           // what is planned
};

inline constexpr std::size_t kBufferAlignment = 64;

// Sets the offsets, multiples of kBufferAlignment, and returns how many bytes all take. Largest first, each as low as
// it fits among those that are needed with it.
std::size_t plan_buffers(std::vector<PlannedBuffer>& buffers);

}  // namespace nibble::net_engine
