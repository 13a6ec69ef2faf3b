// SPDX-License-Identifier: Apache-2.0
#include "net/engine/buffer_plan.h"

#include <algorithm>
#include <numeric>

namespace nibble::net_engine {

std::size_t plan_buffers(std::vector<PlannedBuffer>& buffers) {
  std::vector<std::size_t> order(buffers.size()), placed;
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  std::size_t end = 0;
  for (const std::size_t one : order) {
    PlannedBuffer& buffer = buffers[one];
    buffer.bytes = (buffer.bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
    std::size_t offset = 0;
    for (const std::size_t other : placed) {  // by offset
      const PlannedBuffer& taken = buffers[other];
      if (taken.last < buffer.first || taken.first > buffer.last) continue;
      if (offset + buffer.bytes <= taken.offset) break;
      offset = std::max(offset, taken.offset + taken.bytes);
    }
    buffer.offset = offset;
    end = std::max(end, offset + buffer.bytes);
    const auto place = std::ranges::upper_bound(placed, offset, {}, [&](std::size_t i) { return buffers[i].offset; });
    placed.insert(place, one);
  }
  return end;
}

}  // namespace nibble::net_engine
