// SPDX-License-Identifier: Apache-2.0
#include <string_view>

#include "format/planar/format.h"
#include "quantize/recipe.h"

namespace nibble {
namespace {

struct Fallback {
  std::string_view from, to;
};

// The rules by which llama.cpp replaces formats of 256-blocks (llama-quant.cpp, tensor_type_fallback).
constexpr Fallback kFallbacks[] = {
    {"iq1_s", "iq4_nl"},   {"iq1_m", "iq4_nl"}, {"iq2_xxs", "iq4_nl"}, {"iq2_xs", "iq4_nl"}, {"iq2_s", "iq4_nl"},
    {"iq3_xxs", "iq4_nl"}, {"iq3_s", "iq4_nl"}, {"iq4_xs", "iq4_nl"},  {"q2_k", "q4_0"},     {"q3_k", "q4_0"},
    {"tq1_0", "q4_0"},     {"tq2_0", "q4_0"},   {"q1_0", "q4_0"},      {"q2_0", "q4_0"},     {"nvfp4", "q4_0"},
    {"q4_k", "q5_0"},      {"q5_k", "q5_1"},    {"q6_k", "q8_0"},
};

}  // namespace

FormatPtr fallback_format(const FormatPtr& wanted, std::uint64_t cols) {
  const auto fits = [cols](const FormatPtr& format) { return cols % format->info().row_multiple == 0; };
  if (fits(wanted)) return wanted;
  for (const Fallback& rule : kFallbacks)
    if (rule.from == wanted->name())
      if (FormatPtr next = find_format(rule.to); fits(next)) return next;
  return find_format("f16");
}

std::vector<FormatPtr> other_scales(const FormatPtr& wanted, std::uint64_t cols) {
  std::vector<FormatPtr> result;
  const auto add = [&](const FormatPtr& format) {
    if (cols % format->info().row_multiple == 0 && format->name() != wanted->name()) result.push_back(format);
  };
  for (const Fallback& rule : kFallbacks)
    if (rule.from == wanted->name()) add(find_format(rule.to));
  if (const PlanarSpec* const given = find_planar_spec(*wanted)) {
    PlanarSpec spec = *given;
    spec.scale = ScaleType::f32;
    add(find_format(planar_name(spec)));
  }
  for (const char* name : {"bf16", "f32"}) add(find_format(name));
  return result;
}

}  // namespace nibble
