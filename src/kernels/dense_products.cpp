// SPDX-License-Identifier: Apache-2.0
//
// Both products go the same way: a task takes a block of results, copies the rows of its left factor and panels of its right one, a slice
// of depth at a time, and leaves the rest to the panel product. Cuts leave no trace in the bits, since chains continue from slice to slice.
#include <algorithm>

#include "kernels/dense.h"
#include "kernels/dense_tiles.h"

namespace nibble {
namespace dense {
namespace {

constexpr std::size_t kBlockRows = 192, kBlockCols = 512;
static_assert(kBlockRows % kWidth == 0 && kBlockCols % kWidth == 0);

// result[i, j] += sum over k of left(i, k) right[k, j]. left(i, k) lies at left[i * left_row + k * left_step]; one of the two strides is 1.
template <class S, class T>
struct Product {
  const S* left;
  std::size_t left_row, left_step;
  const S* right;
  T* result;
  std::size_t rows, cols, depth;
  bool lower_only;  // panels beyond the diagonal are left out
};

template <class T>
struct Copies {
  static constexpr std::size_t kStride = kDepth + 64 / sizeof(T);  // rows at powers of two would share few lines of the nearest cache
  static constexpr std::size_t kLeft = kBlockRows * kStride, kPanel = kDepth * kWidth, kTile = kBlockRows * kWidth;
  static constexpr std::size_t kCount = kLeft + kPanel + kTile;
  explicit Copies(T* base) : left(base), panel(base + kLeft), tile(base + kLeft + kPanel) {}
  T *left, *panel, *tile;
};

template <class S, class T>
void copy_left(const Product<S, T>& p, std::size_t row, std::size_t rows, std::size_t start, std::size_t depth, T* out) {
  constexpr std::size_t kStride = Copies<T>::kStride, kSquare = 16;
  const S* from = p.left + row * p.left_row + start * p.left_step;
  if (p.left_step == 1) {
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t k = 0; k < depth; ++k) out[i * kStride + k] = static_cast<T>(from[i * p.left_row + k]);
    return;
  }
  for (std::size_t i = 0; i < rows; i += kSquare) {  // transposed in squares that the nearest cache holds
    const std::size_t last_i = std::min(i + kSquare, rows);
    for (std::size_t k = 0; k < depth; k += kSquare) {
      const std::size_t last_k = std::min(k + kSquare, depth);
      for (std::size_t b = i; b < last_i; ++b)
        for (std::size_t a = k; a < last_k; ++a) out[b * kStride + a] = static_cast<T>(from[a * p.left_step + b]);
    }
  }
}

template <class S, class T>
void copy_panel(const S* from, std::size_t stride, std::size_t depth, std::size_t cols, T* panel) {
  for (std::size_t k = 0; k < depth; ++k, from += stride, panel += kWidth) {
    for (std::size_t j = 0; j < cols; ++j) panel[j] = static_cast<T>(from[j]);
    std::fill(panel + cols, panel + kWidth, T(0));
  }
}

// One panel's product into the results, by way of a tile where the results are narrower than a panel.
template <class T>
void add_panel(const KernelTable& kernels, const Copies<T>& copies, const T* left, std::size_t depth, std::size_t rows, std::size_t cols, T* result,
               std::size_t stride) {
  if (cols == kWidth) return add_product(kernels, copies.panel, depth, left, Copies<T>::kStride, rows, result, stride);
  for (std::size_t i = 0; i < rows; ++i) std::copy_n(result + i * stride, cols, copies.tile + i * kWidth);
  add_product(kernels, copies.panel, depth, left, Copies<T>::kStride, rows, copies.tile, kWidth);
  for (std::size_t i = 0; i < rows; ++i) std::copy_n(copies.tile + i * kWidth, cols, result + i * stride);
}

template <class S, class T>
void multiply_block(const KernelTable& kernels, const Product<S, T>& p, std::size_t row, std::size_t col, const Copies<T>& copies) {
  const std::size_t rows = std::min(kBlockRows, p.rows - row);
  const std::size_t end = std::min({col + kBlockCols, p.cols, p.lower_only ? row + rows : p.cols});
  if (col >= end) return;
  for (std::size_t start = 0; start < p.depth; start += kDepth) {
    const std::size_t depth = std::min(kDepth, p.depth - start);
    copy_left(p, row, rows, start, depth, copies.left);
    for (std::size_t j = col; j < end; j += kWidth) {
      const std::size_t cols = std::min(kWidth, p.cols - j), skip = p.lower_only && j > row ? j - row : 0;
      copy_panel(p.right + start * p.cols + j, p.cols, depth, cols, copies.panel);
      add_panel(kernels, copies, copies.left + skip * Copies<T>::kStride, depth, rows - skip, cols, p.result + (row + skip) * p.cols + j, p.cols);
    }
  }
}

template <class S, class T>
void multiply(const Product<S, T>& p, Isa isa, ThreadPool& pool, KernelScratch& scratch) {
  const KernelTable& kernels = kernel_table(isa);
  const Workspace<T> space(scratch, pool, Copies<T>::kCount);
  const std::size_t strips = (p.rows + kBlockRows - 1) / kBlockRows, columns = (p.cols + kBlockCols - 1) / kBlockCols;
  pool.parallel_for(strips * columns, 1, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    // From the last strip on: those of a triangle are longest there.
    for (std::size_t task = begin; task < end; ++task)
      multiply_block(kernels, p, (strips - 1 - task / columns) * kBlockRows, task % columns * kBlockCols, Copies<T>(space.of(worker)));
  });
}

template <class T>
void mirror_lower(T* h, std::size_t n, ThreadPool& pool) {
  const std::size_t blocks = (n + kWidth - 1) / kWidth;
  pool.parallel_for(blocks, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin * kWidth; row < std::min(end * kWidth, n); row += kWidth)
      for (std::size_t col = 0; col <= row; col += kWidth)
        for (std::size_t i = row; i < std::min(row + kWidth, n); ++i)
          for (std::size_t j = col; j < std::min(col + kWidth, i); ++j) h[j * n + i] = h[i * n + j];
  });
}

