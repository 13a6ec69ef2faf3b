// SPDX-License-Identifier: Apache-2.0
//
// Processors that have no kernels of their own: the reference everywhere.
#include "base/cpu.h"
#include "kernels/convolution/convolution.h"
#include "kernels/dense/bf16_packing.h"
#include "kernels/encode/encoder_list.h"
#include "kernels/linear/hadamard_runs.h"
#include "kernels/linear/lattice_octets.h"
#include "kernels/linear/outlier_kernels.h"
#include "kernels/linear/trellis_kernels.h"
#include "kernels/select.h"
#include "kernels/training/training_loops.h"

namespace nibble {

const KernelTable& kernel_table(Isa) { return scalar_table(); }
const ConvolutionLoops& convolution_loops(Isa) { return scalar::kConvolutionLoops; }
const TrellisKernels& trellis_kernels(Isa, const CpuFeatures&) { return scalar::kTrellisKernels; }
const TrainingLoops& training_loops(Isa) { return scalar::kTrainingLoops; }
HadamardRuns hadamard_runs(Isa) { return scalar::kHadamardRuns; }
const OutlierKernels& outlier_kernels(Isa) { return scalar::kOutlierKernels; }
const LatticeKernels& lattice_kernels(Isa) { return scalar::kLatticeKernels; }
Encoders encoders(Isa) { return {{}, plain_span_loops(), plain_path_steps()}; }
const Bf16Packing* bf16_packing() { return nullptr; }

}  // namespace nibble
