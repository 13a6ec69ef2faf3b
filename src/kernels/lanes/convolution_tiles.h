// SPDX-License-Identifier: Apache-2.0
//
// Convolutions of convolution/convolution.h, once for all instruction sets: templates over a set's sixteen-lane vector.
// MR places by NV blocks of outputs are summed in registers, whatever the runs of inputs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/convolution/convolution.h"

namespace nibble::lanes {

// An operand that is not a number stays one.
template <class F32>
[[gnu::always_inline]] static inline F32 clipped(F32 x, F32 low, F32 high) {
  return min(high, max(low, x));
}

// x, from -2^22 to 2^22, rounded with ties to even, + zero, as bytes; the first n of sixteen.
template <class F32>
[[gnu::always_inline]] static inline void store_codes(F32 x, std::int32_t zero, std::uint8_t* p, std::size_t n) {
  const F32 bits = plus_bits(add(x, F32::set(12582912.0f)), zero);  // 1.5 * 2^23: adding it rounds to an integer
  if (n >= 16) return store_low_bytes(bits, reinterpret_cast<std::int8_t*>(p));
  store_low_bytes_part(bits, reinterpret_cast<std::int8_t*>(p), n);
}

template <class F32, int MR, int NV>
[[gnu::noinline]] static void float_places(const FloatTile& tile, std::size_t first, std::size_t block) {
  const float* x[MR];
  for (int m = 0; m < MR; ++m) {
    const std::size_t place = first + static_cast<std::size_t>(m);
    x[m] = tile.x[place < tile.places ? place : tile.places - 1] + tile.from;
  }
  F32 sum[MR][NV];
#pragma GCC unroll 4
  for (int n = 0; n < NV; ++n) {
    const F32 bias = F32::load(tile.bias + 16 * (block + n));
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) sum[m][n] = bias;
  }
  const float* panel = tile.panel + 16 * block;
  const std::size_t width = 16 * tile.blocks, depth = tile.runs.depth;
  for (std::size_t run = 0; run < tile.runs.count; ++run) {
    const std::ptrdiff_t offset = tile.runs.offsets[run];
    for (std::size_t k = 0; k < depth; ++k) {
      F32 w[NV];
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) w[n] = F32::load(panel + 16 * n);
      panel += width;
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
        const F32 value = F32::set(x[m][offset + static_cast<std::ptrdiff_t>(k)]);
#pragma GCC unroll 4
        for (int n = 0; n < NV; ++n) sum[m][n] = fma(value, w[n], sum[m][n]);
      }
    }
  }
  const F32 low = F32::set(tile.low), high = F32::set(tile.high);
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
    if (first + static_cast<std::size_t>(m) >= tile.places) break;
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) {
      const std::size_t at = 16 * (block + n);
      if (at >= tile.outputs) break;
      const std::size_t count = tile.outputs - at;
      F32 y = sum[m][n];
      if (tile.added != nullptr) {
        const float* const more = tile.added[first + m] + tile.to + at;
        y = add(y, count < 16 ? F32::load_part(more, count) : F32::load(more));
      }
      y = clipped(y, low, high);
      if (count < 16)
        y.store_part(tile.y[first + m] + tile.to + at, count);
      else
        y.store(tile.y[first + m] + tile.to + at);
    }
  }
}

// One block alone is summed in two halves, or its few sums would wait for each other.
template <class F32, class Bytes, class Sums, class UnsignedQuad, int MR, int NV>
[[gnu::noinline]] static void code_places(const CodeTile& given, std::size_t first, std::size_t block) {
  const CodeTile tile = given;  // bytes that are stored might be the tile's own otherwise
  const std::uint8_t* x[MR];
  for (int m = 0; m < MR; ++m) {
    const std::size_t place = first + static_cast<std::size_t>(m);
    x[m] = tile.x[place < tile.places ? place : tile.places - 1] + tile.from;
  }
  constexpr int kHalves = NV == 1 ? 2 : 1;
  Sums sum[kHalves][MR][NV];
#pragma GCC unroll 4
  for (int n = 0; n < NV; ++n) {
    const Sums bias = Sums::load_bits(reinterpret_cast<const float*>(tile.bias + 16 * (block + n)));
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      sum[0][m][n] = bias;
      if constexpr (kHalves == 2) sum[1][m][n] = Sums::set(0);
    }
  }
  const std::uint8_t* panel = reinterpret_cast<const std::uint8_t*>(tile.panel) + 64 * block;
  const std::size_t width = 64 * tile.blocks;
  const std::ptrdiff_t *quad = tile.quads.offsets, *const end = quad + tile.quads.count;
  for (; quad + kHalves <= end; quad += kHalves) {
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      Bytes w[NV];
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) w[n] = Bytes::load(panel + 64 * n);
      panel += width;
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
        const UnsignedQuad value = UnsignedQuad::load(x[m] + quad[half]);
