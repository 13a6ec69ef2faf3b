// SPDX-License-Identifier: Apache-2.0
//
// Causal grouped-query attention over key/value (KV) caches, as flash attention does it. Online softmax, in powers of
// two, over fixed chunks of 64 positions in order within spans of 1024, and over spans in order, so that results are
// the same bits for any number of threads and any cut of the query batch. f32 and f16 caches are multiplied in f32,
// each sum one chain of fused multiply-adds; quantized ones in integers (coded_chunk.h), keys and queries rotated by a
// Hadamard transform before they are rounded, which spreads a few large dimensions over all. The rotated types turn
// values alike, and what was gathered of them back (QuaRot, Ashkboos et al. 2024, arXiv:2404.00456, section 4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/thread_pool.h"
#include "kernels/machine.h"

namespace nibble {

enum class KvType { f32, f16, q8_0, q4_0, q8_0_rotated, q4_0_rotated };
inline constexpr std::array<std::string_view, 6> kKvTypeNames = {"f32",  "f16",          "q8_0",
                                                                 "q4_0", "q8_0:rotated", "q4_0:rotated"};
std::string_view kv_type_name(KvType type);
std::optional<KvType> parse_kv_type(std::string_view name);

// Bits of a code; 0 where floats are kept.
constexpr int kv_code_bits(KvType type) {
  if (type == KvType::f32 || type == KvType::f16) return 0;
  return type == KvType::q8_0 || type == KvType::q8_0_rotated ? 8 : 4;
}
// Whether values are turned before they are rounded, as keys are in all types of codes.
constexpr bool turns_values(KvType type) { return type == KvType::q8_0_rotated || type == KvType::q4_0_rotated; }
// Error(unsupported) names a head dimension that is not a multiple of 4 where values are turned: too few dimensions
// would share what is large.
void require_rotation(std::size_t head_dim, KvType type);

// are_keys: what a query gathers is of the keys themselves, which are kept once (latent vectors).
enum class KvValues { own, are_keys };

class KvLayer;

// Tokens of one sequence that go through one layer: positions position .. position + tokens - 1, which must fit the
// cache.
struct AttentionPiece {
  KvLayer* cache;
  std::size_t position, tokens;
  const float *queries, *keys, *values;  // [tokens, heads, head_dim] and twice [tokens, kv_heads, head_dim]; values are
                                         // not read where they are keys
  float* out;                            // [tokens, heads, head_dim]
};

// Keys and values of one layer and one sequence: positions 0 .. capacity - 1, in pages of kKvPage positions behind a
// table. A page is there from when something is first stored in it until `keep` gives it up. One thread at a time.
inline constexpr std::size_t kKvPage = 256;
class KvLayer {
 public:
  KvLayer(std::size_t capacity, std::size_t kv_heads, std::size_t head_dim, KvType type,
          KvValues values = KvValues::own);
  KvLayer(KvLayer&&) noexcept;
  KvLayer& operator=(KvLayer&&) noexcept;
  ~KvLayer();
  // What so many positions take.
  static std::uint64_t bytes_of(std::size_t positions, std::size_t kv_heads, std::size_t head_dim, KvType type,
                                KvValues values = KvValues::own);
  std::uint64_t resident_bytes() const noexcept;  // of the pages that are there, and of those that wait for use

  std::size_t first_position() const noexcept;  // from which on positions are there; 0 where none is
  // What lies outside begin .. end - 1 is not asked for again before it is stored again. Pages of which that is all
  // serve the next positions that need one.
  void keep(std::size_t begin, std::size_t end) noexcept;
  // Brings the pages of positions begin .. end - 1, which follow on what is there.
  void make_room(std::size_t begin, std::size_t end);

  struct State;  // kv_layout.h: of this room's files only
  const State& state() const noexcept { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// Puts each piece's keys and values into its cache, which gets the pages that they need. Pieces are of different
// sequences; their caches have one shape and type.
void store_keys_values(std::span<const AttentionPiece> pieces, ThreadPool& pool);

// How queries meet keys. heads is a multiple of the cache's kv_heads; head h reads kv head h / (heads / kv_heads). A
// score is the product of query and key times scale, and with a soft cap c (Gemma 2) c * tanh(score / c). With a window
// a query sees only that many positions, its own the last.
struct AttentionRule {
  std::size_t heads = 1;
  float scale = 1;         // usually 1 / sqrt(head_dim)
  std::size_t window = 0;  // 0: all positions
  float soft_cap = 0;      // 0: none
  // [heads], or null: a score of each head whose value is zero, neither scaled nor bounded (gpt-oss).
  const float* sinks = nullptr;
};

// Fills each piece's out, which may lie where its queries do: query t stands at position + t and sees keys 0 ..
// position + t of its cache (with a window the last ones of these), its own stored before. What a piece gets does not
// depend on the others.
void attention(std::span<const AttentionPiece> pieces, const AttentionRule& rule, Machine& machine);

}  // namespace nibble
