// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "base/round_up.h"
#include "kernels/attention/kv_layout.h"
#include "kernels/attention/kv_rounding.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::size_t checked_capacity(std::size_t capacity) {
  constexpr std::size_t kMost = std::size_t{1} << 31;
  if (capacity > kMost)
    throw Error(ErrorKind::invalid_argument,
                "context too long for a key/value cache; positions: " + std::to_string(capacity));
  return capacity;
}

// A group of 32 numbers as signed codes up to `limit` with one f16 scale.
struct Group {
  std::uint16_t scale = 0;
  std::int8_t codes[kKvGroup] = {};
};

Group quantize_group(const float* x, std::size_t count, KvType type) {
  // 8 bits: codes -127..127. 4 bits: -8..7, and the extreme is given the code -8, as in q4_0.
  const int bits = kv_code_bits(type), lowest = bits == 8 ? -127 : -8, highest = bits == 8 ? 127 : 7;
  Group g;
  float extreme = 0;  // the number of largest magnitude, with its sign
  for (std::size_t i = 0; i < count; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  const float scale = bits == 4 ? extreme / -8.0f : std::fabs(extreme) / static_cast<float>(highest);
  g.scale = f32_to_f16(scale);
  const float stored = f16_to_f32(g.scale), inverse = stored != 0 ? 1.0f / stored : 0.0f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, ties to even
  for (std::size_t i = 0; i < count; ++i) {
    const float q = std::clamp(x[i] * inverse, static_cast<float>(lowest), static_cast<float>(highest));
    g.codes[i] = static_cast<std::int8_t>((q + kRound) - kRound);
  }
  return g;
}

}  // namespace

std::string_view kv_type_name(KvType type) { return kKvTypeNames[static_cast<std::size_t>(type)]; }
std::optional<KvType> parse_kv_type(std::string_view name) {
  const auto* const found = std::ranges::find(kKvTypeNames, name);
  if (found == kKvTypeNames.end()) return std::nullopt;
  return static_cast<KvType>(found - kKvTypeNames.begin());
}

void require_rotation(std::size_t head_dim, KvType type) {
  if (turns_values(type) && head_dim % 4 != 0)
    throw Error(ErrorKind::unsupported,
                "keys and values cannot be rotated where a head's dimensions are no multiple of 4; choose " +
                    std::string(kv_code_bits(type) == 8 ? "q8_0" : "q4_0") +
                    "; dimensions: " + std::to_string(head_dim));
}

// Of two runs that lie apart: the sums in place of the first, the differences in place of the second.
static void add_and_subtract(float* __restrict low, float* __restrict high, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const float a = low[i], b = high[i];
    low[i] = a + b;
    high[i] = a - b;
  }
}

// The first two steps in one, for runs that are too short to be taken in vectors.
static void add_and_subtract_within_quads(float* x, std::size_t count) {
  for (float* quad = x; quad != x + count; quad += 4) {
    const float a = quad[0] + quad[1], b = quad[0] - quad[1], c = quad[2] + quad[3], d = quad[2] - quad[3];
    quad[0] = a + c;
    quad[1] = b + d;
    quad[2] = a - c;
    quad[3] = b - d;
  }
}

void hadamard_rotate(float* x, std::size_t size) {
  const std::size_t run = size & (~size + 1);
  const float norm = 1.0f / std::sqrt(static_cast<float>(run));
  for (float* first = x; first != x + size; first += run) {
    if (run >= 4) add_and_subtract_within_quads(first, run);
    for (std::size_t half = run >= 4 ? 4 : 1; half < run; half *= 2)
      for (float* low = first; low != first + run; low += 2 * half) add_and_subtract(low, low + half, half);
    for (std::size_t i = 0; i < run; ++i) first[i] *= norm;
  }
}

HeadRotation::HeadRotation(std::size_t head_dim, KvType type) : head_dim_(head_dim) {
  if (!turns_values(type)) return;
  Random random(head_dim);
  for (std::size_t i = 0; i < head_dim; ++i) signs_.push_back(random.below(2) != 0 ? -1.0f : 1.0f);
}

