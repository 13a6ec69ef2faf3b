// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/input_codes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/round_up.h"
#include "kernels/select.h"

namespace nibble {
namespace {

ActivationScale scale_of(const ActivationGrid& grid) {
  return {grid.scale, 1.0f / grid.scale, static_cast<float>(grid.zero)};
}

// The grid that just holds a token.
ActivationScale scale_of_range(float low, float high, bool is_asymmetric) {
  const float width = is_asymmetric ? high - low : std::max(-low, high), steps = is_asymmetric ? 255.0f : 127.0f;
  if (!(width > 1e-35f)) return {0, 0, 0};  // smaller would overflow the inverse
  const float inverse = steps / width;
  return {width / steps, inverse, is_asymmetric ? std::nearbyint(-128.0f - low * inverse) : 0.0f};
}

ActivationRounding rounding_of(const IntegerShape& shape, const ActivationFormat& format) {
  const std::size_t run = format.grain == ActivationGrain::run ? format.run : kActivationDepth;
  return {run, std::min(kernel_group(shape), run), shape.middle, wide_rule(format.wide)};
}

}  // namespace

std::size_t ActivationBuffers::bytes(std::size_t blocks, std::size_t tokens, std::size_t runs) {
  return round_up(
      blocks * tokens * (2 * kBlockDepth + 8 + 8 * kMaxGroups + runs * (4 + kSumCodes)) + tokens * sizeof(float), 64);
}

ActivationBuffers::ActivationBuffers(std::byte* base, std::size_t blocks, std::size_t tokens, std::size_t num_runs)
    : runs(num_runs) {
  const std::size_t n = blocks * tokens;
  codes = reinterpret_cast<std::int8_t*>(base);
  wide = codes + n * kBlockDepth;
  wide_quads = reinterpret_cast<std::uint64_t*>(wide + n * kBlockDepth);
  sums = reinterpret_cast<float*>(wide_quads + n);
  biases = reinterpret_cast<std::int32_t*>(sums + n * kMaxGroups);
  scales = reinterpret_cast<float*>(biases + n * kMaxGroups);
  shifts = scales + n * runs;
  sum_codes = reinterpret_cast<std::int8_t*>(shifts + tokens);
}

InputCodes::InputCodes(const IntegerForm& form, const KernelOptions& options, std::uint64_t cols, Isa isa)
    : format_(options.activation_format),
      rounding_(rounding_of(form.shape, options.activation_format)),
      grid_{options.activation_grid.scale, format_.is_asymmetric ? options.activation_grid.zero : 0},
      kernels_(kernel_table(isa)),
      cols_(static_cast<std::size_t>(cols)),
      num_blocks_((cols_ + kBlockDepth - 1) / kBlockDepth),
      unit_columns_(form.units.columns),
      sums_whole_rows_(form.shape.scale == ScaleKind::row && form.shape.offset == OffsetKind::none &&
                       format_.grain != ActivationGrain::run && cols <= kMostSummedColumns) {
  for (std::size_t place = 0; place < 32; ++place)
    places_[unit_columns_ == 0 ? place : unit_column(form.units, form.shape.group, place)] =
        static_cast<std::uint8_t>(place);
}

std::uint64_t InputCodes::preparation() const noexcept {
  return std::uint64_t{unit_columns_} << 40 | std::uint64_t{sums_whole_rows_} << 33 | std::uint64_t{1} << 32 |
         rounding_.group << 16 | static_cast<std::uint16_t>(rounding_.middle);
}

std::uint64_t InputCodes::grid() const noexcept {
  const std::uint64_t kind = static_cast<std::uint64_t>(format_.grain) << 8 |
                             std::uint64_t{format_.is_asymmetric} << 10 |
                             static_cast<std::uint64_t>(format_.wide) << 11 | std::uint64_t{format_.run} << 16;
  if (!format_.is_static()) return kind;
  return kind | std::uint64_t{std::bit_cast<std::uint32_t>(grid_.scale)} << 32 | static_cast<std::uint8_t>(grid_.zero);
}

void InputCodes::prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const {
  const ActivationBuffers activations = buffers(shared, tokens);
  pool.parallel_for(tokens, std::max<std::size_t>(1, 8192 / (num_blocks_ * kBlockDepth)),
                    [&](std::size_t begin, std::size_t end, std::size_t) {
                      for (std::size_t t = begin; t < end; ++t) quantize_token(x + t * cols_, t, tokens, activations);
                    });
}

void InputCodes::prepare_ones(std::byte* shared) const {
  const std::vector<float> x(cols_, 1.0f);
  put_on_grid({1, 1, 0}, x.data(), 0, 1, buffers(shared, 1));
}

std::size_t InputCodes::columns_of(std::size_t block) const {
  return std::min(kBlockDepth, cols_ - block * kBlockDepth);
}

void InputCodes::quantize_token(const float* x, std::size_t token, std::size_t tokens,
                                const ActivationBuffers& activations) const {
  if (format_.is_static()) return put_on_grid(scale_of(grid_), x, token, tokens, activations);
  if (format_.grain == ActivationGrain::token) {
    float range[2];
    kernels_.find_range(x, cols_, range);
    return put_on_grid(scale_of_range(range[0], range[1], format_.is_asymmetric), x, token, tokens, activations);
  }
  for (std::size_t b = 0; b < num_blocks_; ++b) {
    const ActivationTarget target = activations.target(b * tokens + token);
    kernels_.quantize_activations(x + b * kBlockDepth, columns_of(b), rounding_, target);
    if (unit_columns_ != 0) reorder(target);
  }
}

void InputCodes::put_on_grid(const ActivationScale& grid, const float* x, std::size_t token, std::size_t tokens,
                             const ActivationBuffers& activations) const {
  for (std::size_t b = 0; b < num_blocks_; ++b) {
    const ActivationTarget target = activations.target(b * tokens + token);
    kernels_.quantize_on_grid(grid, x + b * kBlockDepth, columns_of(b), rounding_, target);
    if (unit_columns_ != 0) reorder(target);
  }
  activations.shifts[token] = -(grid.scale * grid.zero);
  if (sums_whole_rows_) gather_biases(token, tokens, activations);
}

// All of a token's biases, to the first one's place.
void InputCodes::gather_biases(std::size_t token, std::size_t tokens, const ActivationBuffers& activations) const {
  std::int32_t sum = 0;
  for (std::size_t b = 0; b < num_blocks_; ++b)
    for (std::size_t run = 0; run * kActivationDepth < columns_of(b); ++run)
      sum += activations.biases[(b * tokens + token) * kMaxGroups + run];
  activations.biases[token * kMaxGroups] = sum;
}

// Columns to where they stand in what units are decoded to: within 32, so that all quads of 32 count as wide where one
// is.
void InputCodes::reorder(const ActivationTarget& target) const {
  std::uint64_t quads = 0;
  for (std::size_t start = 0; start < kBlockDepth; start += 32) {
    reorder(target.codes + start);
    if ((*target.wide_quads >> (start / 4) & 255) == 0) continue;
    reorder(target.wide + start);
    quads |= std::uint64_t{255} << (start / 4);
  }
  *target.wide_quads = quads;
}

void InputCodes::reorder(std::int8_t* codes) const {
  std::int8_t ordered[32];
  for (std::size_t c = 0; c < 32; ++c) ordered[places_[c]] = codes[c];
  std::memcpy(codes, ordered, 32);
}

}  // namespace nibble
