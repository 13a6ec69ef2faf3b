// SPDX-License-Identifier: Apache-2.0
#include "kernels/avx2/vectors.h"
#include "kernels/lanes/training_rows.h"

namespace nibble::avx2 {

const TrainingLoops kTrainingLoops = lanes::kRows<F32>;

}  // namespace nibble::avx2
