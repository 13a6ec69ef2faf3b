// SPDX-License-Identifier: Apache-2.0
#include "kernels/lanes/training_rows.h"
#include "kernels/neon/vectors.h"

namespace nibble::neon {

const TrainingLoops kTrainingLoops = lanes::kRows<F32>;

}  // namespace nibble::neon
