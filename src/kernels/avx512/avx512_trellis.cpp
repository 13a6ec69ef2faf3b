// SPDX-License-Identifier: Apache-2.0
//
// Trellises where the processor has AVX512_VBMI and GFNI. The states of 16 rows at once: one instruction brings the
// bits of every 8 symbols into a lane of 64, another takes windows out of the lanes. With a table two instructions look
// 64 states up; else a vector holds two columns' states, of whose products bytes are multiplied with the columns'
// activations.
#include <immintrin.h>

#include "format/trellis/state_values.h"
#include "kernels/avx512/integers.h"
#include "kernels/linear/trellis_kernels.h"

namespace nibble::avx512 {
namespace {

constexpr std::size_t kVectors = 4;  // of 16 rows, 64 symbols
template <unsigned K>
constexpr std::size_t kTileBytes = kTrellisTile / 8 * K;

[[gnu::always_inline]] inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }

struct alignas(64) ByteVector {
  std::uint8_t bytes[64] = {};
};

// Where the bytes of every 8 symbols come from. Of short tiles all vectors come from the whole tile, 64 bytes round the
// ring; of others from the 64 bytes that begin with their own, and those behind the end from a second source, the
// tile's beginning.
template <unsigned K>
struct ByteOrders {
  ByteVector of[kVectors];
  constexpr ByteOrders() {
    for (unsigned v = 0; v < kVectors; ++v)
      for (unsigned lane = 0; lane < 8; ++lane)
        for (unsigned i = 0; i < 8; ++i) {
          const unsigned byte = K * lane + i;
          const bool is_past_end = K > 2 && v + 1 == kVectors && byte >= 8 * K;
          of[v].bytes[8 * lane + i] = static_cast<std::uint8_t>(K <= 2        ? (8 * K * v + byte) % 64
                                                                : is_past_end ? 64 + byte - 8 * K
                                                                              : byte);
        }
  }
};

// First bits of the bytes of a lane whose 8 symbols begin at bit `from`: each symbol has one; or, of columns `first`
// and first + 2 of its two rows, each two.
template <unsigned K>
constexpr ByteVector symbol_bits(unsigned from) {
  ByteVector bits;
  for (unsigned i = 0; i < 64; ++i) bits.bytes[i] = static_cast<std::uint8_t>(from + i % 8 * K);
  return bits;
}
template <unsigned K>
constexpr ByteVector column_bits(unsigned from, unsigned first) {
  ByteVector bits;
  for (unsigned i = 0; i < 64; ++i) {
    const unsigned row = i / 4 % 2, column = first + i / 2 % 2 * 2;
    bits.bytes[i] = static_cast<std::uint8_t>((from + (4 * row + column) * K + i % 2 * 8) % 64);
  }
  return bits;
}

// The bits of a tile, 8 symbols to a lane of 64, in order.
template <unsigned K>
struct OrderedTiles {
  static constexpr unsigned kStarts[kVectors] = {};  // bits of the lanes at which the symbols begin
  static constexpr ByteOrders<K> kOrders{};
  __m512i orders[kVectors];

  OrderedTiles() {
    for (std::size_t v = 0; v < kVectors; ++v) orders[v] = _mm512_load_si512(kOrders.of[v].bytes);
  }
  // What the rows of vector v have, of 64 rows.
  [[gnu::always_inline]] static __m512 load_rows(const float* x, std::size_t v) { return _mm512_loadu_ps(x + 16 * v); }
  [[gnu::always_inline]] static void store_rows(float* x, std::size_t v, __m512 rows) {
    _mm512_storeu_ps(x + 16 * v, rows);
  }

  [[gnu::always_inline]] void lanes(const std::uint8_t* tile, __m512i (&out)[kVectors]) const {
    if constexpr (K <= 2) {
      const __m512i ring =
          K == 1 ? _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile))) : load(tile);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) out[v] = _mm512_permutexvar_epi8(orders[v], ring);
    } else {
#pragma GCC unroll 4
      for (std::size_t v = 0; v + 1 < kVectors; ++v)
        out[v] = _mm512_permutexvar_epi8(orders[0], load(tile + 8 * K * v));
      out[3] = _mm512_permutex2var_epi8(load(tile + 8 * K * 3), orders[3], load(tile));
    }
  }
};

// The same in the order that takes least: lanes as they lie in memory, moved on by two bytes where a window would not
// end within its lane. More bits are bound by memory, and take whatever order there is.
template <unsigned K>
struct QuickTiles : OrderedTiles<K> {};

