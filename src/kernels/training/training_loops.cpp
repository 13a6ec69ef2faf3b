// SPDX-License-Identifier: Apache-2.0
#include "kernels/training/training_loops.h"

namespace nibble {

const TrainingLoops& training_loops(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      break;
    case Isa::avx2:
    case Isa::avxvnni:
      return avx2::kTrainingLoops;
    case Isa::avx512:
      return avx512::kTrainingLoops;
  }
  return scalar::kTrainingLoops;
}

}  // namespace nibble
