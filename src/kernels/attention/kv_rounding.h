// SPDX-License-Identifier: Apache-2.0
//
// What a cache gives back of the keys and values that it is given, without a cache: for training that is to know of it.
//
//   round_as_cached(keys, 64, KvType::q8_0, CachedNumbers::keys, pool);
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_pool.h"
#include "kernels/attention/attention.h"

namespace nibble {

enum class CachedNumbers { keys, values };

// numbers: [tokens, kv_heads, head_dim], in their place. Keys of the quantized types are rounded rotated, and rotated
// back.
void round_as_cached(std::span<float> numbers, std::size_t head_dim, KvType type, CachedNumbers which,
                     ThreadPool& pool);

}  // namespace nibble