void HeadRotation::change_signs(float* x) const {
  for (std::size_t i = 0; i < signs_.size(); ++i) x[i] *= signs_[i];
}

void HeadRotation::turn(float* x) const {
  change_signs(x);
  hadamard_rotate(x, head_dim_);
}

void HeadRotation::turn_back(float* x) const {
  hadamard_rotate(x, head_dim_);  // its own inverse
  change_signs(x);
}

void round_as_cached(std::span<float> numbers, std::size_t head_dim, KvType type, CachedNumbers which,
                     ThreadPool& pool) {
  if (type == KvType::f32) return;
  const bool is_coded = kv_code_bits(type) != 0, turns = which == CachedNumbers::keys ? is_coded : turns_values(type);
  const HeadRotation rotation(head_dim, type);
  pool.parallel_for(numbers.size() / head_dim, 64, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t head = begin; head < end; ++head) {
      float* const x = &numbers[head * head_dim];
      if (turns) rotation.turn(x);
      for (std::size_t d = 0; d < head_dim && type == KvType::f16; ++d) x[d] = f16_to_f32(f32_to_f16(x[d]));
      for (std::size_t d = 0; d < head_dim && is_coded; d += kKvGroup) {
        const std::size_t n = std::min(kKvGroup, head_dim - d);
        const Group g = quantize_group(x + d, n, type);
        for (std::size_t i = 0; i < n; ++i) x[d + i] = f16_to_f32(g.scale) * static_cast<float>(g.codes[i]);
      }
      if (turns) rotation.turn_back(x);
    }
  });
}

KvShape::KvShape(std::size_t capacity_, std::size_t kv_heads_, std::size_t head_dim_, KvType type_, KvValues values)
    : capacity(checked_capacity(capacity_)),
      kv_heads(kv_heads_),
      head_dim(head_dim_),
      depth(round_up(head_dim_, kv_code_bits(type_) != 0 ? kKvGroup : 16)),
      type(type_),
      has_values(values == KvValues::own) {
  const std::size_t elements = kKvChunk * depth;
  const std::size_t bits = type == KvType::f32   ? 32
                           : type == KvType::f16 ? 16
                                                 : static_cast<std::size_t>(kv_code_bits(type));
  code_bytes = elements * bits / 8;
  scale_bytes = kv_code_bits(type) != 0 ? elements / kKvGroup * 2 : 0;
  num_chunks = round_up(capacity, kKvChunk) / kKvChunk;
  if (chunk_bytes() != 0 && kv_heads != 0 && num_chunks > (std::size_t{1} << 46) / chunk_bytes() / kv_heads)
    throw Error(ErrorKind::resource, "key/value cache beyond any memory; positions: " + std::to_string(capacity));
}

KvLayer::State::State(const KvShape& shape)
    : KvShape(shape), rotation(head_dim, type), bytes(num_pages() * whole_page_bytes()), places(num_pages()) {
  spare.reserve(num_pages());
  occupied.reserve(num_pages());
}

// Where dimension d of position j has its byte; with 4 bits it shares it with dimension d + 4 of keys, d + 16 of
// values.
static std::size_t key_byte(std::size_t d, std::size_t j, int bits) {
  const std::size_t quad = d / 4;
  return (bits == 4 ? quad / 2 : quad) * 4 * kKvChunk + j * 4 + d % 4;
}
static std::size_t value_byte(std::size_t d, std::size_t j, std::size_t depth, int bits) {
  const std::size_t line = d / 16, at = bits == 4 ? line / 2 : line;
  return j / 4 * (depth * (bits == 4 ? 2 : 4)) + at * 64 + d % 16 * 4 + j % 4;
}

void keys_as_values(const float* keys, std::size_t depth, float* values) {
  constexpr std::size_t kBlock = 16;
  for (std::size_t first = 0; first < depth; first += kBlock)
    for (std::size_t j = 0; j < kKvChunk; ++j)
      for (std::size_t d = first; d < std::min(depth, first + kBlock); ++d)
        values[j * depth + d] = keys[d * kKvChunk + j];
}

