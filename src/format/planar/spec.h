// SPDX-License-Identifier: Apache-2.0
//
// What distinguishes one planar format from another, and its spelling: points, then options after colons in any order.
//
//   points   int1 .. int8, uint1 .. uint8, ternary, binary, nf4, fp4 (bitsandbytes' table), e2m1, fp6 (E2M3), fp6_e3m2,
//   fp8 (E4M3),
//            fp8_e5m2, table2 .. table4 (learned)
//   grain    g<N> columns, row, tensor, block<R>x<N>: R rows and N columns share a scale
//   zero     asym (an integer zero point per scale), bias (a float added to what scale and code give, for integers: as
//   MLX
//            has it); without either the format is symmetric
//   places   half: int2 .. int4 as odd multiples of half a scale (int2: -3/2, -1/2, 1/2, 3/2), none of which is 0;
//            signed: symmetric integers whose scale may be negative, so that the end that reaches further lies on
//            whichever side needs it. high is read as older files have it: int2:signed with codes numbered from -1.
//   scales   f32, f16, bf16, e8m0, or s6 / s8: 6- or 8-bit multiples of one f32 per row, or dq (nf4 and fp4):
//   bitsandbytes' double
//            quantization, or amax (int8 rows): f32 that are 127 times the scale, as LLM.int8 has them. Default: f16
//            for groups and tables, else f32.
//
// uintN stores and decodes as intN does; only the numbering of its codes (and zero points) differs: 0 .. 2^N - 1
// instead of -2^(N-1) .. 2^(N-1) - 1. With a bias codes have no other numbering than 0 .. 2^N - 1, and uintN is
// another spelling of intN.
//
//   PlanarSpec spec = *parse_planar("int4:asym:g32");   planar_name(spec) == "int4:g32:asym"
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

enum class PlanarPoints : std::uint8_t {
  integer,
  half_integer,
  ternary,
  binary,
  nf4,
  fp4,
  e2m1,
  fp6_e2m3,
  fp6_e3m2,
  fp8_e4m3,
  fp8_e5m2,
  table
};
enum class PlanarGrain : std::uint8_t { group, row, tensor, block };
enum class ScaleType : std::uint8_t { f32, f16, bf16, e8m0, s6, s8, dq, amax };

struct PlanarSpec {
  PlanarPoints points = PlanarPoints::integer;
  unsigned bits = 4;         // per stored code; ternary 2, binary 1
  bool is_unsigned = false;  // integers: codes are numbered from 0
  bool is_asymmetric = false;
  bool is_high = false;  // int2 as {-1, 0, 1, 2}, and signed
  PlanarGrain grain = PlanarGrain::group;
  std::uint32_t group = 128;         // columns; for PlanarGrain::group and block
  ScaleType scale = ScaleType::f16;  // of biases, too
  bool has_bias = false;             // integers: x = scale * code + bias
  std::uint32_t block_rows = 0;      // for PlanarGrain::block
  bool is_signed = false;            // symmetric integers: scales of either sign are sought

  bool has_signed_scales() const { return is_signed || is_high; }
  bool has_groups() const { return grain == PlanarGrain::group || grain == PlanarGrain::block; }

  bool operator==(const PlanarSpec&) const = default;
};

// Nothing when the text does not begin like a planar format; Error(invalid_argument) when it does and is wrong after
// that.
std::optional<PlanarSpec> parse_planar(std::string_view lower_case_spelling);
// The canonical spelling. parse_planar(planar_name(spec)) == spec for every spec that parse_planar returns.
std::string planar_name(const PlanarSpec& spec);
std::string planar_description(const PlanarSpec& spec);

// What a spelling is made of, a line for each kind of word: for help.
std::string planar_spelling_help();

// Whether a scale that is not 0 can give 0.
inline bool has_point_at_zero(const PlanarSpec& spec) {
  return spec.points != PlanarPoints::binary && spec.points != PlanarPoints::half_integer;
}

unsigned scale_bits(ScaleType type);  // stored per scale

}  // namespace nibble
