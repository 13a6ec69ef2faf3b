// SPDX-License-Identifier: Apache-2.0
//
// From an instruction set to its table. Which set to use is decided once, outside (base/cpu.h), and passed in. Which
// sets there are depends on the kind of processor that this is compiled for: one file says so for each
// (sets_x86.cpp, sets_arm.cpp, sets_plain.cpp), for all kernels, those beside the table, too.
#pragma once

#include "base/cpu.h"
#include "kernels/kernel_table.h"

namespace nibble {

// The processor must have the set: calling its functions elsewhere is an illegal instruction. A set's own functions
// fill its table, with its instructions: a table is made when it is first asked for, not before, or processors without
// the set would stop at the first one.
const KernelTable& kernel_table(Isa isa);

// For those files: a table that these fill, and the reference's.
using FillTable = void (*)(KernelTable&);
KernelTable filled_table(FillTable floats, FillTable integers, FillTable binary, FillTable units);
const KernelTable& scalar_table();

}  // namespace nibble
