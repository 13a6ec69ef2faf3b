// SPDX-License-Identifier: Apache-2.0
//
// What the dense pre-norm decoders with RMSNorm, grouped-query attention and SwiGLU have in common: Llama and those that follow it.
// Family files start from these lists and change what differs.
#pragma once

#include <vector>

#include "model/arch/architecture.h"

namespace nibble {

std::vector<TensorPattern> dense_decoder_tensors();
std::vector<Site> dense_decoder_sites();
std::vector<FoldSite> dense_decoder_folds();
std::vector<FusedGroup> dense_decoder_fused();

}  // namespace nibble
