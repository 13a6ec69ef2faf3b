// SPDX-License-Identifier: Apache-2.0
//
// What a network's weights are before anything is learnt: matrices of normal numbers whose outputs are as large as
// their inputs, those that add to the stream smaller with depth (GPT-2), norms of ones. Pure; the same for any number
// of threads.
//
//   NetworkWeights weights(initial_weights(tensors, seed, pool));
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "model/arch/architecture.h"
#include "train/network_weights.h"

namespace nibble {

std::vector<NetworkWeight> initial_weights(const ModelTensors& tensors, std::uint64_t seed, ThreadPool& pool);

}  // namespace nibble
