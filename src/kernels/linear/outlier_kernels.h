// SPDX-License-Identifier: Apache-2.0
//
// Products with the outliers of a panel (format/outlier_format.h), in f32: what a panel's codes miss. Outliers lie in
// rounds, each with at most one of every row, so that neighbours do not wait for each other's sums; those of the few
// rows that have many more follow one by one.
//
//   outlier_kernels(machine.isa).one_token(rounds, x, sums);
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace nibble {

inline constexpr std::size_t kOutlierTokens = 16;  // side by side

// The outliers of the 64 rows of a panel.
struct OutlierRounds {
  const std::uint64_t* rows;  // [rounds]: bit r is set where row r has an outlier in it
  std::size_t rounds;
  const std::uint8_t* others;  // [num_others]: the rows of those behind the rounds
  std::size_t num_others;
  const std::uint16_t *columns, *addends;  // of all rounds, their rows ascending, then of the others; addends: f16
};

// How many columns and addends behind the last one kernels may read: columns that are there, any addends.
inline constexpr std::size_t kOutlierSlack = 3;

// sums = over a row's outliers, their columns ascending, of the products addend * x, each rounded, from +0.
struct OutlierKernels {
  // x: [cols]; sums: [64].
  void (*one_token)(const OutlierRounds& rounds, const float* x, float* sums);
  // x: [cols, kOutlierTokens]; sums: [64, kOutlierTokens].
  void (*tokens)(const OutlierRounds& rounds, const float* x, float* sums);
};

// The processor must have the set.
const OutlierKernels& outlier_kernels(Isa isa);

namespace scalar {
extern const OutlierKernels kOutlierKernels;
}
namespace avx2 {
extern const OutlierKernels kOutlierKernels;
}
namespace avx512 {
extern const OutlierKernels kOutlierKernels;
}
namespace neon {
extern const OutlierKernels kOutlierKernels;
}

}  // namespace nibble
