// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "kernels/kv_layout.h"
#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kRows = 48;  // query rows (tokens x heads of a group) that share the work of widening a chunk; 8 tiles of 6

// Everything a worker needs for one block of rows, cut from the caller's scratch.
struct Workspace {
  float *keys, *values;                        // [depth, 64], [64, depth]
  float *queries, *scores, *partial, *result;  // [rows, head_dim], [rows, 64], [rows, depth], [rows, depth]
  float *top, *sum, *chunk_top, *chunk_sum;    // [rows]: largest score and sum of exponentials, so far and in the chunk

  static std::size_t round16(std::size_t n) { return (n + 15) / 16 * 16; }
  static std::size_t floats(std::size_t rows, std::size_t head_dim, std::size_t depth) {
    return 2 * kChunk * depth + round16(rows * head_dim) + rows * (kChunk + 2 * depth) + 4 * round16(rows);
  }
  Workspace(float* base, std::size_t rows, std::size_t head_dim, std::size_t depth) {
    const auto take = [&base](std::size_t n) { return std::exchange(base, base + n); };
    keys = take(kChunk * depth);
    values = take(kChunk * depth);
    queries = take(round16(rows * head_dim));
    scores = take(rows * kChunk);
    partial = take(rows * depth);
    result = take(rows * depth);
    top = take(round16(rows));
    sum = take(round16(rows));
    chunk_top = take(round16(rows));
    chunk_sum = take(round16(rows));
  }
};

// A chunk as f32 panels: the cache's own memory for f32, else widened into the workspace.
struct ChunkPanels {
  const float *keys, *values;
};

ChunkPanels widen_chunk(const KernelTable& kernels, KvType type, std::size_t depth, std::size_t code_bytes, const std::byte* k, const std::byte* v,
                        const Workspace& w) {
  const auto scales = [code_bytes](const std::byte* p) { return reinterpret_cast<const std::uint16_t*>(p + code_bytes); };
  switch (type) {
    case KvType::f32:
      return {reinterpret_cast<const float*>(k), reinterpret_cast<const float*>(v)};
    case KvType::f16:
      kernels.widen_f16(reinterpret_cast<const std::uint16_t*>(k), kChunk * depth, w.keys);
      kernels.widen_f16(reinterpret_cast<const std::uint16_t*>(v), kChunk * depth, w.values);
      break;
    case KvType::q8_0:
      kernels.widen_keys_8(reinterpret_cast<const std::int8_t*>(k), scales(k), depth, w.keys);
      kernels.widen_values_8(reinterpret_cast<const std::int8_t*>(v), scales(v), depth, w.values);
      break;
    case KvType::q4_0:
      kernels.widen_keys_4(reinterpret_cast<const std::uint8_t*>(k), scales(k), depth, w.keys);
      kernels.widen_values_4(reinterpret_cast<const std::uint8_t*>(v), scales(v), depth, w.values);
      break;
  }
  return {w.keys, w.values};
}

// Takes a chunk's result into the running one: both are relative to the largest score that they have seen.
void merge(const KernelTable& kernels, const Workspace& w, std::size_t row, const float* partial, std::size_t depth, bool first) {
  if (first) {
    w.top[row] = w.chunk_top[row];
    w.sum[row] = w.chunk_sum[row];
    return;
  }
  const float top = std::max(w.top[row], w.chunk_top[row]);
  const float old_part = kernels.exponential(w.top[row] - top), new_part = kernels.exponential(w.chunk_top[row] - top);
  w.sum[row] = w.sum[row] * old_part + w.chunk_sum[row] * new_part;
  w.top[row] = top;
  kernels.merge_chunk(w.result + row * depth, partial, depth, old_part, new_part);
}

}  // namespace

void attention(const float* queries, std::size_t tokens, std::size_t heads, std::size_t position, float scale, const KvLayer& cache, float* out,
               Isa isa, ThreadPool& pool, KernelScratch& scratch) {
  const KvLayer::State& s = *cache.state_;
  assert(s.kv_heads != 0 && heads % s.kv_heads == 0 && position <= s.capacity && tokens <= s.capacity - position);
  const KernelTable& kernels = kernel_table(isa);
  const std::size_t head_dim = s.head_dim, depth = s.depth, group = heads / s.kv_heads;
  const std::size_t block_tokens = std::max<std::size_t>(1, kRows / group), block_rows = block_tokens * group;
  const std::size_t blocks = (tokens + block_tokens - 1) / block_tokens;
  const std::size_t worker_floats = (Workspace::floats(block_rows, head_dim, depth) + 15) / 16 * 16;
  float* const base = reinterpret_cast<float*>(scratch.reserve(pool.num_threads() * worker_floats * sizeof(float)));

  const auto attend = [&](std::size_t kv_head, std::size_t first_token, std::size_t count, const Workspace& w) {
    const std::size_t rows = count * group, here = position + first_token;  // row r: token first_token + r / group
    const auto offset = [&](std::size_t r) { return ((first_token + r / group) * heads + kv_head * group + r % group) * head_dim; };
    for (std::size_t r = 0; r < rows; ++r) {
      std::copy_n(queries + offset(r), head_dim, w.queries + r * head_dim);
      if (s.type == KvType::q4_0) hadamard_rotate(w.queries + r * head_dim, head_dim);
    }
    for (std::size_t start = 0; start < here + count; start += kChunk) {
      const std::size_t chunk = start / kChunk;
      const ChunkPanels panels = widen_chunk(kernels, s.type, depth, s.code_bytes, s.keys(kv_head, chunk), s.values(kv_head, chunk), w);
      const std::size_t skip = start > here ? (start - here) * group : 0;  // rows of tokens that stand before this chunk
      kernels.f32_tile(panels.keys, head_dim, kChunk, w.queries + skip * head_dim, head_dim, rows - skip, w.scores, kChunk, 0);
      for (std::size_t r = skip; r < rows; ++r)
        kernels.softmax_chunk(w.scores + (r - skip) * kChunk, std::min(kChunk, here + r / group + 1 - start), scale, &w.chunk_top[r],
                              &w.chunk_sum[r]);
      kernels.f32_tile(panels.values, kChunk, depth, w.scores, kChunk, rows - skip, start == 0 ? w.result : w.partial, depth, 0);
      for (std::size_t r = skip; r < rows; ++r) merge(kernels, w, r, w.partial + (r - skip) * depth, depth, start == 0);
    }
    for (std::size_t r = 0; r < rows; ++r) kernels.divide(w.result + r * depth, head_dim, w.sum[r], out + offset(r));
  };

  pool.parallel_for(s.kv_heads * blocks, 1, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    const Workspace w(base + worker * worker_floats, block_rows, head_dim, depth);
    for (std::size_t task = begin; task < end; ++task) {
      // Late tokens see the most keys: their blocks are handed out first.
      const std::size_t first = (blocks - 1 - task / s.kv_heads) * block_tokens;
      attend(task % s.kv_heads, first, std::min(block_tokens, tokens - first), w);
    }
  });
}

}  // namespace nibble