template <>
struct QuickTiles<2> {
  static constexpr unsigned kStarts[kVectors] = {0, 16, 32, 32};
  static constexpr ByteVector kTurn = [] {
    ByteVector turn;
    for (unsigned i = 0; i < 64; ++i) turn.bytes[i] = static_cast<std::uint8_t>((i + 2) % 64);
    return turn;
  }();
  __m512i turn = _mm512_load_si512(kTurn.bytes);

  // A lane has 8 rows, two of each vector.
  [[gnu::always_inline]] static __m512i numbers(std::size_t v) {
    const __m512i first = _mm512_setr_epi32(0, 1, 8, 9, 16, 17, 24, 25, 32, 33, 40, 41, 48, 49, 56, 57);
    return _mm512_add_epi32(first, _mm512_set1_epi32(static_cast<int>(2 * v)));
  }
  [[gnu::always_inline]] static __m512 load_rows(const float* x, std::size_t v) {
    return _mm512_i32gather_ps(numbers(v), x, sizeof(float));
  }
  [[gnu::always_inline]] static void store_rows(float* x, std::size_t v, __m512 rows) {
    _mm512_i32scatter_ps(x, numbers(v), rows, sizeof(float));
  }

  [[gnu::always_inline]] void lanes(const std::uint8_t* tile, __m512i (&out)[kVectors]) const {
    out[0] = out[1] = out[2] = load(tile);
    out[3] = _mm512_permutexvar_epi8(turn, out[0]);
  }
};

// The first vector whose symbols begin where those of vector v do.
template <class Tiles>
constexpr std::size_t same_start(std::size_t v) {
  std::size_t first = 0;
  while (Tiles::kStarts[first] != Tiles::kStarts[v]) ++first;
  return first;
}

[[gnu::always_inline]] inline void add_dots(__m512i& sums, __m512i operands, __m512i x) {
  sums = dot(Sums{sums}, Bytes{operands}, Quad{x}).v;
}

// Operands from a table of 256.
template <unsigned K, class Tiles>
class TableDecoder {
 public:
  explicit TableDecoder(const TrellisOperands& operands) {
    static constexpr ByteVector kBits[kVectors] = {symbol_bits<K>(Tiles::kStarts[0]), symbol_bits<K>(Tiles::kStarts[1]),
                                                   symbol_bits<K>(Tiles::kStarts[2]),
                                                   symbol_bits<K>(Tiles::kStarts[3])};
    for (std::size_t i = 0; i < 4; ++i) {
      bits_[i] = _mm512_load_si512(kBits[i].bytes);
      table_[i] = load(operands.table + 64 * i);
    }
  }

  // Of vector v.
  [[gnu::always_inline]] __m512i operands(__m512i lanes, std::size_t v) const {
    const __m512i states = _mm512_multishift_epi64_epi8(bits_[same_start<Tiles>(v)], lanes);
    // Which half of the table, in every bit of a byte: sooner there than in a mask register.
    const __m512i is_high = _mm512_gf2p8affine_epi64_epi8(states, _mm512_set1_epi8(static_cast<char>(0x80)), 0);
    return _mm512_ternarylogic_epi32(is_high, _mm512_permutex2var_epi8(table_[2], states, table_[3]),
                                     _mm512_permutex2var_epi8(table_[0], states, table_[1]), 0xca);
  }
  [[gnu::always_inline]] void add_tile(const __m512i (&lanes)[kVectors], const std::int8_t* x,
                                       __m512i (&sums)[kVectors]) const {
    const __m512i quad = Quad::load(x).v;
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) add_dots(sums[v], operands(lanes[v], v), quad);
  }

 private:
  __m512i bits_[kVectors], table_[4];
};

// Operands as sums of the four bytes of a product. Two columns that are not neighbours make a vector of 16-bit states.
template <unsigned K, class Tiles, unsigned L>
class HashDecoder {
 public:
  explicit HashDecoder(const TrellisOperands&) {
    static constexpr ByteVector kBits[2][kVectors] = {
        {column_bits<K>(Tiles::kStarts[0], 0), column_bits<K>(Tiles::kStarts[1], 0),
         column_bits<K>(Tiles::kStarts[2], 0), column_bits<K>(Tiles::kStarts[3], 0)},
        {column_bits<K>(Tiles::kStarts[0], 1), column_bits<K>(Tiles::kStarts[1], 1),
         column_bits<K>(Tiles::kStarts[2], 1), column_bits<K>(Tiles::kStarts[3], 1)}};
    for (std::size_t c = 0; c < 2; ++c)
      for (std::size_t v = 0; v < kVectors; ++v) bits_[c][v] = _mm512_load_si512(kBits[c][v].bytes);
    low_factor_ = _mm512_set1_epi16(static_cast<short>(kStateFactor & 0xffff));
    high_factor_ = _mm512_set1_epi16(static_cast<short>(kStateFactor >> 16));
    mask_ = _mm512_set1_epi32(static_cast<int>(kStateMask));
    state_mask_ = _mm512_set1_epi16(static_cast<short>((1 << L) - 1));
  }

