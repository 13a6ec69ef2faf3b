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

constexpr std::size_t kSquare = 16;  // transposed at a time
template <class T>
constexpr std::size_t kBlockCols = 2048 / sizeof(T);

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

// Results that a task computes. The wider, the less copying; `rows` by kDepth numbers should stay in the second-level cache.
struct Cut {
  std::size_t rows = 576, cols = 1024;
  std::size_t strips(std::size_t m) const { return (m + rows - 1) / rows; }
  std::size_t columns(std::size_t n) const { return (n + cols - 1) / cols; }
};

Cut cut_for(std::size_t m, std::size_t n, std::size_t threads) {
  Cut cut;
  while (cut.rows > 72 && cut.strips(m) * cut.columns(n) < 8 * threads) (cut.cols > cut.rows ? cut.cols : cut.rows) /= 2;
  return cut;
}

// A thread's slices of both factors, and results narrower than a panel.
template <class T>
struct Copies {
  static constexpr std::size_t kStride = kDepth<T> + 64 / sizeof(T);  // rows at powers of two would share few lines of the nearest cache
  static constexpr std::size_t kPanel = kDepth<T> * kWidth;
  static std::size_t count(const Cut& cut) { return kPanel + cut.rows * (kStride + kWidth); }
  Copies(T* base, const Cut& cut) : panel(base), left(base + kPanel), tile(left + cut.rows * kStride) {}
  T *panel, *left, *tile;
};

template <class S, class T>
void copy_left(const Product<S, T>& p, std::size_t row, std::size_t rows, std::size_t start, std::size_t depth, T* out) {
  constexpr std::size_t kStride = Copies<T>::kStride;
  const S* from = p.left + row * p.left_row + start * p.left_step;
  if (p.left_step == 1) {
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t k = 0; k < depth; ++k) out[i * kStride + k] = static_cast<T>(from[i * p.left_row + k]);
    return;
  }
  for (std::size_t k = 0; k < depth; k += kSquare) {  // transposed in squares that the nearest cache holds
    const std::size_t last_k = std::min(k + kSquare, depth);
    for (std::size_t i = 0; i < rows; i += kSquare) {
      const std::size_t last_i = std::min(i + kSquare, rows);
      for (std::size_t b = i; b < last_i; ++b)
        for (std::size_t a = k; a < last_k; ++a) out[b * kStride + a] = static_cast<T>(from[a * p.left_step + b]);
    }
  }
}

// Asks for the lines of the next panel meanwhile.
template <class S, class T>
void copy_panel(const S* from, std::size_t stride, std::size_t depth, std::size_t cols, T* panel) {
  for (std::size_t k = 0; k < depth; ++k, from += stride, panel += kWidth) {
    for (std::size_t line = 0; line < kWidth; line += 64 / sizeof(S)) __builtin_prefetch(from + kWidth + line, 0, 2);
    for (std::size_t j = 0; j < cols; ++j) panel[j] = static_cast<T>(from[j]);
    std::fill(panel + cols, panel + kWidth, T(0));
  }
}

// One panel's product into the results, by way of a tile where the results are narrower than a panel.
template <class T>
void add_panel(const KernelTable& kernels, const T* panel, const T* left, std::size_t depth, std::size_t rows, std::size_t cols, T* tile, T* result,
               std::size_t stride) {
  if (cols == kWidth) return add_product(kernels, panel, depth, left, Copies<T>::kStride, rows, result, stride);
  for (std::size_t i = 0; i < rows; ++i) std::copy_n(result + i * stride, cols, tile + i * kWidth);
  add_product(kernels, panel, depth, left, Copies<T>::kStride, rows, tile, kWidth);
  for (std::size_t i = 0; i < rows; ++i) std::copy_n(tile + i * kWidth, cols, result + i * stride);
}

template <class S, class T>
void multiply_block(const KernelTable& kernels, const Product<S, T>& p, const Cut& cut, std::size_t row, std::size_t col, const Copies<T>& copies) {
  const std::size_t rows = std::min(cut.rows, p.rows - row);
  const std::size_t end = std::min({col + cut.cols, p.cols, p.lower_only ? row + rows : p.cols});
  if (col >= end) return;
  for (std::size_t start = 0; start < p.depth; start += kDepth<T>) {
    const std::size_t depth = std::min(kDepth<T>, p.depth - start);
    copy_left(p, row, rows, start, depth, copies.left);
    for (std::size_t j = col; j < end; j += kWidth) {
      const std::size_t cols = std::min(kWidth, p.cols - j), skip = p.lower_only && j > row ? j - row : 0;
      copy_panel(p.right + start * p.cols + j, p.cols, depth, cols, copies.panel);
      add_panel(kernels, copies.panel, copies.left + skip * Copies<T>::kStride, depth, rows - skip, cols, copies.tile,
                p.result + (row + skip) * p.cols + j, p.cols);
    }
  }
}

template <class S, class T>
void multiply(const Product<S, T>& p, Isa isa, ThreadPool& pool, KernelScratch& scratch) {
  const KernelTable& kernels = kernel_table(isa);
  const Cut cut = cut_for(p.rows, p.cols, pool.num_threads());
  const Workspace<T> space(scratch, pool, Copies<T>::count(cut));
  const std::size_t strips = cut.strips(p.rows), columns = cut.columns(p.cols);
  pool.parallel_for(strips * columns, 1, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    // From the last strip on: those of a triangle are longest there.
    for (std::size_t task = begin; task < end; ++task)
      multiply_block(kernels, p, cut, (strips - 1 - task / columns) * cut.rows, task % columns * cut.cols, Copies<T>(space.of(worker), cut));
  });
}

// h[col + j, row + i] = h[row + i, col + j] for a square of 16. Each line is written whole: rows at powers of two share few places in a cache.
template <class T>
void mirror_square(T* h, std::size_t n, std::size_t row, std::size_t col) {
  T square[kSquare][kSquare];
  const std::size_t rows = std::min(kSquare, n - row), cols = std::min(kSquare, n - col);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < cols; ++j) square[j][i] = h[(row + i) * n + col + j];
  for (std::size_t j = 0; j < cols; ++j)
    for (std::size_t i = row == col ? j : 0; i < rows; ++i) h[(col + j) * n + row + i] = square[j][i];
}

template <class T>
void mirror_lower(T* h, std::size_t n, ThreadPool& pool) {
  pool.parallel_for((n + kSquare - 1) / kSquare, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin * kSquare; row < std::min(end * kSquare, n); row += kSquare)
      for (std::size_t col = 0; col <= row; col += kSquare) mirror_square(h, n, row, col);
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
