// SPDX-License-Identifier: Apache-2.0
#include "calibrate/kept_inputs.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace nibble {
namespace {

constexpr std::size_t kGroup = 128;        // columns with one scale
constexpr float kSmallestPeak = 1e-30F;    // smaller ones would overflow the inverse
constexpr float kIntegerAdder = 12582912;  // 1.5 * 2^23: what is added to it is rounded to an integer, ties to even, in its lowest bits

}  // namespace

KeptInputs::KeptInputs(std::size_t windows, std::size_t length, std::size_t width, const std::filesystem::path& directory)
    : length_(length),
      width_(width),
      groups_((width + kGroup - 1) / kGroup),
      window_bytes_((length * (groups_ * sizeof(float) + width) + sizeof(float) - 1) / sizeof(float) * sizeof(float)),
      memory_(windows * window_bytes_, directory),
      has_(windows) {}

void KeptInputs::put(std::size_t window, float* x, ThreadPool& pool) {
  pool.parallel_for(length_, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t)
      for (std::size_t g = 0; g < groups_; ++g) {
        float* const own = x + t * width_ + g * kGroup;
        const std::size_t count = std::min(kGroup, width_ - g * kGroup);
        std::int8_t* const codes = codes_of(window) + t * width_ + g * kGroup;
        float peak = 0;
        for (std::size_t i = 0; i < count; ++i) peak = std::max(peak, std::fabs(own[i]));
        const float scale = peak < kSmallestPeak ? 0 : peak / 127, inverse = peak < kSmallestPeak ? 0 : 127 / peak;
        scales_of(window)[t * groups_ + g] = scale;
        for (std::size_t i = 0; i < count; ++i) {
          codes[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(own[i] * inverse + kIntegerAdder));
          own[i] = scale * static_cast<float>(codes[i]);
        }
      }
  });
  memory_.release(window * window_bytes_, window_bytes_);
  has_[window] = true;
}

void KeptInputs::get(std::size_t window, float* x, ThreadPool& pool) const {
  pool.parallel_for(length_, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
    const float* const scales = scales_of(window);
    const std::int8_t* const codes = codes_of(window);
    for (std::size_t t = begin; t < end; ++t)
      for (std::size_t i = 0; i < width_; ++i) x[t * width_ + i] = scales[t * groups_ + i / kGroup] * static_cast<float>(codes[t * width_ + i]);
  });
  memory_.release(window * window_bytes_, window_bytes_);
}

}  // namespace nibble
