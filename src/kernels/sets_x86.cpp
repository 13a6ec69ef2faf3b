// SPDX-License-Identifier: Apache-2.0
//
// Which functions each set of an x86-64 processor has.
#include "base/cpu.h"
#include "kernels/avx2/parts.h"
#include "kernels/avx512/parts.h"
#include "kernels/avxvnni/parts.h"
#include "kernels/convolution/convolution.h"
#include "kernels/dense/bf16_packing.h"
#include "kernels/encode/encoder_list.h"
#include "kernels/linear/hadamard_runs.h"
#include "kernels/linear/lattice_octets.h"
#include "kernels/linear/outlier_kernels.h"
#include "kernels/linear/trellis_kernels.h"
#include "kernels/scalar/parts.h"
#include "kernels/select.h"
#include "kernels/training/training_loops.h"

namespace nibble {
namespace {

KernelTable avx512_table() {
  KernelTable table = filled_table(avx512::fill_f32, avx512::fill_int8, avx2::fill_binary, avx2::fill_units);
  const CpuFeatures features = detect_cpu();
  if (features.avx512_vbmi && features.gfni) avx512::fill_units(table);
  if (features.avx512_bf16) avx512::fill_bf16(table);
  table.bf16_is_fast = bf16_products(features, Isa::avx512).are_fast;
  if (features.avx512_vpopcntdq) avx512::fill_binary(table);
  return table;
}

}  // namespace

const KernelTable& kernel_table(Isa isa) {
  switch (isa) {
    case Isa::avx2: {
      static const KernelTable table =
          filled_table(avx2::fill_f32, avx2::fill_int8, avx2::fill_binary, avx2::fill_units);
      return table;
    }
    case Isa::avxvnni: {
      static const KernelTable table =
          filled_table(avx2::fill_f32, avxvnni::fill_int8, avx2::fill_binary, avx2::fill_units);
      return table;
    }
    case Isa::avx512: {
      static const KernelTable table = avx512_table();
      return table;
    }
    default:
      return scalar_table();
  }
}

const ConvolutionLoops& convolution_loops(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return avx2::kConvolutionLoops;
    case Isa::avxvnni:
      return avxvnni::kConvolutionLoops;
    case Isa::avx512:
      return avx512::kConvolutionLoops;
    default:
      return scalar::kConvolutionLoops;
  }
}

const TrellisKernels& trellis_kernels(Isa isa, const CpuFeatures& features) {
  switch (isa) {
    case Isa::avx2:
    case Isa::avxvnni:
      return avx2::kTrellisKernels;
    case Isa::avx512:
      return features.avx512_vbmi && features.gfni ? avx512::kTrellisKernels : avx2::kTrellisKernels;
    default:
      return scalar::kTrellisKernels;
  }
}

const TrainingLoops& training_loops(Isa isa) {
  switch (isa) {
    case Isa::avx2:
    case Isa::avxvnni:
      return avx2::kTrainingLoops;
    case Isa::avx512:
      return avx512::kTrainingLoops;
    default:
      return scalar::kTrainingLoops;
  }
}

HadamardRuns hadamard_runs(Isa isa) {
  switch (isa) {
    case Isa::avx2:
    case Isa::avxvnni:
      return avx2::kHadamardRuns;
    case Isa::avx512:
      return avx512::kHadamardRuns;
    default:
      return scalar::kHadamardRuns;
  }
}

const OutlierKernels& outlier_kernels(Isa isa) {
  switch (isa) {
    case Isa::avx2:
    case Isa::avxvnni:
      return avx2::kOutlierKernels;
    case Isa::avx512:
      return avx512::kOutlierKernels;
    default:
      return scalar::kOutlierKernels;
  }
}

const LatticeKernels& lattice_kernels(Isa isa) {
  switch (isa) {
    case Isa::avx2:
    case Isa::avxvnni:
      return avx2::kLatticeKernels;
    case Isa::avx512:
      return avx512::kLatticeKernels;
    default:
      return scalar::kLatticeKernels;
  }
}

Encoders encoders(Isa isa) {
  switch (isa) {
    case Isa::avx2:
    case Isa::avxvnni:
      return {avx2::block_twins(), avx2::span_loops(), avx2::path_steps()};
    case Isa::avx512:
      return {avx512::block_twins(), avx512::span_loops(), avx512::path_steps()};
    default:
      return {{}, plain_span_loops(), plain_path_steps()};
  }
}

const Bf16Packing* bf16_packing() { return &avx512::kBf16Packing; }

}  // namespace nibble