#pragma GCC unroll 4
        for (int n = 0; n < NV; ++n) sum[half][m][n] = dot(sum[half][m][n], w[n], value);
      }
    }
  }
  if constexpr (kHalves == 2) {
    if (quad != end) {
      const Bytes w = Bytes::load(panel);
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) sum[0][m][0] = dot(sum[0][m][0], w, UnsignedQuad::load(x[m] + *quad));
    }
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) sum[0][m][0] = add(sum[0][m][0], sum[1][m][0]);
  }
  const CodeRounding& r = tile.rounding;
  const F32 low = F32::set(r.low), high = F32::set(r.high);
  std::uint8_t* y[MR];
  for (int m = 0; m < MR; ++m) {
    const std::size_t place = first + static_cast<std::size_t>(m);
    y[m] = tile.y[place < tile.places ? place : tile.places - 1] + tile.to + 16 * block;
  }
  // Places that are there twice are stored twice, with the same bytes.
#pragma GCC unroll 4
  for (int n = 0; n < NV; ++n) {
    const std::size_t at = 16 * (block + n);
    if (at >= tile.outputs) break;
    const F32 factor = F32::load(r.factors + at), offset = F32::load(r.offsets + at);
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m)
      store_codes(clipped(fma(to_f32(sum[0][m][n]), factor, offset), low, high), r.zero, y[m] + 16 * n,
                  tile.outputs - at);
  }
}

// One NV for each number of blocks that a set's registers hold: W of them at a time. M: places of 1, 2 and 4 blocks.
template <class F32, int W, int M1, int M2, int M4>
static void convolve(const FloatTile& tile) {
  const auto all = [&]<int MR, int NV>() {
    for (std::size_t block = 0; block < tile.blocks; block += NV)
      for (std::size_t first = 0; first < tile.places;) {
        const std::size_t left = tile.places - first;
        if (2 * left > MR) {
          float_places<F32, MR, NV>(tile, first, block);
          first += MR;
        } else if (left > 1) {
          float_places<F32, (MR + 1) / 2, NV>(tile, first, block);
          first += (MR + 1) / 2;
        } else {
          float_places<F32, 1, NV>(tile, first, block);
          ++first;
        }
      }
  };
  if (tile.blocks == 4)
    all.template operator() < M4, W<4 ? W : 4>();
  else if (tile.blocks == 2)
    all.template operator() < M2, W<2 ? W : 2>();
  else
    all.template operator()<M1, 1>();
}

template <class F32, class Bytes, class Sums, class UnsignedQuad, int W, int M1, int M2, int M4>
static void convolve_codes(const CodeTile& tile) {
  const auto all = [&]<int MR, int NV>() {
    for (std::size_t block = 0; block < tile.blocks; block += NV)
      for (std::size_t first = 0; first < tile.places;) {
        const std::size_t left = tile.places - first;
        if (2 * left > MR) {
          code_places<F32, Bytes, Sums, UnsignedQuad, MR, NV>(tile, first, block);
          first += MR;
        } else if (left > 1) {
          code_places<F32, Bytes, Sums, UnsignedQuad, (MR + 1) / 2, NV>(tile, first, block);
          first += (MR + 1) / 2;
        } else {
          code_places<F32, Bytes, Sums, UnsignedQuad, 1, NV>(tile, first, block);
          ++first;
        }
      }
  };
  if (tile.blocks == 4)
    all.template operator() < M4, W<4 ? W : 4>();
  else if (tile.blocks == 2)
    all.template operator() < M2, W<2 ? W : 2>();
  else
    all.template operator()<M1, 1>();
}

// --- each channel by itself
// --------------------------------------------------------------------------------------------

template <class F32>
struct FloatLine {
  const float* p;
  std::size_t count;
  F32 at(std::ptrdiff_t i) const { return count < 16 ? F32::load_part(p + i, count) : F32::load(p + i); }
};
template <class F32>
struct CodeLine {
  const std::uint8_t* p;
  F32 at(std::ptrdiff_t i) const { return F32::load_u8(p + i); }
};

