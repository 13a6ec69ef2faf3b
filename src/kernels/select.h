// SPDX-License-Identifier: Apache-2.0
//
// From an instruction set to its table. Which set to use is decided once, outside (base/cpu.h), and passed in.
#pragma once

#include "base/cpu.h"
#include "kernels/kernel_table.h"

namespace nibble {

// The processor must have the set: calling its functions elsewhere is an illegal instruction.
const KernelTable& kernel_table(Isa isa);

}  // namespace nibble
