// SPDX-License-Identifier: Apache-2.0
#include "kernels/avx512/vectors.h"
#include "kernels/lanes/training_rows.h"

namespace nibble::avx512 {

const TrainingLoops kTrainingLoops = lanes::kRows<F32>;

}  // namespace nibble::avx512
