// SPDX-License-Identifier: Apache-2.0
//
// What this machine can do at best, measured: the yardstick for every speed. Each measurement takes a fraction of a
// second and uses all threads of the pool; on a shared machine the figures are as noisy as the neighbours.
//
//   Machine machine(isa, 2);
//   double tops = measure_int8_peak(machine) * 1e-12;
#pragma once

#include "kernels/machine.h"

namespace nibble {

// Operations per second (a multiply-add counts as two) of the best of several runs. bf16: 0 where the set has no such
// instruction.
double measure_int8_peak(Machine& machine);
double measure_bf16_peak(Machine& machine);
double measure_f32_peak(Machine& machine);
double measure_f64_peak(Machine& machine);

// Bytes per second read from memory, all threads together; each reads its own 256 MiB. Error(resource) when there is no
// such memory.
double measure_read_stream(Machine& machine);

}  // namespace nibble
