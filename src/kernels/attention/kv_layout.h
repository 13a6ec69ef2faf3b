// SPDX-License-Identifier: Apache-2.0
//
// The KV cache of one layer: how keys and values lie in memory, in pages of a few chunks of 64 positions, [kv heads,
// chunks] each (PagedAttention, for one owner). Pages are places of one block of addresses for the whole capacity, of
// which the system gives memory to those that are touched, in huge pages. f32 and f16 keys are stored [depth, 64] (a
// panel whose columns are positions), values [64, depth] (a panel whose columns are dimensions), so that both attention
// products are panel products; those of the quantized types in lines of 64 bytes (coded_chunk.h) for the same reason.
// depth is head_dim rounded up to whole vectors or quantization groups; what lies beyond head_dim is zero.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/coded_chunk.h"
#include "kernels/linear/resident_bytes.h"

namespace nibble {

inline constexpr std::size_t kPageChunks = kKvPage / kKvChunk;

// Sizes. Error(resource): beyond any memory.
struct KvShape {
  KvShape(std::size_t capacity_, std::size_t kv_heads_, std::size_t head_dim_, KvType type_,
          KvValues values = KvValues::own);

  std::size_t capacity, kv_heads, head_dim, depth;
  KvType type;
  bool has_values;                      // else they are the keys
  std::size_t code_bytes, scale_bytes;  // of one chunk of keys, or of values
  std::size_t num_chunks;

  std::size_t chunk_bytes() const { return (has_values ? 2 : 1) * (code_bytes + scale_bytes); }
  std::size_t num_pages() const { return (num_chunks + kPageChunks - 1) / kPageChunks; }
  // The last page ends with the capacity.
  std::size_t chunks_of(std::size_t page) const { return std::min(kPageChunks, num_chunks - page * kPageChunks); }
  std::size_t page_bytes(std::size_t page) const { return chunks_of(page) * kv_heads * chunk_bytes(); }
  std::size_t whole_page_bytes() const { return kPageChunks * kv_heads * chunk_bytes(); }
};

// The orthonormal Hadamard transform of each run of 2^n elements of x, where 2^n is the largest power of two that
// divides size. Spreads outliers over the run; applied to keys and queries alike it leaves their products as they are.
void hadamard_rotate(float* x, std::size_t size);

// What a head's numbers are turned by before they are rounded: that transform, in the rotated types behind signs that
// follow from the head dimension, without which what values have in common would add up in a run's first. Types of
// floats are not to be turned.
class HeadRotation {
 public:
  HeadRotation(std::size_t head_dim, KvType type);
  void turn(float* x) const;
  void turn_back(float* x) const;

 private:
  void change_signs(float* x) const;

  std::size_t head_dim_;
  std::vector<float> signs_;  // [head_dim], 1 and -1; empty: ones
};

struct KvLayer::State : KvShape {
  explicit State(const KvShape& shape);

  HeadRotation rotation;
  ResidentBytes bytes;              // [places, whole_page_bytes]
  std::vector<std::size_t> places;  // by position / kKvPage; those of first_page .. end_page - 1 are there
  std::size_t first_page = 0, end_page = 0;
  std::vector<std::size_t> spare;     // places of pages that were given up, for the next that are needed
  std::vector<std::size_t> occupied;  // bytes, by place: of the largest page that it has held

  // Keys, and the queries that meet them, are rotated where they are rounded: a few dimensions of keys are far larger
  // than the others of their group. What is gathered is turned back where values were, or where it is of keys.
  bool rotates() const { return kv_code_bits(type) != 0; }
  bool gathers_turned() const { return has_values ? turns_values(type) : rotates(); }

  // One chunk of a head: codes, then (quantized types) scales.
  std::byte* keys(std::size_t head, std::size_t chunk) const {
    const std::size_t page = chunk / kPageChunks;
    return bytes.data() + places[page] * whole_page_bytes() +
           (head * chunks_of(page) + chunk % kPageChunks) * chunk_bytes();
  }
  const std::byte* values_behind(const std::byte* keys) const { return keys + code_bytes + scale_bytes; }
  std::byte* values(std::size_t head, std::size_t chunk) const { return keys(head, chunk) + code_bytes + scale_bytes; }

  void store_key(std::size_t head, std::size_t position, const float* x) const;
  void store_value(std::size_t head, std::size_t position, const float* x) const;

 private:
  void store_codes(const float* x, std::size_t position, bool of_keys, std::byte* chunk) const;
};

// A chunk of keys as values, where they are one: of floats [depth, 64] as [64, depth], of codes their lines.
void keys_as_values(const float* keys, std::size_t depth, float* values);
void keys_as_values(const std::uint8_t* keys, std::size_t depth, KvType type, std::uint8_t* values);

}  // namespace nibble