// Adds the products of sixteen channels, MR places. Where places follow each other by the step of the taps, or twice
// that, three taps of a row read what they see of it once for all places: kStride; 0: any taps. Each sum is one chain
// in the order of the taps either way.
template <int kStride, int MR, class F32, class Line>
[[gnu::always_inline]] static inline void add_taps(const ChannelTaps& taps, std::size_t place_stride, const Line& line,
                                                   const float* weights, std::size_t width, F32 (&sum)[MR]) {
  for (std::size_t row = 0; row < taps.num_rows; ++row) {
    const std::ptrdiff_t begin = taps.rows[row];
    if constexpr (kStride > 0) {
      const F32 w[3] = {F32::load(weights), F32::load(weights + width), F32::load(weights + 2 * width)};
      weights += 3 * width;
#pragma GCC unroll 32
      for (int col = 0; col < kStride * (MR - 1) + 3; ++col) {
        const F32 x = line.at(begin + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(col) * taps.step));
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m)
          if (col - kStride * m >= 0 && col - kStride * m < 3) sum[m] = fma(x, w[col - kStride * m], sum[m]);
      }
    } else {
      for (std::size_t col = 0; col < taps.num_cols; ++col, weights += width) {
        const F32 w = F32::load(weights);
        const std::ptrdiff_t at = begin + static_cast<std::ptrdiff_t>(col * taps.step);
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m)
          sum[m] =
              fma(line.at(at + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(m) * place_stride)), w, sum[m]);
      }
    }
  }
}

template <class F32, int MR, int kStride>
[[gnu::noinline]] static void float_channels(const FloatChannels& row, std::size_t first) {
  const std::size_t width = (row.channels + 15) / 16 * 16;
  const F32 low = F32::set(row.low), high = F32::set(row.high);
  for (std::size_t c = 0; c < row.channels; c += 16) {
    const std::size_t count = row.channels - c;
    F32 sum[MR];
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) sum[m] = F32::load(row.bias + c);
    add_taps<kStride>(row.taps, row.place_stride, FloatLine<F32>{row.x + first * row.place_stride + c, count},
                      row.weights + c, width, sum);
    float* y = row.y + first * row.y_stride + c;
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m, y += row.y_stride) {
      const F32 made = clipped(sum[m], low, high);
      if (count < 16)
        made.store_part(y, count);
      else
        made.store(y);
    }
  }
}

template <class F32, class Sums, int MR, int kStride>
[[gnu::noinline]] static void code_channels(const CodeChannels& given, std::size_t first) {
  const CodeChannels row = given;  // bytes that are stored might be its own otherwise
  const std::size_t width = (row.channels + 15) / 16 * 16;
  const CodeRounding& r = row.rounding;
  const F32 low = F32::set(r.low), high = F32::set(r.high);
  for (std::size_t c = 0; c < row.channels; c += 16) {
    F32 sum[MR];
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) sum[m] = F32::load(row.bias + c);
    add_taps<kStride>(row.taps, row.place_stride, CodeLine<F32>{row.x + first * row.place_stride + c}, row.weights + c,
                      width, sum);
    if (row.large_bias != nullptr) {
      const Sums bias = Sums::load_bits(reinterpret_cast<const float*>(row.large_bias + c));
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) sum[m] = to_f32(add(to_sums(sum[m]), bias));
    }
    const F32 factor = F32::load(r.factors + c), offset = F32::load(r.offsets + c);
    std::uint8_t* y = row.y + first * row.y_stride + c;
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m, y += row.y_stride)
      store_codes(clipped(fma(sum[m], factor, offset), low, high), r.zero, y, row.channels - c);
  }
}

// 0: taps are read for each place.
[[maybe_unused]] static int shared_stride(const ChannelTaps& taps, std::size_t place_stride) {
  if (taps.num_cols != 3) return 0;
  return place_stride == taps.step ? 1 : place_stride == 2 * taps.step ? 2 : 0;
}

template <class F32, class Sums, int MR, int kStride>
[[gnu::always_inline]] static inline void channels_at(const FloatChannels& row, std::size_t first) {
  float_channels<F32, MR, kStride>(row, first);
}
template <class F32, class Sums, int MR, int kStride>
[[gnu::always_inline]] static inline void channels_at(const CodeChannels& row, std::size_t first) {
  code_channels<F32, Sums, MR, kStride>(row, first);
}
template <class F32, class Sums, int MR, int kStride, class Row>
static void channels_of(const Row& row) {
  std::size_t first = 0;
  for (; first + MR <= row.places; first += MR) channels_at<F32, Sums, MR, kStride>(row, first);
  if constexpr (MR > 4)
    for (; first + 4 <= row.places; first += 4) channels_at<F32, Sums, 4, kStride>(row, first);
  if constexpr (MR > 2)
    for (; first + 2 <= row.places; first += 2) channels_at<F32, Sums, 2, kStride>(row, first);
  for (; first < row.places; ++first) channels_at<F32, Sums, 1, kStride>(row, first);
}
template <class F32, class Sums, int MR, class Row>
static void convolve_channels_apart(const Row& row) {
  switch (shared_stride(row.taps, row.place_stride)) {
    case 1:
      return channels_of<F32, Sums, MR, 1>(row);
    case 2:
      return channels_of<F32, Sums, MR, 2>(row);
    default:
      return channels_of<F32, Sums, MR, 0>(row);
  }
}

}  // namespace nibble::lanes
