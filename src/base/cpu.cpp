// SPDX-License-Identifier: Apache-2.0
#include "base/cpu.h"

#include "nibble/error.h"

namespace nibble {
namespace {

constexpr Isa kIsas[] = {Isa::scalar, Isa::avx2, Isa::avxvnni, Isa::avx512, Isa::neon, Isa::neon_dot, Isa::neon_i8mm};

}  // namespace

std::span<const Isa> all_isas() { return kIsas; }

bool has_isa(const CpuFeatures& f, Isa isa) {
  const bool avx2 = f.avx2 && f.fma && f.f16c;
  switch (isa) {
    case Isa::scalar:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avxvnni:
      return avx2 && f.avx_vnni;
    case Isa::avx512:
      return avx2 && f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl && f.avx512_vnni;
    case Isa::neon:
      return f.neon;
    case Isa::neon_dot:
      return f.neon && f.dotprod;
    case Isa::neon_i8mm:
      return f.neon && f.dotprod && f.i8mm;
  }
  return false;
}

// Apple's cores issue SMMLA less often than half as often as SDOT (M2 Max: 355 and 428 GOPS a core).
Isa best_isa(const CpuFeatures& features) {
  Isa best = Isa::scalar;
  for (const Isa isa : kIsas)
    if (has_isa(features, isa) && !(isa == Isa::neon_i8mm && features.vendor == "Apple")) best = isa;
  return best;
}

Bf16Products bf16_products(const CpuFeatures& f, Isa isa) {
  if (isa != Isa::avx512 || !f.avx512_bf16) return {false, "no dot products of bf16 in this instruction set"};
  if (f.vendor != "AuthenticAMD")
    return {false, "dot products of bf16 are slower than f32 multiply-adds on this processor"};
  return {true, "dot products of bf16 do twice the work of f32 multiply-adds in the same time"};
}

ReadAhead read_ahead(const CpuFeatures& f) {
  constexpr unsigned kZen5 = 0x1a;
  if (f.vendor == "GenuineIntel") return {8192, 8192};
  if (f.vendor == "AuthenticAMD" && f.family >= kZen5) return {8192, 0};
  return {};
}

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avxvnni:
      return "avxvnni";
    case Isa::avx512:
      return "avx512";
    case Isa::neon:
      return "neon";
    case Isa::neon_dot:
      return "neon_dot";
    case Isa::neon_i8mm:
      return "neon_i8mm";
  }
  return "?";
}

std::optional<Isa> parse_isa(std::string_view name) {
  for (const Isa isa : kIsas)
    if (isa_name(isa) == name) return isa;
  return std::nullopt;
}

Isa choose_isa(const CpuFeatures& features, std::string_view override_name) {
  if (override_name.empty()) return best_isa(features);
  const std::optional<Isa> wanted = parse_isa(override_name);
  if (!wanted)
    throw Error(ErrorKind::invalid_argument,
                "no such instruction set; use scalar, avx2, avxvnni, avx512, neon, neon_dot or neon_i8mm: \"" +
                    std::string(override_name) + "\"");
  if (!has_isa(features, *wanted))
    throw Error(ErrorKind::invalid_argument, "this processor has no " + std::string(isa_name(*wanted)) +
                                                 "; the best it has: " + std::string(isa_name(best_isa(features))));
  return *wanted;
}

}  // namespace nibble