void keys_as_values(const std::uint8_t* keys, std::size_t depth, KvType type, std::uint8_t* values) {
  if (kv_code_bits(type) == 4) {
    for (std::size_t d = 0; d < depth; ++d)
      for (std::size_t j = 0; j < kKvChunk; ++j) {
        const std::uint8_t both = keys[key_byte(d, j, 4)];
        const unsigned code = d / 4 % 2 == 0 ? both & 15U : both >> 4;
        std::uint8_t& place = values[value_byte(d, j, depth, 4)];
        place = static_cast<std::uint8_t>(d / 16 % 2 == 0 ? code : place | code << 4);
      }
    return;
  }
  // Four dimensions of four positions lie side by side in both, and change places.
  for (std::size_t quad = 0; quad < depth / 4; ++quad)
    for (std::size_t j = 0; j < kKvChunk; j += 4) {
      const std::uint8_t* const from = keys + key_byte(4 * quad, j, 8);
      std::uint8_t* const to = values + value_byte(4 * quad, j, depth, 8);
      for (std::size_t d = 0; d < 4; ++d)
        for (std::size_t i = 0; i < 4; ++i) to[d * 4 + i] = from[i * 4 + d] ^ 0x80;  // keys are offset by 128
    }
}

void KvLayer::State::store_codes(const float* x, std::size_t position, bool of_keys, std::byte* chunk) const {
  const std::size_t j = position % kKvChunk;
  std::uint16_t* const scales = reinterpret_cast<std::uint16_t*>(chunk + code_bytes);
  for (std::size_t d = 0; d < head_dim; d += kKvGroup) {
    const std::size_t n = std::min(kKvGroup, head_dim - d);
    const Group g = quantize_group(x + d, n, type);
    scales[d / kKvGroup * kKvChunk + j] = g.scale;
    const int bits = kv_code_bits(type);
    const std::size_t apart = of_keys ? 4 : 16;
    for (std::size_t i = 0; i < kKvGroup; ++i) {
      if (bits == 4 && i / apart % 2 == 1) continue;
      const int code = bits == 8 ? g.codes[i] + (of_keys ? 128 : 0) : (g.codes[i] + 8) | (g.codes[i + apart] + 8) << 4;
      chunk[of_keys ? key_byte(d + i, j, bits) : value_byte(d + i, j, depth, bits)] = static_cast<std::byte>(code);
    }
  }
}

void KvLayer::State::store_key(std::size_t head, std::size_t position, const float* x) const {
  const std::size_t j = position % kKvChunk;
  std::byte* const chunk = keys(head, position / kKvChunk);
  if (type == KvType::f32) {
    float* const out = reinterpret_cast<float*>(chunk);
    for (std::size_t d = 0; d < head_dim; ++d) out[d * kKvChunk + j] = x[d];
  } else if (type == KvType::f16) {
    std::uint16_t* const out = reinterpret_cast<std::uint16_t*>(chunk);
    for (std::size_t d = 0; d < head_dim; ++d) out[d * kKvChunk + j] = f32_to_f16(x[d]);
  } else {
    store_codes(x, position, true, chunk);
  }
}

void KvLayer::State::store_value(std::size_t head, std::size_t position, const float* x) const {
  const std::size_t j = position % kKvChunk;
  std::byte* const chunk = values(head, position / kKvChunk);
  if (type == KvType::f32) {
    std::memcpy(chunk + j * depth * 4, x, head_dim * 4);
  } else if (type == KvType::f16) {
    std::uint16_t* const out = reinterpret_cast<std::uint16_t*>(chunk) + j * depth;
    for (std::size_t d = 0; d < head_dim; ++d) out[d] = f32_to_f16(x[d]);
  } else {
    store_codes(x, position, false, chunk);
  }
}

