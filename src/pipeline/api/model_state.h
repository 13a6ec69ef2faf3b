// SPDX-License-Identifier: Apache-2.0
//
// What stands behind the installed Model. Internal to pipeline/.
#pragma once

#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/model.h"

namespace nibble {

struct Model::State {
  SourceModel checkpoint;
  ModelInfo info;
};

// Error(invalid_argument) for an instruction set that is unknown or that this processor lacks.
Machine make_machine(const MachineOptions& options);

}  // namespace nibble
