// SPDX-License-Identifier: Apache-2.0
//
// The block formats' row loops for whichever instruction set this is compiled for. Every type that a template of
// format/ is instantiated with is local to the including file, and whatever else is called is always inlined: nothing
// compiled here can be picked for another set.
#pragma once

#include <cstring>

#include "format/block/iq1_m.h"
#include "format/block/iq1_s.h"
#include "format/block/iq2_s.h"
#include "format/block/iq2_xs.h"
#include "format/block/iq2_xxs.h"
#include "format/block/iq3_s.h"
#include "format/block/iq3_xxs.h"
#include "format/block/iq4_xs.h"
#include "format/block/q2_k.h"
#include "format/block/q3_k.h"
#include "format/block/q4_k.h"
#include "format/block/q5_k.h"
#include "format/block/q6_k.h"
#include "kernels/encode/encoder_list.h"
#include "kernels/lanes/legacy_twins.h"

namespace nibble {
namespace {

// --- K types: the grid by the reference's search, then codes as bytes ------------------------------------------------

// round_of(s) gives what turns values of sub-block s into codes.
template <std::size_t kSubLength, class RoundOf>
[[gnu::always_inline]] inline void find_sub_block_codes(const float* x, std::uint8_t* codes, RoundOf round_of) {
  for (std::size_t s = 0; s < kSuperBlock / kSubLength; ++s) {
    const auto round = round_of(s);
    for (std::size_t i = s * kSubLength; i < (s + 1) * kSubLength; i += kLanes) {
      Lanes lanes;
      for (std::size_t v = 0; v < kVectors; ++v) lanes[v] = round(load(x + i + v * kWidth));
      store_bytes(codes + i, lanes);
    }
  }
}

template <class Local>
struct AffineTwin {
  using Rules = AffineKBlock<typename Local::Shape>;
  using Grid = typename Rules::Grid;

  static void find_codes(const Grid& grid, const float* x, std::uint8_t* codes) {
    find_sub_block_codes<Rules::kSubLength>(x, codes, [&](std::size_t s) __attribute__((always_inline)) {
      return [offset = splat(grid.offset[s]), inverse = splat(grid.inverse[s])](Vector value)
                 __attribute__((always_inline)) {
                   return round_lanes(clamp((value + offset) * inverse, 0, Local::Shape::kMaxCode));
                 };
    });
  }
};

template <class Local>
struct SymmetricTwin {
  using Rules = SymmetricKBlock<typename Local::Shape>;
  using Grid = typename Rules::Grid;

  static void find_codes(const Grid& grid, const float* x, std::uint8_t* codes) {
    find_sub_block_codes<Rules::kSubLength>(x, codes, [&](std::size_t s) __attribute__((always_inline)) {
      return [inverse = splat(grid.inverse[s])](Vector value) __attribute__((always_inline)) {
        return Local::Shape::nearest_points(value * inverse) - static_cast<float>(Local::Shape::kLow);
      };
    });
  }
};

// Codes of a table count the boundaries below them.
template <class Local>
struct TableTwin {
  using Rules = SymmetricKBlock<typename Local::Shape>;
  using Grid = typename Rules::Grid;

  static void find_codes(const Grid& grid, const float* x, std::uint8_t* codes) {
    find_sub_block_codes<Rules::kSubLength>(x, codes, [&](std::size_t s) __attribute__((always_inline)) {
      return [inverse = splat(grid.inverse[s])](Vector value) __attribute__((always_inline)) {
        Vector code{};
        for (std::size_t k = 0; k < 15; ++k)
          code = value * inverse > Local::Shape::boundary(k) ? splat(static_cast<float>(k + 1)) : code;
        return code;
      };
    });
  }
};

template <template <class> class Twin, class Local>
struct SuperBlockTwin {
  using Codes = Twin<Local>;
  using Block = typename Local::Type::Block;

  static void encode(const float* x, const float* importance, const FitOptions& options, std::size_t count,
                     std::byte* blocks) {
    for (std::size_t b = 0; b < count; ++b, x += kSuperBlock, blocks += sizeof(Block)) {
      typename Codes::Grid grid;
      Codes::Rules::fit(x, importance != nullptr ? importance + b * kSuperBlock : nullptr, options, grid);
      alignas(64) std::uint8_t codes[kSuperBlock];
      Codes::find_codes(grid, x, codes);
      Block block;
      Local::Type::pack(grid, codes, block);
      std::memcpy(blocks, &block, sizeof(Block));
    }
  }