  [[gnu::always_inline]] __m512i operands(__m512i lanes, std::size_t v) const {
    const __m512i ones = _mm512_set1_epi8(1);
    return _mm512_or_si512(_mm512_maddubs_epi16(bytes(lanes, v, 0), ones),
                           _mm512_slli_epi16(_mm512_maddubs_epi16(bytes(lanes, v, 1), ones), 8));
  }
  [[gnu::always_inline]] void add_tile(const __m512i (&lanes)[kVectors], const std::int8_t* x,
                                       __m512i (&sums)[kVectors]) const {
    const __m512i quad = Quad::load(x).v, even = _mm512_shuffle_epi8(quad, _mm512_set1_epi32(0x02020000)),
                  odd = _mm512_shuffle_epi8(quad, _mm512_set1_epi32(0x03030101));
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      add_dots(sums[v], bytes(lanes[v], v, 0), even);
      add_dots(sums[v], bytes(lanes[v], v, 1), odd);
    }
  }

 private:
  // Of columns c and c + 2 of 16 rows: two bytes each, whose sum is the operand.
  [[gnu::always_inline]] __m512i bytes(__m512i lanes, std::size_t v, std::size_t c) const {
    __m512i states = _mm512_multishift_epi64_epi8(bits_[c][same_start<Tiles>(v)], lanes);
    if constexpr (L < 16) states = _mm512_and_si512(states, state_mask_);
    const __m512i low = _mm512_mullo_epi16(states, low_factor_),
                  high = _mm512_add_epi16(_mm512_mulhi_epu16(states, low_factor_),
                                          _mm512_mullo_epi16(states, high_factor_));
    return _mm512_add_epi8(_mm512_and_si512(low, mask_), _mm512_and_si512(high, mask_));
  }

  __m512i bits_[2][kVectors], low_factor_, high_factor_, mask_, state_mask_;
};

// Asks for the lines `distance` bytes ahead, as tiles are read in order.
class LinesAhead {
 public:
  LinesAhead(const std::uint8_t* tiles, std::size_t distance) : next_(tiles + distance), is_asked_(distance != 0) {}
  // Before a tile is read.
  template <unsigned K>
  [[gnu::always_inline]] void ask(std::size_t tile) {
    constexpr std::size_t kStep = K % 2 + 1, kLines = kStep * K / 2;  // tiles that are whole lines
    if (!is_asked_ || tile % kStep != 0) return;
#pragma GCC unroll 5
    for (std::size_t i = 0; i < kLines; ++i) __builtin_prefetch(next_ + tile * 32 * K + i * 64, 0, 2);
  }

 private:
  const std::uint8_t* next_;
  bool is_asked_;
};

template <unsigned K, class Tiles, class Decoder>
[[gnu::always_inline]] inline void add_tiles(const Tiles& source, const Decoder& decoder, const std::uint8_t* tiles,
                                             std::size_t count, const std::int8_t* x, LinesAhead ahead,
                                             __m512i (&sums)[kVectors]) {
  for (std::size_t tile = 0; tile < count; ++tile) {
    ahead.ask<K>(tile);
    __m512i lanes[kVectors];
    source.lanes(tiles + tile * kTileBytes<K>, lanes);
    decoder.add_tile(lanes, x + 4 * tile, sums);
  }
}

// The products of wide codes, for the quads of which `wide` has the bits.
template <unsigned K, class Tiles, class Decoder>
[[gnu::noinline]] void add_wide_tiles(const TrellisOperands& operands, const std::uint8_t* tiles, std::uint64_t wide,
                                      const std::int8_t* x, std::int32_t* sums) {
  const Tiles source;
  const Decoder decoder(operands);
  __m512i more[kVectors] = {};
  for (; wide != 0; wide &= wide - 1) {
    const std::size_t q = static_cast<std::size_t>(__builtin_ctzll(wide));
    __m512i lanes[kVectors];
    source.lanes(tiles + q * kTileBytes<K>, lanes);
    decoder.add_tile(lanes, x + 4 * q, more);
  }
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kVectors; ++v)
    _mm512_storeu_si512(sums + 16 * v, _mm512_add_epi32(load(sums + 16 * v), _mm512_slli_epi32(more[v], kWideShift)));
}

