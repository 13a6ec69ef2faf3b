// SPDX-License-Identifier: Apache-2.0
//
// What the files of dense algebra share: panel products chosen by type, and the division of scratch among threads. A
// panel is [depth, 64].
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/machine.h"
#include "kernels/select.h"

namespace nibble::dense {

inline constexpr std::size_t kWidth = 64;  // columns of a panel
template <class T>
inline constexpr std::size_t kDepth =
    1024 / sizeof(T);  // of what is multiplied at a time; chains continue from one to the next
template <>
inline constexpr std::size_t kDepth<std::int32_t> =
    128;  // of quads of bytes: 512 rows, whose sums f32 still holds exactly

// y[t, j] += sum over k of x[t, k] panel[k, j] for `rows` rows and the first `width` columns of the panel (a multiple
// of 16).
template <class T>
void add_product(const KernelTable& kernels, const T* panel, std::size_t depth, const T* x, std::size_t x_stride,
                 std::size_t rows, T* y, std::size_t y_stride) {
  if constexpr (std::is_same_v<T, float>)
    kernels.f32_tile(panel, depth, kWidth, x, x_stride, rows, y, y_stride, 1);
  else
    kernels.f64_tile(panel, depth, kWidth, x, x_stride, rows, y, y_stride, 1);
}

// The same for a panel that is deeper than a cache.
template <class T>
void add_deep_product(const KernelTable& kernels, const T* panel, std::size_t depth, const T* x, std::size_t x_stride,
                      std::size_t rows, T* y, std::size_t y_stride) {
  for (std::size_t start = 0; start < depth; start += kDepth<T>)
    add_product(kernels, panel + start * kWidth, std::min(kDepth<T>, depth - start), x + start, x_stride, rows, y,
                y_stride);
}

// `count` elements for each thread and `shared` for all; counts that are multiples of 64 keep everything aligned.
template <class T>
class Workspace {
 public:
  Workspace(Machine& machine, std::size_t count, std::size_t shared = 0)
      : shared_(
            reinterpret_cast<T*>(machine.scratch.reserve((shared + machine.pool.num_threads() * count) * sizeof(T)))),
        own_(shared_ + shared),
        count_(count) {}
  T* shared() const { return shared_; }
  T* of(std::size_t worker) const { return own_ + worker * count_; }

 private:
  T *shared_, *own_;
  std::size_t count_;
};

}  // namespace nibble::dense