template <class S, class T>
void add_square(const S* x, std::size_t tokens, std::size_t n, T* h, Isa isa, ThreadPool& pool, KernelScratch& scratch) {
  multiply(Product<S, T>{x, 1, n, x, h, n, n, tokens, true}, isa, pool, scratch);
  mirror_lower(h, n, pool);
}

}  // namespace
}  // namespace dense

void gemm(const float* a, const float* b, std::size_t m, std::size_t n, std::size_t k, float* c, Isa isa, ThreadPool& pool, KernelScratch& scratch) {
  dense::multiply(dense::Product<float, float>{a, k, 1, b, c, m, n, k, false}, isa, pool, scratch);
}
void gemm(const double* a, const double* b, std::size_t m, std::size_t n, std::size_t k, double* c, Isa isa, ThreadPool& pool,
          KernelScratch& scratch) {
  dense::multiply(dense::Product<double, double>{a, k, 1, b, c, m, n, k, false}, isa, pool, scratch);
}

void syrk(const float* x, std::size_t tokens, std::size_t n, float* h, Isa isa, ThreadPool& pool, KernelScratch& scratch) {
  dense::add_square(x, tokens, n, h, isa, pool, scratch);
}
void syrk(const float* x, std::size_t tokens, std::size_t n, double* h, Isa isa, ThreadPool& pool, KernelScratch& scratch) {
  dense::add_square(x, tokens, n, h, isa, pool, scratch);
}
void syrk(const double* x, std::size_t tokens, std::size_t n, double* h, Isa isa, ThreadPool& pool, KernelScratch& scratch) {
  dense::add_square(x, tokens, n, h, isa, pool, scratch);
}

}  // namespace nibble
