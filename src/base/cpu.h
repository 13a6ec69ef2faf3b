// SPDX-License-Identifier: Apache-2.0
//
// What this processor can do, and which kernel set that allows.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace nibble {

// Kernel sets, those of a kind of processor from plain to rich. Each is one folder and one namespace under kernels/.
enum class Isa {
  scalar,
  avx2,
  avxvnni,
  avx512,    // F, BW, DQ, VL and VNNI; VBMI with GFNI, BF16 and VPOPCNTDQ are used where present
  neon,      // aarch64
  neon_dot,  // with FEAT_DotProd
  neon_i8mm  // and with FEAT_I8MM
};

struct CpuFeatures {
  bool avx2 = false, fma = false, f16c = false;
  bool avx_vnni = false;
  bool avx512f = false, avx512bw = false, avx512dq = false, avx512vl = false, avx512_vnni = false, avx512_vbmi = false,
       avx512_bf16 = false, avx512_vpopcntdq = false;
  bool gfni = false;                                     // with 512-bit registers
  bool neon = false;                                     // aarch64, all of which have it
  bool dotprod = false, i8mm = false, arm_bf16 = false;  // FEAT_DotProd, FEAT_I8MM, FEAT_BF16
  std::string vendor, brand;                             // the processor's own names
  unsigned family = 0;  // as its vendor counts them: AMD's Zen 3 and 4 are 0x19, Zen 5 is 0x1a
};

// Asks cpuid, and XGETBV for what the system saves; on aarch64 the system.
CpuFeatures detect_cpu();

// Every set, in the order of Isa.
std::span<const Isa> all_isas();
// Whether the features allow a set.
bool has_isa(const CpuFeatures& features, Isa isa);
// The richest of those that is worth it.
Isa best_isa(const CpuFeatures& features);

// Whether dot products of bf16 pairs outrun f32 multiply-adds, and why or why not. The instruction does twice the work,
// but only AMD's processors issue it as often as an f32 one; Intel's issue it a quarter as often and leave such
// products to AMX, which is not used here.
struct Bf16Products {
  bool are_fast = false;
  std::string_view reason;
};
Bf16Products bf16_products(const CpuFeatures& features, Isa isa);

// By how many bytes a loop that walks through memory should ask for lines before it reads them; 0: not at all. Intel's
// prefetchers stop at the ends of pages, and a core of theirs waits for few lines at a time unless the second-level
// cache was asked for them. On AMD's such requests take the places of the processor's own, which do better up to Zen 4;
// those of Zen 5 keep up with loops that do little for a line and fall behind where codes are taken apart.
struct ReadAhead {
  std::size_t packed = 0;  // of codes of fewer than 8 bits, and of all where several tokens share the walk
  std::size_t whole = 0;   // of 8-bit codes
};
ReadAhead read_ahead(const CpuFeatures& features);

std::string_view isa_name(Isa isa);  // "scalar", "avx2", "avxvnni", "avx512", "neon", "neon_dot", "neon_i8mm"
std::optional<Isa> parse_isa(std::string_view name);

// best_isa, unless `override_name` (the value of NIBBLE_ISA) names another one. Error(invalid_argument) for an unknown
// name or a set that this processor lacks. An empty name means no override.
Isa choose_isa(const CpuFeatures& features, std::string_view override_name);

}  // namespace nibble
