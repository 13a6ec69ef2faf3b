// SPDX-License-Identifier: Apache-2.0
//
// Which of several models are not beaten: no other is at most as large and loses less, or is smaller and loses no more.
//
//   std::vector<bool> front = size_front({{3'330'936, 0.0762}, {4'100'000, 0.0098}});
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

struct SizedLoss {
  std::uint64_t bytes = 0;
  double loss = 0;
};

inline std::vector<bool> size_front(std::span<const SizedLoss> models) {
  std::vector<bool> front;
  for (const SizedLoss& one : models)
    front.push_back(std::ranges::none_of(models, [&](const SizedLoss& other) {
      return other.bytes <= one.bytes && other.loss <= one.loss && (other.bytes < one.bytes || other.loss < one.loss);
    }));
  return front;
}

}  // namespace nibble
