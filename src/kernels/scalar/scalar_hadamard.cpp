// SPDX-License-Identifier: Apache-2.0
#include "kernels/lanes/hadamard_runs.h"
#include "kernels/linear/hadamard_runs.h"

namespace nibble::scalar {

const HadamardRuns kHadamardRuns = lanes::transform_runs<lanes::OneLane>;

}  // namespace nibble::scalar
