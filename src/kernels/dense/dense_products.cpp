// SPDX-License-Identifier: Apache-2.0
//
// All products go the same way: a task takes a block of results, copies the rows of its left factor and panels of its
// right one, a slice of depth at a time, and leaves the rest to the panel product. Cuts leave no trace in the bits,
// since chains continue from slice to slice.
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/dense/dense.h"
#include "kernels/dense/dense_tiles.h"
#include "kernels/linear/rounded_rows.h"

namespace nibble {
namespace dense {
namespace {

constexpr std::size_t kSquare = 16;  // transposed at a time
template <class T>
constexpr std::size_t kBlockCols = 2048 / sizeof(T);

// What sums run in: f32 for quads of bytes (rounded_rows.h), else the type that is multiplied.
template <class T>
using Sum = std::conditional_t<std::is_same_v<T, std::int32_t>, float, T>;

// result[i, j] += sum over k of left(i, k) right[k, j]. left(i, k) lies at left[i * left_row + k * left_step]; one of
// the two strides is 1. Elements are multiplied as T.
template <class S, class T>
struct Product {
  const S* left;
  std::size_t left_row, left_step;
  const S* right;
  Sum<T>* result;
  std::size_t rows, cols, depth;
  bool lower_only;                                              // panels beyond the diagonal are left out
  const float *left_scales = nullptr, *right_scales = nullptr;  // of quads, by row and by column
};

// Results that a task computes. The wider, the less copying; `rows` by kDepth numbers should stay in the second-level
// cache.
struct Cut {
  std::size_t rows = 576, cols = 1024;
  std::size_t strips(std::size_t m) const { return (m + rows - 1) / rows; }
  std::size_t columns(std::size_t n) const { return (n + cols - 1) / cols; }
};

Cut cut_for(std::size_t m, std::size_t n, std::size_t threads) {
  Cut cut;
  while (cut.rows > 72 && cut.strips(m) * cut.columns(n) < 8 * threads)
    (cut.cols > cut.rows ? cut.cols : cut.rows) /= 2;
  return cut;
}

// A thread's slices of both factors, and results narrower than a panel.
template <class T>
struct Copies {
  static constexpr std::size_t kStride =
      kDepth<T> + 64 / sizeof(T);  // rows at powers of two would share few lines of the nearest cache
  static constexpr std::size_t kPanel = kDepth<T> * kWidth;
  static std::size_t count(const Cut& cut) { return kPanel + kWidth + cut.rows * (kStride + kWidth); }
  Copies(T* base, const Cut& cut)
      : panel(base),
        left(base + kPanel),
        tile(reinterpret_cast<Sum<T>*>(left + cut.rows * kStride)),
        offsets(tile + cut.rows * kWidth) {}
  T *panel, *left;
  Sum<T>*tile, *offsets;
};

// Quads are multiplied as signed bytes by unsigned ones: those of the left factor are raised by 128 ...
template <class T, class S>
T left_number(S x) {
  if constexpr (std::is_same_v<T, std::int32_t>)
    return static_cast<T>(static_cast<std::uint32_t>(x) ^ 0x80808080u);
  else
    return static_cast<T>(x);
}
// ... and what that adds to a column's sums is taken away again: 128 times the sum of its bytes.
void find_offsets(const std::int32_t* panel, std::size_t depth, float* offsets) {
  std::int32_t sums[kWidth] = {};
  for (std::size_t k = 0; k < depth; ++k, panel += kWidth)
    for (std::size_t j = 0; j < kWidth; ++j) {
      const std::int32_t quad = panel[j];
      sums[j] += static_cast<std::int8_t>(quad) + static_cast<std::int8_t>(quad >> 8) +
                 static_cast<std::int8_t>(quad >> 16) + (quad >> 24);
    }
  for (std::size_t j = 0; j < kWidth; ++j) offsets[j] = static_cast<float>(-128 * sums[j]);
}

template <class S, class T>
void copy_left(const Product<S, T>& p, std::size_t row, std::size_t rows, std::size_t start, std::size_t depth,
               T* out) {
  constexpr std::size_t kStride = Copies<T>::kStride;
  const S* from = p.left + row * p.left_row + start * p.left_step;
  if (p.left_step == 1) {
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t k = 0; k < depth; ++k) out[i * kStride + k] = left_number<T>(from[i * p.left_row + k]);
    return;
  }
  for (std::size_t k = 0; k < depth; k += kSquare) {  // transposed in squares that the nearest cache holds
    const std::size_t last_k = std::min(k + kSquare, depth);
    for (std::size_t i = 0; i < rows; i += kSquare) {
      const std::size_t last_i = std::min(i + kSquare, rows);
      for (std::size_t b = i; b < last_i; ++b)
        for (std::size_t a = k; a < last_k; ++a) out[b * kStride + a] = left_number<T>(from[a * p.left_step + b]);
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

// A panel's product with rows of the left factor, from row `row` and column `col` of the results on.
template <class S, class T>
void add_rows(const KernelTable& kernels, const Product<S, T>& p, const Copies<T>& copies, const T* left,
              std::size_t depth, std::size_t row, std::size_t rows, std::size_t col, Sum<T>* result,
              std::size_t stride) {
  if constexpr (std::is_same_v<T, std::int32_t>)
    kernels.quad_product({copies.panel, depth, left, Copies<T>::kStride, rows, p.left_scales + row,
                          p.right_scales + col, copies.offsets, result, stride});
  else
    add_product(kernels, copies.panel, depth, left, Copies<T>::kStride, rows, result, stride);
}

// The same by way of a tile where the results are narrower than a panel.
template <class S, class T>
void add_panel(const KernelTable& kernels, const Product<S, T>& p, const Copies<T>& copies, const T* left,
               std::size_t depth, std::size_t row, std::size_t rows, std::size_t col) {
  Sum<T>* const result = p.result + row * p.cols + col;
  const std::size_t cols = std::min(kWidth, p.cols - col);
  if (cols == kWidth) return add_rows(kernels, p, copies, left, depth, row, rows, col, result, p.cols);
  for (std::size_t i = 0; i < rows; ++i) std::copy_n(result + i * p.cols, cols, copies.tile + i * kWidth);
  add_rows(kernels, p, copies, left, depth, row, rows, col, copies.tile, kWidth);
  for (std::size_t i = 0; i < rows; ++i) std::copy_n(copies.tile + i * kWidth, cols, result + i * p.cols);
}

template <class S, class T>
void multiply_block(const KernelTable& kernels, const Product<S, T>& p, const Cut& cut, std::size_t row,
                    std::size_t col, const Copies<T>& copies) {
  const std::size_t rows = std::min(cut.rows, p.rows - row);
  const std::size_t end = std::min({col + cut.cols, p.cols, p.lower_only ? row + rows : p.cols});
  if (col >= end) return;
  for (std::size_t start = 0; start < p.depth; start += kDepth<T>) {
    const std::size_t depth = std::min(kDepth<T>, p.depth - start);
    copy_left(p, row, rows, start, depth, copies.left);
    for (std::size_t j = col; j < end; j += kWidth) {
      const std::size_t cols = std::min(kWidth, p.cols - j), skip = p.lower_only && j > row ? j - row : 0;
      copy_panel(p.right + start * p.cols + j, p.cols, depth, cols, copies.panel);
      if constexpr (std::is_same_v<T, std::int32_t>) find_offsets(copies.panel, depth, copies.offsets);
      add_panel(kernels, p, copies, copies.left + skip * Copies<T>::kStride, depth, row + skip, rows - skip, j);
    }
  }
}

template <class S, class T>
void multiply(const Product<S, T>& p, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  const Cut cut = cut_for(p.rows, p.cols, machine.pool.num_threads());
  const Workspace<T> space(machine, Copies<T>::count(cut));
  const std::size_t strips = cut.strips(p.rows), columns = cut.columns(p.cols);
  machine.pool.parallel_for(strips * columns, 1, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    // From the last strip on: those of a triangle are longest there.
    for (std::size_t task = begin; task < end; ++task)
      multiply_block(kernels, p, cut, (strips - 1 - task / columns) * cut.rows, task % columns * cut.cols,
                     Copies<T>(space.of(worker), cut));
  });
}

// h[col + j, row + i] = h[row + i, col + j] for a square of 16. Each line is written whole: rows at powers of two share
// few places in a cache.
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
void mirror(T* h, std::size_t n, ThreadPool& pool) {
  pool.parallel_for((n + kSquare - 1) / kSquare, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin * kSquare; row < std::min(end * kSquare, n); row += kSquare)
      for (std::size_t col = 0; col <= row; col += kSquare) mirror_square(h, n, row, col);
  });
}

template <class S, class T>
void add_square(const S* x, std::size_t tokens, std::size_t n, T* h, Machine& machine) {
  multiply(Product<S, T>{x, 1, n, x, h, n, n, tokens, true}, machine);
}

}  // namespace
}  // namespace dense

