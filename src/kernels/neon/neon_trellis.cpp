// SPDX-License-Identifier: Apache-2.0
//
// The reference's operands, as signed bytes.
#include "kernels/linear/trellis_kernels.h"
#include "kernels/neon/bytes.h"

namespace nibble::neon {
namespace {

void decode(const TrellisOperands& operands, const std::uint8_t* tiles, std::size_t quads, std::uint8_t* panel) {
  scalar::kTrellisKernels.decode(operands, tiles, quads, panel);
  for (std::size_t i = 0; i < quads * kTrellisTile; i += 16) vst1q_u8(panel + i, flipped(vld1q_u8(panel + i)));
}

}  // namespace

const TrellisKernels kTrellisKernels = {"neon", decode, nullptr};

}  // namespace nibble::neon
