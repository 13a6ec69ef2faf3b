// SPDX-License-Identifier: Apache-2.0
//
// Fully binary products (XNOR-Net, Rastegari et al., arXiv:1603.05279, section 3.2): weights and activations are signs,
// a bit each, and a product of signs is an exclusive or and a count of ones. Exact integers: the same on every
// instruction set. The scales of either side, one for each row and token, are the caller's.
//
//   BinaryMatrix w = BinaryMatrix::pack(weights, rows, cols, pool);
//   w.multiply(x, tokens, y, machine);   // y[t, n] = sum over k of sign(x[t, k]) * sign(w[n, k])
//
// sign is -1 where the sign bit is set, -0 included, and +1 elsewhere. Const members may be called from several
// threads, each with a machine of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/linear/resident_bytes.h"
#include "kernels/machine.h"

namespace nibble {

class BinaryMatrix {
 public:
  // weights: [rows, cols], row-major. Error(resource) when there is no memory for a bit each.
  static BinaryMatrix pack(const float* weights, std::size_t rows, std::size_t cols, ThreadPool& pool);

  std::size_t rows() const noexcept { return rows_; }
  std::size_t cols() const noexcept { return cols_; }
  std::size_t resident_bytes() const noexcept { return bits_.size(); }

  // y: [tokens, rows], x: [tokens, cols], both row-major, not aliased.
  void multiply(const float* x, std::size_t tokens, std::int32_t* y, Machine& machine) const;
  // The same of signs that are bits already, set where a sign is -1: [tokens, words()], the first in the lowest bit;
  // what lies beyond the columns is 0.
  void multiply_bits(const std::uint64_t* signs, std::size_t tokens, std::int32_t* y, Machine& machine) const;
  std::size_t words() const noexcept { return (cols_ + 63) / 64; }

 private:
  void multiply_bits(const std::uint64_t* signs, std::size_t tokens, std::int32_t* y, Machine& machine,
                     std::uint64_t* counts) const;
  std::size_t rows_ = 0, cols_ = 0;
  ResidentBytes bits_;  // panels [words, 32 rows] of 64-bit words; what lies beyond the matrix is +1
};

}  // namespace nibble
