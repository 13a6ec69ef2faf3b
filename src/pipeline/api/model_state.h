// SPDX-License-Identifier: Apache-2.0
//
// What stands behind the installed Model. Internal to pipeline/.
#pragma once

#include "base/thread_pool.h"
#include "kernels/linear/linear.h"
#include "model/source_model.h"
#include "nibble/model.h"

namespace nibble {

struct Model::State {
  SourceModel checkpoint;
  ModelInfo info;
};

// Error(invalid_argument) for an instruction set that is unknown or that this processor lacks.
KernelOptions kernel_options(const MachineOptions& machine);

}  // namespace nibble
