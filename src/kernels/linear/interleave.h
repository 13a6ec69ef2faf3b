// SPDX-License-Identifier: Apache-2.0
//
// Rows of plain numbers laid side by side.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "format/quantized_tensor.h"
#include "kernels/kernel_table.h"

namespace nibble {

// 64 rows from `panel` * 64 on (fewer at the end) to out[i * 64 + row], i counting the elements of a row: numbers, or
// pairs of them that stay together. What lies beyond the last row is left alone.
template <class Element>
inline void interleave(const QuantizedView& w, std::size_t panel, Element* out) {
  const std::size_t first = panel * kPanelRows,
                    count = std::min<std::size_t>(kPanelRows, static_cast<std::size_t>(w.rows) - first);
  const std::size_t cols = w.specs[0].row_bytes / sizeof(Element);
  constexpr std::size_t kBlock = 64 / sizeof(Element);
  std::array<Element, kBlock> line;
  for (std::size_t c = 0; c < cols; c += kBlock) {
    const std::size_t n = std::min(kBlock, cols - c);
    for (std::size_t r = 0; r < count; ++r) {
      std::memcpy(line.data(), w.row(first + r)[0] + c * sizeof(Element), n * sizeof(Element));
      for (std::size_t i = 0; i < n; ++i) out[(c + i) * kPanelRows + r] = line[i];
    }
  }
}

}  // namespace nibble
