// SPDX-License-Identifier: Apache-2.0
//
// Both factors are copied as the panel products read them, a block of the summed index and of either side at a time;
// then strips of rows meet groups of panels. Copies are as much work as the factors are large, products as both sides
// are: blocks are as large as bounds the memory.
#include "kernels/dense/matrix_product.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/dense/bf16_packing.h"
#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kWidth = 64;    // columns of a panel
constexpr std::size_t kDepth = 256;   // of a panel that is multiplied at a time, and of the rows that it meets
constexpr std::size_t kBlock = 4096;  // of rows, columns and depth that are copied at a time
constexpr std::size_t kStrip = 192;   // rows by kDepth stay in the second-level cache
constexpr std::size_t kGroup = 8;     // panels that a strip meets in one task

constexpr std::size_t pieces(std::size_t count, std::size_t size) { return (count + size - 1) / size; }

// Left rows, [depth / kDepth][rows][kStride], and right panels, [cols / 64][depth, 64] (bf16: [depth / 2, 64, 2]).
template <class T>
struct Packed {
  static constexpr std::size_t kStride = kDepth + 64 / sizeof(T);  // rows at powers of two would share few lines
  static constexpr bool kIsBf16 = std::is_same_v<T, std::uint16_t>;

  static std::size_t even(std::size_t depth) { return kIsBf16 ? (depth + 1) / 2 * 2 : depth; }
  static std::size_t left_size(std::size_t rows, std::size_t depth) { return pieces(depth, kDepth) * rows * kStride; }
  static std::size_t right_size(std::size_t cols, std::size_t depth) {
    return pieces(cols, kWidth) * kWidth * even(depth);
  }
  static std::size_t bytes(const ProductExtents& e) {
    return (left_size(e.rows, e.depth) + right_size(e.cols, e.depth)) * sizeof(T) + 128;
  }

  Packed(std::byte* room, const ProductExtents& extents)
      : left(reinterpret_cast<T*>(room)),
        right(reinterpret_cast<T*>(room + pieces(left_size(extents.rows, extents.depth) * sizeof(T), 64) * 64)) {}
  T *left, *right;
};

const float* at(const Factor& f, std::size_t row, std::size_t col) {
  return f.data + (f.is_transposed ? col * f.stride + row : row * f.stride + col);
}

void copy_transposed(const float* in, std::size_t stride, std::size_t rows, std::size_t depth, float* out,
                     std::size_t out_stride) {
  constexpr std::size_t kSquare = 16;  // that the nearest cache holds
  for (std::size_t k = 0; k < depth; k += kSquare)
    for (std::size_t i = 0; i < rows; i += kSquare)
      for (std::size_t a = i; a < std::min(i + kSquare, rows); ++a)
        for (std::size_t b = k; b < std::min(k + kSquare, depth); ++b) out[a * out_stride + b] = in[b * stride + a];
}

// Rows begin .. end of a block that has `rows`, from `depth` numbers on.
template <class T>
void pack_left(const Factor& f, const ProductExtents& e, std::size_t begin, std::size_t end, T* packed) {
  for (std::size_t k = 0; k < e.depth; k += kDepth) {
    const std::size_t depth = std::min(kDepth, e.depth - k), stride = Packed<T>::kStride;
    T* const out = packed + (k / kDepth * e.rows + begin) * stride;
    const float* const in = at(f, begin, k);
    if constexpr (Packed<T>::kIsBf16)
      (f.is_transposed ? bf16_packing()->left_transposed : bf16_packing()->left)(in, f.stride, end - begin, depth, out,
                                                                                 stride);
    else if (f.is_transposed)
      copy_transposed(in, f.stride, end - begin, depth, out, stride);
    else
      for (std::size_t i = 0; i < end - begin; ++i) std::copy_n(in + i * f.stride, depth, out + i * stride);
  }
}