  static void fit(const float* x, const float* importance, const FitOptions& options, std::byte* grid) {
    typename Codes::Grid fitted;
    Codes::Rules::fit(x, importance, options, fitted);
    std::memcpy(grid, &fitted, sizeof(fitted));
  }

  static constexpr BlockTwin kEntry{
      .name = Local::Type::kInfo.name, .columns = kSuperBlock, .encode = encode, .fit = fit};
};

struct LocalQ2_K {
  using Type = Q2_K;
  struct Shape : Q2_KShape {};
};
struct LocalQ3_K {
  using Type = Q3_K;
  struct Shape : Q3_KShape {};
};
struct LocalQ4_K {
  using Type = Q4_K;
  struct Shape : Q4_KShape {};
};
struct LocalQ5_K {
  using Type = Q5_K;
  struct Shape : Q5_KShape {};
};
struct LocalQ6_K {
  using Type = Q6_K;
  struct Shape : Q6_KShape {};
};
struct LocalIQ4_XS {
  using Type = IQ4_XS;
  struct Shape : IQ4_XSShape {};
};

// --- IQ types: the reference's search over vectors of this width -----------------------------------------------------

template <class Local>
struct VectorTwin {
  using Rules = VectorBlock<typename Local::Shape>;
  using Grid = typename Rules::Grid;
  using Block = typename Local::Type::Block;

  static void encode(const float* x, const float* importance, const FitOptions& options, std::size_t count,
                     std::byte* blocks) {
    for (std::size_t b = 0; b < count; ++b, x += kSuperBlock, blocks += sizeof(Block)) {
      Grid grid;
      Code codes[kSuperBlock / Local::Shape::kUnit];
      Rules::encode_units(x, importance != nullptr ? importance + b * kSuperBlock : nullptr, options, grid, codes);
      Block block;
      Local::Type::pack(grid, codes, block);
      std::memcpy(blocks, &block, sizeof(Block));
    }
  }

  static void fit(const float* x, const float* importance, const FitOptions& options, std::byte* grid) {
    Grid fitted;
    Rules::fit(x, importance, options, fitted);
    std::memcpy(grid, &fitted, sizeof(fitted));
  }

  static constexpr BlockTwin kEntry{
      .name = Local::Type::kInfo.name, .columns = kSuperBlock, .encode = encode, .fit = fit};
};

struct LocalIQ3_S {
  using Type = IQ3_S;
  struct Shape : IQ3_SShape {};
};
struct LocalIQ3_XXS {
  using Type = IQ3_XXS;
  struct Shape : IQ3_XXSShape {};
};
struct LocalIQ2_S {
  using Type = IQ2_S;
  struct Shape : IQ2_SShape {};
};
struct LocalIQ2_XS {
  using Type = IQ2_XS;
  struct Shape : IQ2_XSShape {};
};
struct LocalIQ2_XXS {
  using Type = IQ2_XXS;
  struct Shape : IQ2_XXSShape {};
};
struct LocalIQ1_M {
  using Type = IQ1_M;
  struct Shape : IQ1_MShape {};
};
struct LocalIQ1_S {
  using Type = IQ1_S;
  struct Shape : IQ1_SShape {};
};

constexpr BlockTwin kBlockTwins[] = {
    Q8_0Twin::kEntry,
    SymmetricLegacyTwin<Q5_0, 5>::kEntry,
    AffineLegacyTwin<Q5_1, 5>::kEntry,
    SymmetricLegacyTwin<Q4_0, 4>::kEntry,
    AffineLegacyTwin<Q4_1, 4>::kEntry,
    SuperBlockTwin<SymmetricTwin, LocalQ6_K>::kEntry,
    SuperBlockTwin<AffineTwin, LocalQ5_K>::kEntry,
    SuperBlockTwin<AffineTwin, LocalQ4_K>::kEntry,
    SuperBlockTwin<TableTwin, LocalIQ4_XS>::kEntry,
    SuperBlockTwin<SymmetricTwin, LocalQ3_K>::kEntry,
    SuperBlockTwin<AffineTwin, LocalQ2_K>::kEntry,
    VectorTwin<LocalIQ3_S>::kEntry,
    VectorTwin<LocalIQ3_XXS>::kEntry,
    VectorTwin<LocalIQ2_S>::kEntry,
    VectorTwin<LocalIQ2_XS>::kEntry,
    VectorTwin<LocalIQ2_XXS>::kEntry,
    VectorTwin<LocalIQ1_M>::kEntry,
    VectorTwin<LocalIQ1_S>::kEntry,
};

}  // namespace
}  // namespace nibble
