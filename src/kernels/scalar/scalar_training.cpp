// SPDX-License-Identifier: Apache-2.0
#include "kernels/lanes/training_rows.h"
#include "kernels/scalar/vectors.h"

namespace nibble::scalar {

const TrainingLoops kTrainingLoops = lanes::kRows<F32>;

}  // namespace nibble::scalar
