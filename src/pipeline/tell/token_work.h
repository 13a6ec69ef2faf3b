// SPDX-License-Identifier: Apache-2.0
//
// What one token takes of a model: the share of each tensor that it reads, and what it is multiplied with.
#pragma once

#include <cstdint>

#include "model/arch/architecture.h"
#include "model/source_model.h"

namespace nibble {

// Of the tensor's bytes, or its stack's: of experts those that a token is sent to; 0 where one row is looked up.
double share_read(const ModelTensor& tensor, const ModelConfig& config);

// What a tensor that is stored in `stored` is held in to be run: the same, but for what makes keys and values of a
// latent vector, which the engine widens to f32 unless it has 16 bits (kernels/attention/latent_heads).
FormatPtr running_format(const ModelTensor& tensor, const ModelConfig& config, FormatPtr stored);

struct TokenWork {
  std::uint64_t bytes = 0;              // read to decode a token, without what is kept for the positions before it
  std::uint64_t linear_parameters = 0;  // of the layers' Linears that it is multiplied with
  std::uint64_t head_parameters = 0;
};

// Of a model whose network is known, as it is held to be run.
TokenWork work_of_token(const SourceModel& model);

}  // namespace nibble
