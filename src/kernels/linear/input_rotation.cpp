// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/input_rotation.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace nibble {

InputRotation::InputRotation(const ChannelTransform& transform, std::uint64_t channels, Isa isa)
    : size_(transform.size),
      factors_(static_cast<std::size_t>(channels), 1 / std::sqrt(static_cast<float>(transform.size))),
      runs_(hadamard_runs(isa)) {
  assert(!transform.empty() && channels % transform.size == 0);
  for (std::size_t i = 0; i < transform.signs.size(); ++i) factors_[i] *= static_cast<float>(transform.signs[i]);
}

std::span<const float> InputRotation::apply_to(std::span<const float> vectors, std::vector<float>& room,
                                               ThreadPool& pool) const {
  constexpr std::size_t kGrainElements = 16384;
  const std::size_t n = channels();
  room.resize(vectors.size());
  pool.parallel_for(vectors.size() / n, std::max<std::size_t>(1, kGrainElements / n),
                    [&](std::size_t begin, std::size_t end, std::size_t) {
                      for (std::size_t i = begin; i < end; ++i) apply(&vectors[i * n], &room[i * n]);
                    });
  return room;
}

}  // namespace nibble