void copy_panel(const Factor& f, std::size_t depth, std::size_t cols, std::size_t col, float* out,
                const KernelTable& kernels) {
  const float* const in = at(f, 0, col);
  if (f.is_transposed && cols == kWidth) return kernels.transpose_rows(in, f.stride, depth, out);
  std::fill_n(out, cols == kWidth ? 0 : depth * kWidth, 0.0f);
  for (std::size_t k = 0; k < depth; ++k, out += kWidth)
    for (std::size_t j = 0; j < cols; ++j) out[j] = f.is_transposed ? in[j * f.stride + k] : in[k * f.stride + j];
}

template <class T>
void pack_panel(const KernelTable& kernels, const Factor& f, const ProductExtents& e, std::size_t panel, T* packed) {
  const std::size_t col = panel * kWidth, cols = std::min(kWidth, e.cols - col);
  T* const out = packed + panel * kWidth * Packed<T>::even(e.depth);
  if constexpr (Packed<T>::kIsBf16)
    (f.is_transposed ? bf16_packing()->panel_transposed : bf16_packing()->panel)(at(f, 0, col), f.stride, e.depth, cols,
                                                                                 out);
  else
    copy_panel(f, e.depth, cols, col, out, kernels);
}

// A slice of a panel's product with rows of the left factor.
template <class T>
void add_slice(const KernelTable& kernels, const T* panel, std::size_t depth, const T* left, std::size_t rows, float* y,
               std::size_t stride, int is_added) {
  if constexpr (Packed<T>::kIsBf16)
    kernels.bf16_tile(panel, (depth + 1) / 2, left, Packed<T>::kStride, rows, y, stride, is_added);
  else
    kernels.f32_tile(panel, depth, kWidth, left, Packed<T>::kStride, rows, y, stride, is_added);
}

struct Region {
  std::size_t row, rows, panel, panels;
};

template <class T>
void multiply_region(const KernelTable& kernels, const Packed<T>& packed, const ProductExtents& e, const Region& region,
                     const ProductResult& result) {
  for (std::size_t k = 0; k < e.depth; k += kDepth) {
    const std::size_t depth = std::min(kDepth, e.depth - k);
    const int is_added = result.is_added || k != 0 ? 1 : 0;
    const T* const left = packed.left + (k / kDepth * e.rows + region.row) * Packed<T>::kStride;
    for (std::size_t p = region.panel; p < region.panel + region.panels; ++p) {
      const T* const panel = packed.right + (p * Packed<T>::even(e.depth) + k) * kWidth;
      const std::size_t cols = std::min(kWidth, e.cols - p * kWidth);
      float* const y = result.data + region.row * result.stride + p * kWidth;
      if (cols == kWidth) {
        add_slice(kernels, panel, depth, left, region.rows, y, result.stride, is_added);
        continue;
      }
      constexpr std::size_t kRows = 24;  // results that are narrower than a panel go by way of a tile
      alignas(64) float tile[kRows * kWidth];
      for (std::size_t i = 0; i < region.rows; i += kRows) {
        const std::size_t rows = std::min(kRows, region.rows - i);
        for (std::size_t r = 0; r < rows && is_added != 0; ++r)
          std::copy_n(y + (i + r) * result.stride, cols, tile + r * kWidth);
        add_slice(kernels, panel, depth, left + i * Packed<T>::kStride, rows, tile, kWidth, is_added);
        for (std::size_t r = 0; r < rows; ++r) std::copy_n(tile + r * kWidth, cols, y + (i + r) * result.stride);
      }
    }
  }
}

void clear(const ProductExtents& e, const ProductResult& result) {
  for (std::size_t i = 0; i < e.rows && !result.is_added; ++i)
    std::fill_n(result.data + i * result.stride, e.cols, 0.0f);
}

Factor from(const Factor& f, std::size_t row, std::size_t col) { return {at(f, row, col), f.stride, f.is_transposed}; }