void gemm(const float* a, const float* b, std::size_t m, std::size_t n, std::size_t k, float* c, Machine& machine) {
  dense::multiply(dense::Product<float, float>{a, k, 1, b, c, m, n, k, false}, machine);
}
void gemm(const double* a, const double* b, std::size_t m, std::size_t n, std::size_t k, double* c, Machine& machine) {
  dense::multiply(dense::Product<double, double>{a, k, 1, b, c, m, n, k, false}, machine);
}

void add_outer_products(const float* y, const float* x, std::size_t tokens, std::size_t m, std::size_t n, float* c,
                        Machine& machine) {
  dense::multiply(dense::Product<float, float>{y, 1, m, x, c, m, n, tokens, false}, machine);
}
void add_outer_products(const double* y, const double* x, std::size_t tokens, std::size_t m, std::size_t n, double* c,
                        Machine& machine) {
  dense::multiply(dense::Product<double, double>{y, 1, m, x, c, m, n, tokens, false}, machine);
}

void syrk(const float* x, std::size_t tokens, std::size_t n, float* h, Machine& machine) {
  dense::add_square(x, tokens, n, h, machine);
}
void syrk(const float* x, std::size_t tokens, std::size_t n, double* h, Machine& machine) {
  dense::add_square(x, tokens, n, h, machine);
}
void syrk(const double* x, std::size_t tokens, std::size_t n, double* h, Machine& machine) {
  dense::add_square(x, tokens, n, h, machine);
}

void syrk(const RoundedRows& x, float* h, Machine& machine) {
  const std::size_t n = x.cols();
  dense::multiply(dense::Product<std::int32_t, std::int32_t>{x.data(), 1, n, x.data(), h, n, n, x.quads(), true,
                                                             x.scales(), x.scales()},
                  machine);
}
void add_outer_products(const RoundedRows& y, const RoundedRows& x, float* c, Machine& machine) {
  dense::multiply(dense::Product<std::int32_t, std::int32_t>{y.data(), 1, y.cols(), x.data(), c, y.cols(), x.cols(),
                                                             x.quads(), false, y.scales(), x.scales()},
                  machine);
}

void mirror_lower(float* h, std::size_t n, ThreadPool& pool) { dense::mirror(h, n, pool); }
void mirror_lower(double* h, std::size_t n, ThreadPool& pool) { dense::mirror(h, n, pool); }

}  // namespace nibble
