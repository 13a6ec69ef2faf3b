// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/binary_matrix.h"

#include <algorithm>
#include <bit>

#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kTokens = 64;  // that are multiplied with a panel while it is in the nearest cache
constexpr std::size_t kCountWords = kTokens * kBinaryRows / 2;  // of a worker; counts are half as wide

std::size_t words_of(std::size_t cols) { return (cols + 63) / 64; }
std::size_t panels_of(std::size_t rows) { return (rows + kBinaryRows - 1) / kBinaryRows; }

// The signs of up to 64 numbers, the first in the lowest bit.
std::uint64_t sign_word(const float* x, std::size_t count) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < count; ++i) word |= std::uint64_t{std::bit_cast<std::uint32_t>(x[i]) >> 31} << i;
  return word;
}

void pack_signs(const float* x, std::size_t cols, std::uint64_t* out, std::size_t stride) {
  for (std::size_t k = 0; k < words_of(cols); ++k)
    out[k * stride] = sign_word(x + 64 * k, std::min<std::size_t>(64, cols - 64 * k));
}

}  // namespace

BinaryMatrix BinaryMatrix::pack(const float* weights, std::size_t rows, std::size_t cols, ThreadPool& pool) {
  BinaryMatrix matrix;
  matrix.rows_ = rows;
  matrix.cols_ = cols;
  const std::size_t words = words_of(cols);
  matrix.bits_ = ResidentBytes(panels_of(rows) * kBinaryRows * words * sizeof(std::uint64_t));
  std::uint64_t* const bits = matrix.bits_.as<std::uint64_t>();
  pool.parallel_for(rows, kBinaryRows, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row)
      pack_signs(weights + row * cols, cols, bits + begin * words + (row - begin), kBinaryRows);
  });
  return matrix;
}

void BinaryMatrix::multiply(const float* x, std::size_t tokens, std::int32_t* y, Machine& machine) const {
  const std::size_t words = words_of(cols_);
  std::uint64_t* const signs = reinterpret_cast<std::uint64_t*>(
      machine.scratch.reserve((tokens * words + machine.pool.num_threads() * kCountWords) * 8));
  machine.pool.parallel_for(tokens, std::max<std::size_t>(1, 16384 / std::max<std::size_t>(cols_, 1)),
                            [&](std::size_t begin, std::size_t end, std::size_t) {
                              for (std::size_t t = begin; t < end; ++t)
                                pack_signs(x + t * cols_, cols_, signs + t * words, 1);
                            });
  multiply_bits(signs, tokens, y, machine, signs + tokens * words);
}

void BinaryMatrix::multiply_bits(const std::uint64_t* signs, std::size_t tokens, std::int32_t* y,
                                 Machine& machine) const {
  multiply_bits(signs, tokens, y, machine,
                reinterpret_cast<std::uint64_t*>(
                    machine.scratch.reserve(machine.pool.num_threads() * kCountWords * sizeof(std::uint64_t))));
}

void BinaryMatrix::multiply_bits(const std::uint64_t* signs, std::size_t tokens, std::int32_t* y, Machine& machine,
                                 std::uint64_t* room) const {
  const KernelTable& kernels = kernel_table(machine.isa);
  const std::uint64_t* const bits = bits_.as<std::uint64_t>();
  // Small matrices are not worth waking anybody for.
  const std::size_t words = words_of(cols_), panels = panels_of(rows_),
                    grain = std::clamp<std::size_t>(16384 / (words * std::min(tokens, kTokens) + 1), 1, panels + 1);
  machine.pool.parallel_for(panels, grain, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    std::uint32_t* const counts = reinterpret_cast<std::uint32_t*>(room + worker * kCountWords);
    for (std::size_t panel = begin; panel < end; ++panel)
      for (std::size_t first = 0; first < tokens; first += kTokens) {
        const std::size_t count = std::min(kTokens, tokens - first), row = panel * kBinaryRows,
                          rows = std::min(kBinaryRows, rows_ - row);
        kernels.binary_product(bits + row * words, words, signs + first * words, words, count, counts, kBinaryRows);
        for (std::size_t t = 0; t < count; ++t)
          for (std::size_t n = 0; n < rows; ++n)
            y[(first + t) * rows_ + row + n] =
                static_cast<std::int32_t>(cols_) - 2 * static_cast<std::int32_t>(counts[t * kBinaryRows + n]);
      }
  });
}

}  // namespace nibble
