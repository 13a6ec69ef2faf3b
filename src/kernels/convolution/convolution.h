// SPDX-License-Identifier: Apache-2.0
//
// What runs of small nets are made of, by one instruction set; all sets give the same bits. Values lie channels last:
// the channels of a place one behind the other, in f32 or in bytes. A sum of f32 is one chain of fused multiply-adds in
// the order of the panel; sums of codes are exact. Functions neither throw, allocate nor print.
//
//   const ConvolutionLoops& loops = convolution_loops(machine.isa);
//   loops.convolve(tile);
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace nibble {

inline constexpr std::size_t kOutputBlock = 16;  // outputs of a convolution that lie side by side in a panel
// Bytes behind every value of codes that may be read, and mean nothing.
inline constexpr std::size_t kCodeSlack = 64;

// The inputs of a window as runs of neighbouring numbers: where each begins, counted from where the window begins.
struct InputRuns {
  const std::ptrdiff_t* offsets;
  std::size_t count, depth;  // depth: numbers of each run
};

// Some places times up to four blocks of outputs: y = clip(bias + the sum over the inputs of x * panel (+ added)).
struct FloatTile {
  const float* const* x;      // of each place: where its window begins
  float* const* y;            // of each place: its first output
  const float* const* added;  // of each place; null: nothing is added
  std::size_t places;
  std::ptrdiff_t from, to;  // what all windows, and all outputs and what is added, are further on
  InputRuns runs;
  const float* panel;           // [runs.count * runs.depth, blocks * 16]
  const float* bias;            // [blocks * 16]
  std::size_t blocks, outputs;  // blocks: 1, 2 or 4; outputs: that there are, the last block may lack some
  float low, high;
};

// How sums become codes: code = round(clip(fma(sum, factor, offset))) + zero; ties to even.
struct CodeRounding {
  const float *factors, *offsets;  // of each output, whole blocks
  float low, high;                 // of code - zero
  std::int32_t zero;               // of the byte that stands for it
};

struct CodeTile {
  const std::uint8_t* const* x;
  std::uint8_t* const* y;
  std::size_t places;
  std::ptrdiff_t from, to;
  InputRuns quads;           // depth: 4
  const std::int8_t* panel;  // [quads.count, blocks * 16, 4]
  const std::int32_t* bias;  // [blocks * 16]; less the products of the inputs' zero
  CodeRounding rounding;
  std::size_t blocks, outputs;
};

// What convolutions of each channel by itself see: rows of taps that lie `step` numbers apart.
struct ChannelTaps {
  const std::ptrdiff_t* rows;  // where each row of taps begins
  std::size_t num_rows, num_cols, step;
};

// Convolution of each channel by itself, of neighbouring places of one row.
struct FloatChannels {
  const float* x;
  std::size_t place_stride;  // numbers from what a place sees to what the next one sees
  ChannelTaps taps;
  const float* weights;  // [taps, channels in whole blocks]
  const float* bias;     // [channels in whole blocks]
  std::size_t channels, places;
  float* y;
  std::size_t y_stride;
  float low, high;
};
// Sums in f32 that are exact: whole numbers below 2^24. large_bias: null, or 32-bit biases that are added behind them,
// where f32 would round.
struct CodeChannels {
  const std::uint8_t* x;
  std::size_t place_stride;
  ChannelTaps taps;
  const float *weights, *bias;
  const std::int32_t* large_bias;
  CodeRounding rounding;
  std::size_t channels, places;
  std::uint8_t* y;
  std::size_t y_stride;
};

// The largest or the mean of rows x cols places, by channel.
struct PooledPlace {
  std::size_t rows, cols;
  std::ptrdiff_t row_step, col_step;
  std::size_t channels;
  float divisor;  // of means; 0: the largest
};

enum class PointFunction {
  clip,          // to a .. b
  leaky_relu,    // a * x where x < 0
  hard_sigmoid,  // max(0, min(1, a * x + b))
  hard_swish,    // x * max(0, min(1, x / 6 + 1 / 2))
  sigmoid,
  silu,
  tanh,
  exponential,
  reciprocal,
  negative,
  absolute
};
enum class PairFunction { add, subtract, multiply, divide, minimum, maximum };

// One number that codes stand for: (byte - zero) * scale.
struct CodeScale {
  float scale, zero;
};

struct ConvolutionLoops {
  // Places that a tile of so many blocks takes best: of 1, 2 and 4 blocks.
  std::size_t float_places[3], code_places[3];
  void (*convolve)(const FloatTile& tile);
  void (*convolve_codes)(const CodeTile& tile);
  void (*convolve_channels)(const FloatChannels& row);
  void (*convolve_code_channels)(const CodeChannels& row);
  void (*pool)(const PooledPlace& place, const float* x, float* y);
  void (*pool_codes)(const PooledPlace& place, const std::uint8_t* x, std::uint8_t* y);  // the largest alone
  void (*apply)(PointFunction function, float a, float b, const float* x, std::size_t count, float* y);
  // step: 1, or 0 of one number that stands for all.
  void (*combine)(PairFunction function, const float* a, std::size_t a_step, const float* b, std::size_t b_step,
                  std::size_t count, float* y);
  void (*widen)(const std::uint8_t* codes, std::size_t count, const CodeScale& scale, float* y);
  // Codes of x: round(x / scale) + zero, of code - zero within low .. high; of NaN: zero.
  void (*narrow)(const float* x, std::size_t count, const CodeScale& scale, float low, float high, std::uint8_t* codes);
  // Codes of the sums of what two codes stand for.
  void (*add_codes)(const std::uint8_t* a, const CodeScale& a_scale, const std::uint8_t* b, const CodeScale& b_scale,
                    std::size_t count, const CodeScale& y_scale, float low, float high, std::uint8_t* y);
};

// The processor must have the set.
const ConvolutionLoops& convolution_loops(Isa isa);

namespace scalar {
extern const ConvolutionLoops kConvolutionLoops;
}
namespace avx2 {
extern const ConvolutionLoops kConvolutionLoops;
}
namespace avxvnni {
extern const ConvolutionLoops kConvolutionLoops;
}
namespace avx512 {
extern const ConvolutionLoops kConvolutionLoops;
}
namespace neon {
extern const ConvolutionLoops kConvolutionLoops;
}
namespace neon_dot {
extern const ConvolutionLoops kConvolutionLoops;
}
namespace neon_i8mm {
extern const ConvolutionLoops kConvolutionLoops;
}

}  // namespace nibble
