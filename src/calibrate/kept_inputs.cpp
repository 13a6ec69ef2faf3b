// SPDX-License-Identifier: Apache-2.0
#include "calibrate/kept_inputs.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "kernels/kernel_table.h"
#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kRuns = kBlockDepth / kActivationDepth;
constexpr std::int32_t kWideWorth = 1 << kWideShift;

// What a kernel fills for one token and block; only some of it is kept.
struct BlockOfToken {
  std::int8_t codes[kBlockDepth], wide[kBlockDepth], sum_codes[kRuns * kSumCodes];
  float scales[kRuns], sums[kMaxGroups];
  std::int32_t biases[kMaxGroups];
  std::uint64_t wide_quads;

  ActivationTarget target() { return {codes, scales, biases, sums, sum_codes, wide, &wide_quads}; }
};

}  // namespace

KeptInputs::KeptInputs(std::size_t windows, std::size_t length, std::size_t width, const ActivationFormat& format,
                       Isa isa, const std::filesystem::path& directory)
    : isa_(isa),
      format_(format),
      length_(length),
      width_(width),
      groups_((width + kActivationDepth - 1) / kActivationDepth),
      window_bytes_((length * (groups_ * sizeof(float) + width) + sizeof(float) - 1) / sizeof(float) * sizeof(float)),
      memory_(windows * window_bytes_, directory),
      wide_(windows * length),
      has_(windows) {
  assert(format.grain == ActivationGrain::run && format.run == kActivationDepth && format.wide != WideColumns::all);
}

void KeptInputs::put_token(std::size_t window, std::size_t token, float* x) {
  const ActivationRounding rounding{kActivationDepth, kActivationDepth, 0, wide_rule(format_.wide)};
  std::vector<WideCode>& wide = wide_[window * length_ + token];
  wide.clear();
  BlockOfToken block;
  for (std::size_t start = 0; start < width_; start += kBlockDepth) {
    const std::size_t count = std::min(kBlockDepth, width_ - start);
    kernel_table(isa_).quantize_activations(x + start, count, rounding, block.target());
    std::memcpy(codes_of(window) + token * width_ + start, block.codes, count);
    for (std::size_t run = 0; run * kActivationDepth < count; ++run)
      scales_of(window)[token * groups_ + start / kActivationDepth + run] = block.scales[run];
    for (std::size_t i = 0; block.wide_quads != 0 && i < count; ++i)
      if (block.wide[i] != 0) wide.push_back({static_cast<std::uint32_t>(start + i) & 0xffffffu, block.wide[i]});
  }
  wide.shrink_to_fit();
  get_token(window, token, x);
}

void KeptInputs::get_token(std::size_t window, std::size_t token, float* x) const {
  const float* const scales = scales_of(window) + token * groups_;
  const std::int8_t* const codes = codes_of(window) + token * width_;
  for (std::size_t i = 0; i < width_; ++i) x[i] = scales[i / kActivationDepth] * static_cast<float>(codes[i]);
  for (const WideCode& wide : wide_[window * length_ + token])
    x[wide.column] =
        scales[wide.column / kActivationDepth] * static_cast<float>(codes[wide.column] + kWideWorth * wide.code);
}

void KeptInputs::put(std::size_t window, float* x, ThreadPool& pool) {
  pool.parallel_for(length_, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) put_token(window, t, x + t * width_);
  });
  memory_.release(window * window_bytes_, window_bytes_);
  has_[window] = true;
}

void KeptInputs::get(std::size_t window, float* x, ThreadPool& pool) const {
  pool.parallel_for(length_, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) get_token(window, t, x + t * width_);
  });
  memory_.release(window * window_bytes_, window_bytes_);
}

}  // namespace nibble