template <unsigned K, class Tiles, class Decoder>
[[gnu::noinline]] void vector_of(const TrellisOperands& operands, const TileVector& p) {
  const Tiles source;
  const Decoder decoder(operands);
  __m512 total[kVectors];
  __m512i sums[kVectors];
  alignas(64) float scales[64];
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kVectors; ++v) {
    _mm512_store_ps(scales + 16 * v, Tiles::load_rows(p.scales, v));
    total[v] = p.accumulate ? Tiles::load_rows(p.y, v) : _mm512_setzero_ps();
  }
  if (p.sums_whole_rows) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) sums[v] = _mm512_set1_epi32(*p.x.biases);
    add_tiles<K>(source, decoder, p.tiles, p.columns / 4, p.x.codes, LinesAhead(p.tiles, p.read_ahead), sums);
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v)
      total[v] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[v]), _mm512_load_ps(scales + 16 * v)),
                                 _mm512_set1_ps(*p.x.scales), total[v]);
  }
  for (std::size_t start = 0; start < p.columns && !p.sums_whole_rows; start += p.run) {
    const std::size_t columns = p.columns - start < p.run ? p.columns - start : p.run;
    const std::size_t block = start / kBlockDepth, run = start % kBlockDepth / p.run;
    const std::uint8_t* const tiles = p.tiles + start / 4 * kTileBytes<K>;
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) sums[v] = _mm512_set1_epi32(p.x.biases[block * kMaxGroups + run]);
    add_tiles<K>(source, decoder, tiles, columns / 4, p.x.codes + start, LinesAhead(tiles, p.read_ahead), sums);
    const std::uint64_t wide =
        p.x.wide_quads[block] >> (start % kBlockDepth / 4) & ((std::uint64_t{1} << (columns / 4)) - 1);
    if (wide != 0) [[unlikely]] {
      alignas(64) std::int32_t stored[64];
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) _mm512_store_si512(stored + 16 * v, sums[v]);
      add_wide_tiles<K, Tiles, Decoder>(operands, tiles, wide, p.x.wide + start, stored);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) sums[v] = _mm512_load_si512(stored + 16 * v);
    }
    const __m512 x_scale = _mm512_set1_ps(p.x.scales[block * p.x.runs + run]);
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v)
      total[v] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[v]), _mm512_load_ps(scales + 16 * v)), x_scale,
                                 total[v]);
  }
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kVectors; ++v) Tiles::store_rows(p.y, v, total[v]);
}

template <unsigned K, class Tiles, class Decoder>
[[gnu::noinline]] void decode_tiles(const TrellisOperands& operands, const std::uint8_t* tiles, std::size_t quads,
                                    std::uint8_t* panel) {
  const Tiles source;
  const Decoder decoder(operands);
  for (std::size_t q = 0; q < quads; ++q, tiles += kTileBytes<K>, panel += kTrellisTile) {
    __m512i lanes[kVectors];
    source.lanes(tiles, lanes);
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) _mm512_storeu_si512(panel + 64 * v, decoder.operands(lanes[v], v));
  }
}

// take.template operator()<code bits, Tiles of these, Decoder of those>()
template <template <unsigned> class Tiles, unsigned K, class Take>
[[gnu::always_inline]] inline void with_states(const TrellisShape& shape, Take&& take) {
  if (shape.state_bits == 8) return take.template operator()<K, Tiles<K>, TableDecoder<K, Tiles<K>>>();
  if (shape.state_bits == 12) return take.template operator()<K, Tiles<K>, HashDecoder<K, Tiles<K>, 12>>();
  take.template operator()<K, Tiles<K>, HashDecoder<K, Tiles<K>, 16>>();
}
template <template <unsigned> class Tiles, class Take>
[[gnu::always_inline]] inline void with_shape(const TrellisShape& shape, Take&& take) {
  switch (shape.code_bits) {
    case 1:
      return with_states<Tiles, 1>(shape, take);
    case 2:
      return with_states<Tiles, 2>(shape, take);
    case 3:
      return with_states<Tiles, 3>(shape, take);
    case 4:
      return with_states<Tiles, 4>(shape, take);
    case 5:
      return with_states<Tiles, 5>(shape, take);
    default:
      return with_states<Tiles, 6>(shape, take);
  }
}

void decode(const TrellisOperands& operands, const std::uint8_t* tiles, std::size_t quads, std::uint8_t* panel) {
  with_shape<OrderedTiles>(operands.shape, [&]<unsigned K, class Tiles, class Decoder>() {
    decode_tiles<K, Tiles, Decoder>(operands, tiles, quads, panel);
  });
}

void vector(const TrellisOperands& operands, const TileVector& product) {
  with_shape<QuickTiles>(operands.shape, [&]<unsigned K, class Tiles, class Decoder>() {
    vector_of<K, Tiles, Decoder>(operands, product);
  });
}

}  // namespace

const TrellisKernels kTrellisKernels = {"avx512_vbmi", decode, vector};

}  // namespace nibble::avx512
