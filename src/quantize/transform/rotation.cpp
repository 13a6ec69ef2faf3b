// SPDX-License-Identifier: Apache-2.0
#include "quantize/transform/rotation.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "kernels/linear/input_rotation.h"

namespace nibble {
namespace {

ChannelTransform random_transform(std::uint64_t channels, std::uint64_t largest) {
  const auto block = static_cast<std::uint32_t>(std::gcd(channels, largest));
  if (block < kSmallestRotation) return {};
  ChannelTransform transform{block, {}};
  Random random(channels);
  for (std::uint64_t i = 0; i < channels; ++i)
    transform.signs.push_back(random.below(2) != 0 ? std::int8_t{-1} : std::int8_t{1});
  return transform;
}

// Each row [n] becomes T times it.
void rotate_each_row(const InputRotation& rotation, std::vector<float>& matrix, ThreadPool& pool) {
  const std::size_t n = rotation.channels();
  pool.parallel_for(matrix.size() / n, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row) rotation.apply(&matrix[row * n], &matrix[row * n]);
  });
}

void transpose(std::vector<float>& square, std::size_t n, ThreadPool& pool) {
  constexpr std::size_t kTile = 32;
  pool.parallel_for((n + kTile - 1) / kTile, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin * kTile; row < std::min(n, end * kTile); ++row)
      for (std::size_t col = 0; col < row; ++col) std::swap(square[row * n + col], square[col * n + row]);
  });
}

}  // namespace

std::shared_ptr<const TensorParts> rotation_of(std::uint64_t cols) {
  ChannelTransform transform = random_transform(cols, kLargestRotation);
  if (transform.empty()) return nullptr;
  auto parts = std::make_shared<TensorParts>();
  parts->input_transform = std::move(transform);
  return parts;
}

ChannelTransform whole_rotation(std::uint64_t channels) {
  constexpr std::uint64_t kAny = std::uint64_t{1} << 31;
  return random_transform(channels, kAny);
}

SiteStatistics rotated(const SiteStatistics& site, const ChannelTransform& transform, Machine& machine) {
  SiteStatistics seen = site;
  seen.absmax.clear();
  seen.histogram.clear();
  seen.negatives.clear();
  const std::size_t n = site.width();
  if (site.has_second_moment()) {
    // T H T^t of a symmetric H: its rows, then those of the transpose.
    const InputRotation rotation(transform, n, machine.isa);
    rotate_each_row(rotation, seen.second_moment, machine.pool);
    transpose(seen.second_moment, n, machine.pool);
    rotate_each_row(rotation, seen.second_moment, machine.pool);
    for (std::size_t i = 0; i < n; ++i) seen.mean_square[i] = std::max(0.0F, seen.second_moment[i * n + i]);
    return seen;
  }
  for (std::size_t begin = 0; begin < n; begin += transform.size) {
    const auto block = seen.mean_square.begin() + static_cast<std::ptrdiff_t>(begin);
    const float sum = std::accumulate(block, block + transform.size, 0.0F);
    std::fill_n(block, transform.size, sum / static_cast<float>(transform.size));
  }
  return seen;
}

}  // namespace nibble
