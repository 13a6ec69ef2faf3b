// SPDX-License-Identifier: Apache-2.0
//
// Which functions the sets of x86-64 processors have, by their features.
#include <gtest/gtest.h>

#include "kernels/linear/trellis_kernels.h"

namespace nibble {
namespace {

TEST(TrellisKernels, FollowTheFeatures) {
  CpuFeatures features;
  EXPECT_EQ(&trellis_kernels(Isa::scalar, features), &scalar::kTrellisKernels);
  EXPECT_EQ(&trellis_kernels(Isa::avx2, features), &avx2::kTrellisKernels);
  EXPECT_EQ(&trellis_kernels(Isa::avxvnni, features), &avx2::kTrellisKernels);
  EXPECT_EQ(&trellis_kernels(Isa::avx512, features), &avx2::kTrellisKernels);
  features.avx512_vbmi = true;
  EXPECT_EQ(&trellis_kernels(Isa::avx512, features), &avx2::kTrellisKernels);
  features.gfni = true;
  EXPECT_EQ(&trellis_kernels(Isa::avx512, features), &avx512::kTrellisKernels);
  EXPECT_EQ(&trellis_kernels(Isa::avx2, features), &avx2::kTrellisKernels);
  features.avx512_vbmi = false;
  EXPECT_EQ(&trellis_kernels(Isa::avx512, features), &avx2::kTrellisKernels);
}

}  // namespace
}  // namespace nibble
