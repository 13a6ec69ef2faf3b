// SPDX-License-Identifier: Apache-2.0
//
// Triangular work in blocks of 64. Between blocks it is panel products; within one it is a panel product per row, with
// what is solved for on the lanes, so that a row costs a few instructions.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/dense/dense.h"
#include "kernels/dense/dense_tiles.h"

namespace nibble {
namespace dense {
namespace {

constexpr std::size_t kBlock = kWidth;
constexpr std::size_t kSquare = kBlock * kBlock;

// A column of blocks of L: columns col .. col + cols, whose earlier columns are done.
template <class T>
struct BlockColumn {
  T* a;
  std::size_t n, col, cols;
  const T* earlier;  // panel [col, 64] of what lies left of the diagonal block: earlier[k, j] = -L[col + j, k]
  T* factor;         // [64, 64]: factor[j, k] = -L[col + j, col + k] for k < j
  T* pivots;         // [64]: L[col + j, col + j]
};

// lanes[j, i] = a[row + i, col + j] less the product of the earlier columns.
template <class T>
void load_transposed(const KernelTable& kernels, const BlockColumn<T>& c, std::size_t row, std::size_t rows, T* tile,
                     T* lanes) {
  for (std::size_t i = 0; i < rows; ++i) {
    std::copy_n(c.a + (row + i) * c.n + c.col, c.cols, tile + i * kBlock);
    std::fill_n(tile + i * kBlock + c.cols, kBlock - c.cols, T(0));
  }
  add_deep_product(kernels, c.earlier, c.col, c.a + row * c.n, c.n, rows, tile, kBlock);
  std::fill_n(lanes, kSquare, T(0));
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < c.cols; ++j) lanes[j * kBlock + i] = tile[i * kBlock + j];
}

template <class T>
void store_transposed(const BlockColumn<T>& c, std::size_t row, std::size_t rows, const T* lanes) {
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < c.cols; ++j) c.a[(row + i) * c.n + c.col + j] = lanes[j * kBlock + i];
}

// The diagonal block; fills c.factor and c.pivots. Returns cols, or the index of the pivot that failed.
template <class T>
std::size_t factor_diagonal(const KernelTable& kernels, const BlockColumn<T>& c, T* tile, T* lanes) {
  load_transposed(kernels, c, c.col, c.cols, tile, lanes);
  for (std::size_t j = 0; j < c.cols; ++j) {
    T* const row = lanes + j * kBlock;
    T* const before = c.factor + j * kBlock;
    for (std::size_t k = 0; k < j; ++k) before[k] = -lanes[k * kBlock + j];
    add_product(kernels, lanes, j, before, kBlock, 1, row, kBlock);
    if (!(row[j] > 0) || !std::isfinite(row[j])) return j;
    const T pivot = std::sqrt(row[j]);
    c.pivots[j] = pivot;
    std::fill_n(row, j, T(0));
    row[j] = pivot;
    for (std::size_t i = j + 1; i < kBlock; ++i) row[i] /= pivot;
  }
  store_transposed(c, c.col, c.cols, lanes);
  return c.cols;
}

// Rows below the diagonal block: L[i, j] = (a[i, j] - sum over k < j of L[i, k] L[j, k]) / L[j, j].
template <class T>
void solve_below(const KernelTable& kernels, const BlockColumn<T>& c, std::size_t row, T* tile, T* lanes) {
  const std::size_t rows = std::min(kBlock, c.n - row);
  load_transposed(kernels, c, row, rows, tile, lanes);
  for (std::size_t j = 0; j < c.cols; ++j) {
    T* const out = lanes + j * kBlock;
    add_product(kernels, lanes, j, c.factor + j * kBlock, kBlock, 1, out, kBlock);
    for (std::size_t i = 0; i < kBlock; ++i) out[i] /= c.pivots[j];
  }
  store_transposed(c, row, rows, lanes);
}

template <class T>
void zero_above(T* a, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) std::fill(a + i * n + i + 1, a + (i + 1) * n, T(0));
}

template <class T>
void fill_earlier(const BlockColumn<T>& c, T* panel, ThreadPool& pool) {
  pool.parallel_for(c.col, 1024, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t k = begin; k < end; k += 16)
      for (std::size_t j = 0; j < kBlock; ++j)
        for (std::size_t i = k; i < std::min(k + 16, end); ++i)
          panel[i * kWidth + j] = j < c.cols ? -c.a[(c.col + j) * c.n + i] : T(0);
  });
}

