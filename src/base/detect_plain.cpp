// SPDX-License-Identifier: Apache-2.0
//
// Processors that have no kernels of their own.
#include "base/cpu.h"

namespace nibble {

CpuFeatures detect_cpu() { return {}; }

}  // namespace nibble
