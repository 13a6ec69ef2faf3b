// SPDX-License-Identifier: Apache-2.0
//
// Large memory without a page fault for every 4 KiB of it, which would take longer than filling it.
//
//   std::vector<float> matrix = large_vector(rows * cols);
#pragma once

#include <cstddef>
#include <vector>

namespace nibble {

// Before it is touched for the first time. A wish: small blocks and systems without huge pages are left alone.
void ask_for_huge_pages(void* memory, std::size_t size) noexcept;

// Zeros.
inline std::vector<float> large_vector(std::size_t size) {
  std::vector<float> values;
  values.reserve(size);
  ask_for_huge_pages(values.data(), size * sizeof(float));
  values.resize(size);
  return values;
}

}  // namespace nibble