template <class T>
std::size_t factor(T* a, std::size_t n, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  const std::size_t panel_count = n * kWidth;
  const Workspace<T> space(machine, 2 * kSquare, panel_count + kSquare + kBlock);
  T* const earlier = space.shared();
  for (std::size_t col = 0; col < n; col += kBlock) {
    const BlockColumn<T> c{
        a, n, col, std::min(kBlock, n - col), earlier, earlier + panel_count, earlier + panel_count + kSquare};
    fill_earlier(c, earlier, machine.pool);
    if (const std::size_t done = factor_diagonal(kernels, c, space.of(0), space.of(0) + kSquare); done != c.cols)
      return col + done;
    const std::size_t below = col + c.cols;
    machine.pool.parallel_for(
        (n - below + kBlock - 1) / kBlock, 1, [&](std::size_t begin, std::size_t end, std::size_t worker) {
          for (std::size_t b = begin; b < end; ++b)
            solve_below(kernels, c, below + b * kBlock, space.of(worker), space.of(worker) + kSquare);
        });
  }
  zero_above(a, n);
  return n;
}

// Columns col .. col + 64 of L^-1 as a panel of rows col .. n: x[i, j] = (e[i, j] - sum over k < i of L[i, k] x[k, j])
// / L[i, i].
template <class T>
void invert_columns(const KernelTable& kernels, const T* l, std::size_t n, std::size_t col, T* panel) {
  std::fill_n(panel, (n - col) * kWidth, T(0));
  for (std::size_t row = col; row < n; row += kBlock) {
    const std::size_t rows = std::min(kBlock, n - row);
    T* const sums = panel + (row - col) * kWidth;
    add_deep_product(kernels, panel, row - col, l + row * n + col, n, rows, sums, kWidth);
    for (std::size_t i = 0; i < rows; ++i) {
      T* const out = sums + i * kWidth;
      const T* const from = l + (row + i) * n + row;
      add_product(kernels, sums, i, from, n, 1, out, kWidth);
      const T pivot = from[i];
      for (std::size_t j = 0; j < kWidth; ++j) out[j] = ((row + i == col + j ? T(1) : T(0)) - out[j]) / pivot;
    }
  }
}

// Columns are solved for side by side; what is found replaces them when a whole round is done, since columns to the
// left of a block need nothing of it and columns in the same round may.
template <class T>
void invert(T* l, std::size_t n, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  const std::size_t blocks = (n + kBlock - 1) / kBlock, round = std::min(blocks, 4 * machine.pool.num_threads()),
                    panel_count = n * kWidth;
  T* const panels = reinterpret_cast<T*>(machine.scratch.reserve(round * panel_count * sizeof(T)));
  for (std::size_t first = 0; first < blocks; first += round) {
    const std::size_t count = std::min(round, blocks - first);
    machine.pool.parallel_for(count, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t b = begin; b < end; ++b)
        invert_columns(kernels, l, n, (first + b) * kBlock, panels + b * panel_count);
    });
    machine.pool.parallel_for(count, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t b = begin; b < end; ++b) {
        const std::size_t col = (first + b) * kBlock, cols = std::min(kBlock, n - col);
        for (std::size_t i = col; i < n; ++i)
          std::copy_n(panels + b * panel_count + (i - col) * kWidth, std::min(cols, i - col + 1), l + i * n + col);
      }
    });
  }
  zero_above(l, n);
}

template <class T>
std::size_t reversed_inverse_factor(T* h, std::size_t n, Machine& machine) {
  std::reverse(h, h + n * n);  // of rows and of columns at once
  if (const std::size_t done = factor(h, n, machine); done != n) return n - 1 - done;
  invert(h, n, machine);
  std::reverse(h, h + n * n);
  return n;
}

}  // namespace
}  // namespace dense

std::size_t cholesky(float* a, std::size_t n, Machine& machine) { return dense::factor(a, n, machine); }
std::size_t cholesky(double* a, std::size_t n, Machine& machine) { return dense::factor(a, n, machine); }

void invert_lower(float* l, std::size_t n, Machine& machine) { dense::invert(l, n, machine); }
void invert_lower(double* l, std::size_t n, Machine& machine) { dense::invert(l, n, machine); }

std::size_t inverse_upper_factor(float* h, std::size_t n, Machine& machine) {
  return dense::reversed_inverse_factor(h, n, machine);
}
std::size_t inverse_upper_factor(double* h, std::size_t n, Machine& machine) {
  return dense::reversed_inverse_factor(h, n, machine);
}

}  // namespace nibble