KvLayer::KvLayer(std::size_t capacity, std::size_t kv_heads, std::size_t head_dim, KvType type, KvValues values)
    : state_(std::make_unique<State>(KvShape(capacity, kv_heads, head_dim, type, values))) {}
KvLayer::KvLayer(KvLayer&&) noexcept = default;
KvLayer& KvLayer::operator=(KvLayer&&) noexcept = default;
KvLayer::~KvLayer() = default;

std::uint64_t KvLayer::bytes_of(std::size_t positions, std::size_t kv_heads, std::size_t head_dim, KvType type,
                                KvValues values) {
  const KvShape shape(positions, kv_heads, head_dim, type, values);
  return static_cast<std::uint64_t>(shape.num_chunks) * kv_heads * shape.chunk_bytes();
}

std::uint64_t KvLayer::resident_bytes() const noexcept {
  return std::accumulate(state_->occupied.begin(), state_->occupied.end(), std::uint64_t{0});
}

std::size_t KvLayer::first_position() const noexcept {
  return state_->first_page == state_->end_page ? 0 : state_->first_page * kKvPage;
}

void KvLayer::keep(std::size_t begin, std::size_t end) noexcept {
  State& s = *state_;
  const auto give_up = [&s](std::size_t page) { s.spare.push_back(s.places[page]); };
  while (s.first_page < s.end_page && (s.first_page + 1) * kKvPage <= begin) give_up(s.first_page++);
  while (s.first_page < s.end_page && (s.end_page - 1) * kKvPage >= end) give_up(--s.end_page);
}

void KvLayer::make_room(std::size_t begin, std::size_t end) {
  State& s = *state_;
  assert(begin <= end && end <= s.capacity);
  if (s.first_page == s.end_page) s.first_page = s.end_page = begin / kKvPage;
  assert(s.first_page <= begin / kKvPage && begin / kKvPage <= s.end_page);
  for (; s.end_page * kKvPage < end; ++s.end_page) {
    if (s.spare.empty()) {
      s.spare.push_back(s.occupied.size());
      s.occupied.push_back(0);
    }
    const std::size_t place = s.places[s.end_page] = s.spare.back();
    s.spare.pop_back();
    s.occupied[place] = std::max(s.occupied[place], s.page_bytes(s.end_page));
  }
}

void store_keys_values(std::span<const AttentionPiece> pieces, ThreadPool& pool) {
  if (pieces.empty()) return;
  for (const AttentionPiece& piece : pieces) piece.cache->make_room(piece.position, piece.position + piece.tokens);
  const std::size_t kv_heads = pieces[0].cache->state().kv_heads;
  const auto store_head = [](const AttentionPiece& piece, std::size_t head) {
    const KvLayer::State& s = piece.cache->state();
    assert(piece.position <= s.capacity && piece.tokens <= s.capacity - piece.position);
    std::vector<float> turned(s.rotates() ? s.head_dim : 0);
    const auto as_stored = [&](const float* x, bool turns) -> const float* {
      if (!turns) return x;
      std::copy_n(x, s.head_dim, turned.data());
      s.rotation.turn(turned.data());
      return turned.data();
    };
    for (std::size_t t = 0; t < piece.tokens; ++t) {
      const std::size_t at = (t * s.kv_heads + head) * s.head_dim;
      s.store_key(head, piece.position + t, as_stored(piece.keys + at, s.rotates()));
      if (s.has_values) s.store_value(head, piece.position + t, as_stored(piece.values + at, turns_values(s.type)));
    }
  };
  std::size_t tokens = 0;
  for (const AttentionPiece& piece : pieces) tokens += piece.tokens;
  const std::size_t tasks = pieces.size() * kv_heads;
  pool.parallel_for(tasks, tokens <= 4 ? tasks : 1,
                    [&](std::size_t begin, std::size_t end, std::size_t) {  // 4: too little to wake anybody
                      for (std::size_t task = begin; task < end; ++task)
                        store_head(pieces[task / kv_heads], task % kv_heads);
                    });
}

}  // namespace nibble
