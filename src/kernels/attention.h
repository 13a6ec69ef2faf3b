// SPDX-License-Identifier: Apache-2.0
//
// Causal grouped-query attention over a key/value cache. Online softmax over fixed chunks of keys, merged in order, so that results are
// the same bits for any number of threads and any cut of the query batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "kernels/linear.h"

namespace nibble {

enum class KvType { f32, f16, q8_0, q4_0 };

// Keys and values of one layer and one sequence. Positions 0 .. capacity-1.
class KvLayer {
 public:
  KvLayer(std::size_t capacity, std::size_t kv_heads, std::size_t head_dim, KvType type);
  KvLayer(KvLayer&&) noexcept;
  KvLayer& operator=(KvLayer&&) noexcept;
  ~KvLayer();
  std::uint64_t resident_bytes() const noexcept;
  // keys, values: [tokens, kv_heads, head_dim], for positions position .. position + tokens - 1 (must fit the capacity).
  void store(std::size_t position, std::size_t tokens, const float* keys, const float* values, Isa isa, ThreadPool& pool);

 private:
  friend void attention(const float*, std::size_t, std::size_t, std::size_t, float, const KvLayer&, float*, Isa, ThreadPool&, KernelScratch&);
  struct State;
  std::unique_ptr<State> state_;
};

// out, queries: [tokens, heads, head_dim]; query t stands at position + t and sees keys 0 .. position + t. heads is a multiple of the
// cache's kv_heads; head h reads kv head h / (heads / kv_heads). scale: usually 1 / sqrt(head_dim).
void attention(const float* queries, std::size_t tokens, std::size_t heads, std::size_t position, float scale, const KvLayer& cache, float* out,
               Isa isa, ThreadPool& pool, KernelScratch& scratch);

}  // namespace nibble
