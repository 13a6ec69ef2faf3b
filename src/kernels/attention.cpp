// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include "kernels/kv_layout.h"
#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kRows = 48;  // query rows (tokens x heads of a group) that share the work of widening a chunk; 8 tiles of 6

// Everything a worker needs for one block of rows, cut from the caller's scratch.
struct Workspace {
  float *keys, *values;              // [depth, 64], [64, depth]
  float *queries, *scores, *result;  // [rows, head_dim], [rows, 64], [rows, depth]
  float *top, *sum;                  // [rows]: largest score and sum of exponentials so far

  static std::size_t round16(std::size_t n) { return (n + 15) / 16 * 16; }
  static std::size_t floats(std::size_t rows, std::size_t head_dim, std::size_t depth) {
    return 2 * kChunk * depth + round16(rows * head_dim) + rows * (kChunk + depth) + 2 * round16(rows);
  }
  Workspace(float* base, std::size_t rows, std::size_t head_dim, std::size_t depth) {
    const auto take = [&base](std::size_t n) { return std::exchange(base, base + n); };
    keys = take(kChunk * depth);
    values = take(kChunk * depth);
    queries = take(round16(rows * head_dim));
    scores = take(rows * kChunk);
    result = take(rows * depth);
    top = take(round16(rows));
    sum = take(round16(rows));
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

// What is the same for all pieces of a call.
struct Setting {
  const KernelTable& kernels;
  std::size_t heads, kv_heads, head_dim, depth;
  float scale;
  std::size_t group() const { return heads / kv_heads; }
  std::size_t block_tokens() const { return std::max<std::size_t>(1, kRows / group()); }
  std::size_t blocks(const AttentionPiece& piece) const { return (piece.tokens + block_tokens() - 1) / block_tokens(); }
};

// Tokens first .. first + count of a piece, the heads that share one kv head. Row r: token first + r / group.
void attend(const Setting& a, const AttentionPiece& piece, const KvLayer::State& s, std::size_t kv_head, std::size_t first, std::size_t count,
            const Workspace& w) {
  const std::size_t group = a.group(), rows = count * group, here = piece.position + first;
  const auto offset = [&](std::size_t r) { return ((first + r / group) * a.heads + kv_head * group + r % group) * a.head_dim; };
  for (std::size_t r = 0; r < rows; ++r) {
    std::copy_n(piece.queries + offset(r), a.head_dim, w.queries + r * a.head_dim);
    if (s.type == KvType::q4_0) hadamard_rotate(w.queries + r * a.head_dim, a.head_dim);
  }
  std::fill_n(w.result, rows * a.depth, 0.0f);
  std::fill_n(w.top, rows, std::numeric_limits<float>::lowest());
  std::fill_n(w.sum, rows, 0.0f);
  for (std::size_t start = 0; start < here + count; start += kChunk) {
    const std::size_t chunk = start / kChunk;
    const ChunkPanels panels = widen_chunk(a.kernels, s.type, a.depth, s.code_bytes, s.keys(kv_head, chunk), s.values(kv_head, chunk), w);
    const std::size_t skip = start > here ? (start - here) * group : 0;  // rows of tokens that stand before this chunk
    a.kernels.f32_tile(panels.keys, a.head_dim, kChunk, w.queries + skip * a.head_dim, a.head_dim, rows - skip, w.scores, kChunk, 0);
    for (std::size_t r = skip; r < rows; ++r) {
      const float kept =
          a.kernels.softmax_chunk(w.scores + (r - skip) * kChunk, std::min(kChunk, here + r / group + 1 - start), a.scale, &w.top[r], &w.sum[r]);
      if (kept != 1)
        for (float* x = w.result + r * a.depth; x != w.result + (r + 1) * a.depth; ++x) *x *= kept;
    }
    a.kernels.f32_tile(panels.values, kChunk, a.depth, w.scores, kChunk, rows - skip, w.result + skip * a.depth, a.depth, 1);
  }
  for (std::size_t r = 0; r < rows; ++r) a.kernels.divide(w.result + r * a.depth, a.head_dim, w.sum[r], piece.out + offset(r));
}

}  // namespace

void attention(std::span<const AttentionPiece> pieces, std::size_t heads, float scale, Isa isa, ThreadPool& pool, KernelScratch& scratch) {
  if (pieces.empty()) return;
  const KvLayer::State& shape = pieces[0].cache->state();
  assert(shape.kv_heads != 0 && heads % shape.kv_heads == 0);
  const Setting a{kernel_table(isa), heads, shape.kv_heads, shape.head_dim, shape.depth, scale};
  const std::size_t block_rows = a.block_tokens() * a.group();
  const std::size_t worker_floats = (Workspace::floats(block_rows, a.head_dim, a.depth) + 15) / 16 * 16;
  float* const base = reinterpret_cast<float*>(scratch.reserve(pool.num_threads() * worker_floats * sizeof(float)));

  std::size_t blocks = 0;
  for (const AttentionPiece& piece : pieces) blocks += a.blocks(piece);
  pool.parallel_for(a.kv_heads * blocks, 1, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    const Workspace w(base + worker * worker_floats, block_rows, a.head_dim, a.depth);
    for (std::size_t task = begin; task < end; ++task) {
      std::size_t block = task / a.kv_heads;
      const AttentionPiece* piece = pieces.data();
      for (; block >= a.blocks(*piece); ++piece) block -= a.blocks(*piece);
      // Late tokens see the most keys: their blocks are handed out first.
      const std::size_t first = (a.blocks(*piece) - 1 - block) * a.block_tokens();
      attend(a, *piece, piece->cache->state(), task % a.kv_heads, first, std::min(a.block_tokens(), piece->tokens - first), w);
    }
  });
}

}  // namespace nibble