template <class T>
void multiply_block(const Factor& left, const Factor& right, const ProductExtents& e, const ProductResult& result,
                    std::byte* room, bool packs_right, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  const Packed<T> packed(room, e);
  ThreadPool& pool = machine.pool;
  constexpr std::size_t kPackedRows = 32;
  const std::size_t row_pieces = pieces(e.rows, kPackedRows), panels = pieces(e.cols, kWidth);
  pool.parallel_for(row_pieces + (packs_right ? panels : 0), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i)
      if (i < row_pieces)
        pack_left(left, e, i * kPackedRows, std::min((i + 1) * kPackedRows, e.rows), packed.left);
      else
        pack_panel(kernels, right, e, i - row_pieces, packed.right);
  });
  std::size_t strip = kStrip, group = kGroup;
  while ((strip > 48 || group > 1) && pieces(e.rows, strip) * pieces(panels, group) < 8 * pool.num_threads())
    if (group * kWidth >= strip && group > 1)
      group /= 2;
    else if (strip > 48)
      strip /= 2;
    else
      break;
  const std::size_t groups = pieces(panels, group);
  pool.parallel_for(pieces(e.rows, strip) * groups, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task / groups * strip, panel = task % groups * group;
      multiply_region(kernels, packed, e, {row, std::min(strip, e.rows - row), panel, std::min(group, panels - panel)},
                      result);
    }
  });
}

template <class T>
void multiply_all(const Factor& left, const Factor& right, const ProductExtents& e, const ProductResult& result,
                  Machine& machine) {
  const ProductExtents largest = {std::min(e.rows, kBlock), std::min(e.cols, kBlock), std::min(e.depth, kBlock)};
  std::byte* const room = machine.scratch.reserve(Packed<T>::bytes(largest));
  for (std::size_t k = 0; k < e.depth; k += kBlock)
    for (std::size_t col = 0; col < e.cols; col += kBlock)
      for (std::size_t row = 0; row < e.rows; row += kBlock) {
        const ProductExtents block = {std::min(kBlock, e.rows - row), std::min(kBlock, e.cols - col),
                                      std::min(kBlock, e.depth - k)};
        // The right factor lies behind as many rows as the first block has: it stays where it is while blocks are full.
        const bool packs_right = row == 0 || block.rows != kBlock;
        multiply_block<T>(from(left, row, k), from(right, k, col), block,
                          {result.data + row * result.stride + col, result.stride, result.is_added || k != 0}, room,
                          packs_right, machine);
      }
}

template <class T>
void multiply_here(const Factor& left, const Factor& right, const ProductExtents& e, const ProductResult& result,
                   const KernelTable& kernels, std::byte* room) {
  const Packed<T> packed(room, e);
  const std::size_t panels = pieces(e.cols, kWidth);
  pack_left(left, e, 0, e.rows, packed.left);
  for (std::size_t p = 0; p < panels; ++p) pack_panel(kernels, right, e, p, packed.right);
  for (std::size_t row = 0; row < e.rows; row += kStrip)
    multiply_region(kernels, packed, e, {row, std::min(kStrip, e.rows - row), 0, panels}, result);
}

}  // namespace

bool multiplies_bf16(Isa isa) { return kernel_table(isa).bf16_tile != nullptr; }

void multiply(const Factor& left, const Factor& right, const ProductExtents& extents, const ProductResult& result,
              ProductArithmetic arithmetic, Machine& machine) {
  if (extents.depth == 0) return clear(extents, result);
  if (extents.rows == 0 || extents.cols == 0) return;
  if (arithmetic == ProductArithmetic::bf16)
    multiply_all<std::uint16_t>(left, right, extents, result, machine);
  else
    multiply_all<float>(left, right, extents, result, machine);
}

std::size_t product_room(const ProductExtents& extents, ProductArithmetic arithmetic) {
  return arithmetic == ProductArithmetic::bf16 ? Packed<std::uint16_t>::bytes(extents) : Packed<float>::bytes(extents);
}

void multiply_alone(const Factor& left, const Factor& right, const ProductExtents& extents, const ProductResult& result,
                    ProductArithmetic arithmetic, Isa isa, std::byte* room) {
  if (extents.depth == 0) return clear(extents, result);
  if (arithmetic == ProductArithmetic::bf16)
    multiply_here<std::uint16_t>(left, right, extents, result, kernel_table(isa), room);
  else
    multiply_here<float>(left, right, extents, result, kernel_table(isa), room);
}

}  // namespace nibble
