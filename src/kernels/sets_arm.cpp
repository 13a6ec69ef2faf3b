// SPDX-License-Identifier: Apache-2.0
//
// Which functions each set of an aarch64 processor has.
#include "base/cpu.h"
#include "kernels/convolution/convolution.h"
#include "kernels/dense/bf16_packing.h"
#include "kernels/encode/encoder_list.h"
#include "kernels/linear/hadamard_runs.h"
#include "kernels/linear/lattice_octets.h"
#include "kernels/linear/outlier_kernels.h"
#include "kernels/linear/trellis_kernels.h"
#include "kernels/neon/parts.h"
#include "kernels/neon_dot/parts.h"
#include "kernels/neon_i8mm/parts.h"
#include "kernels/scalar/parts.h"
#include "kernels/select.h"
#include "kernels/training/training_loops.h"

namespace nibble {
namespace {

KernelTable neon_table(FillTable integers) {
  KernelTable table = filled_table(neon::fill_f32, integers, neon::fill_binary, scalar::fill_units);
  table.signed_operands = true;
  return table;
}

}  // namespace

const KernelTable& kernel_table(Isa isa) {
  switch (isa) {
    case Isa::neon: {
      static const KernelTable table = neon_table(neon::fill_int8);
      return table;
    }
    case Isa::neon_dot: {
      static const KernelTable table = neon_table(neon_dot::fill_int8);
      return table;
    }
    case Isa::neon_i8mm: {
      static const KernelTable table = neon_table(neon_i8mm::fill_int8);
      return table;
    }
    default:
      return scalar_table();
  }
}

const ConvolutionLoops& convolution_loops(Isa isa) {
  switch (isa) {
    case Isa::neon:
      return neon::kConvolutionLoops;
    case Isa::neon_dot:
      return neon_dot::kConvolutionLoops;
    case Isa::neon_i8mm:
      return neon_i8mm::kConvolutionLoops;
    default:
      return scalar::kConvolutionLoops;
  }
}

const TrellisKernels& trellis_kernels(Isa isa, const CpuFeatures&) {
  return isa == Isa::scalar ? scalar::kTrellisKernels : neon::kTrellisKernels;
}
const TrainingLoops& training_loops(Isa isa) {
  return isa == Isa::scalar ? scalar::kTrainingLoops : neon::kTrainingLoops;
}
HadamardRuns hadamard_runs(Isa isa) { return isa == Isa::scalar ? scalar::kHadamardRuns : neon::kHadamardRuns; }
const OutlierKernels& outlier_kernels(Isa isa) {
  return isa == Isa::scalar ? scalar::kOutlierKernels : neon::kOutlierKernels;
}
const LatticeKernels& lattice_kernels(Isa) { return scalar::kLatticeKernels; }

// Formats are compiled for vectors of 128 bits already.
Encoders encoders(Isa) { return {{}, plain_span_loops(), plain_path_steps()}; }
const Bf16Packing* bf16_packing() { return nullptr; }

}  // namespace nibble
