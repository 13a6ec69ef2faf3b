// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/input_rotation.h"

#include <cassert>
#include <cmath>

namespace nibble {

HadamardRuns hadamard_runs(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      break;
    case Isa::avx2:
    case Isa::avxvnni:
      return avx2::kHadamardRuns;
    case Isa::avx512:
      return avx512::kHadamardRuns;
  }
  return scalar::kHadamardRuns;
}

InputRotation::InputRotation(const ChannelTransform& transform, std::uint64_t channels, Isa isa)
    : size_(transform.size),
      factors_(static_cast<std::size_t>(channels), 1 / std::sqrt(static_cast<float>(transform.size))),
      runs_(hadamard_runs(isa)) {
  assert(!transform.empty() && channels % transform.size == 0);
  for (std::size_t i = 0; i < transform.signs.size(); ++i) factors_[i] *= static_cast<float>(transform.signs[i]);
}

}  // namespace nibble
