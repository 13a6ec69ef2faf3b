// SPDX-License-Identifier: Apache-2.0
//
// What stands behind the installed classes, and what their functions share. Internal to pipeline/api/: everything else
// that these files define outside this namespace is the installed API.
#pragma once

#include <vector>

#include "calibrate/calibration_text.h"
#include "kernels/attention/attention.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/calibrate.h"
#include "nibble/model.h"
#include "quantize/statistics.h"

namespace nibble {

struct Model::State {
  SourceModel checkpoint;
  ModelInfo info;
};

struct CalibrationStatistics::State {
  Statistics numbers;
};

namespace api {

// Error(invalid_argument) for an instruction set that this processor lacks.
Machine make_machine(const MachineOptions& options);
// Error(invalid_argument) where a format of activations contradicts their arithmetic, or is unknown.
KernelOptions kernels_of(const ArithmeticOptions& arithmetic);
// None: automatic.
std::optional<KvType> kv_of(KeyValueStorage storage);
std::vector<CalibrationText> calibration_texts(const std::vector<NamedText>& texts);

}  // namespace api
}  // namespace nibble
