// SPDX-License-Identifier: Apache-2.0
#include "format/planar/spec.h"

#include <array>
#include <charconv>

#include "nibble/error.h"

namespace nibble {

namespace {

struct NamedPoints {
  std::string_view name;
  PlanarPoints points;
  unsigned bits;
  std::uint32_t group;  // of the default grain; 0: row
  std::string_view description;
};

// Where points have several names, the first is canonical.
constexpr auto kNamedPoints = std::to_array<NamedPoints>({
    {"ternary", PlanarPoints::ternary, 2, 0, "{-1, 0, 1}"},
    {"binary", PlanarPoints::binary, 1, 0, "{-1, 1}"},
    {"nf4", PlanarPoints::nf4, 4, 64, "16 quantiles of the normal distribution (NF4)"},
    {"fp4", PlanarPoints::fp4, 4, 64, "bitsandbytes' 4-bit floats"},
    {"e2m1", PlanarPoints::e2m1, 4, 32, "4-bit floats E2M1"},
    {"fp4_e2m1", PlanarPoints::e2m1, 4, 32, ""},
    {"fp6", PlanarPoints::fp6_e2m3, 6, 32, "6-bit floats E2M3"},
    {"fp6_e2m3", PlanarPoints::fp6_e2m3, 6, 32, ""},
    {"fp6_e3m2", PlanarPoints::fp6_e3m2, 6, 32, "6-bit floats E3M2"},
    {"fp8", PlanarPoints::fp8_e4m3, 8, 0, "8-bit floats E4M3"},
    {"fp8_e4m3", PlanarPoints::fp8_e4m3, 8, 0, ""},
    {"fp8_e5m2", PlanarPoints::fp8_e5m2, 8, 0, "8-bit floats E5M2"},
});

struct NamedScale {
  std::string_view name;
  ScaleType type;
};
constexpr auto kNamedScales = std::to_array<NamedScale>({{"f32", ScaleType::f32},
                                                         {"f16", ScaleType::f16},
                                                         {"bf16", ScaleType::bf16},
                                                         {"e8m0", ScaleType::e8m0},
                                                         {"s6", ScaleType::s6},
                                                         {"s8", ScaleType::s8},
                                                         {"dq", ScaleType::dq},
                                                         {"amax", ScaleType::amax}});

// The OCP microscaling formats are planar ones with a group of 32 and power-of-two scales. (mxfp4 is the block format
// of that name.)
constexpr auto kAliases = std::to_array<std::array<std::string_view, 2>>({{"mxfp6", "fp6:g32:e8m0"},
                                                                          {"mxfp6_e2m3", "fp6:g32:e8m0"},
                                                                          {"mxfp6_e3m2", "fp6_e3m2:g32:e8m0"},
                                                                          {"mxfp8", "fp8:g32:e8m0"},
                                                                          {"mxfp8_e4m3", "fp8:g32:e8m0"},
                                                                          {"mxfp8_e5m2", "fp8_e5m2:g32:e8m0"}});

constexpr std::uint32_t kMaxGroup = 1u << 20;
constexpr std::uint32_t kMaxBlockRows = 4096;

std::optional<unsigned> digit_after(std::string_view text, std::string_view prefix, unsigned min, unsigned max) {
  if (text.size() != prefix.size() + 1 || !text.starts_with(prefix)) return std::nullopt;
  const unsigned digit = static_cast<unsigned>(static_cast<unsigned char>(text.back())) - '0';
  return digit >= min && digit <= max ? std::optional(digit) : std::nullopt;
}

[[noreturn]] void refuse(std::string_view spelling, const std::string& why) {
  throw Error(ErrorKind::invalid_argument, "format " + std::string(spelling) + ": " + why);
}

// Points and the default grain that goes with them.
std::optional<PlanarSpec> parse_points(std::string_view name) {
  PlanarSpec spec;
  const auto with_default_group = [&](std::uint32_t group) {
    spec.grain = group == 0 ? PlanarGrain::row : PlanarGrain::group;
    spec.group = group;
    return spec;
  };
  for (const bool is_unsigned : {false, true}) {
    if (const auto bits = digit_after(name, is_unsigned ? "uint" : "int", 1, 8)) {
      spec.bits = *bits;
      spec.is_unsigned = is_unsigned;
      return with_default_group(*bits >= 5 ? 0 : 128);
    }
  }
  if (const auto bits = digit_after(name, "table", 2, 4)) {
    spec.points = PlanarPoints::table;
    spec.bits = *bits;
    return with_default_group(0);
  }
  for (const NamedPoints& named : kNamedPoints) {
    if (named.name == name) {
      spec.points = named.points;
      spec.bits = named.bits;
      return with_default_group(named.group);
    }
  }
  return std::nullopt;
}

std::optional<ScaleType> parse_scale(std::string_view name) {
  for (const NamedScale& named : kNamedScales)
    if (named.name == name) return named.type;
  return std::nullopt;
}

std::string_view scale_name(ScaleType type) {
  for (const NamedScale& named : kNamedScales)
    if (named.type == type) return named.name;
  return "?";
}

ScaleType default_scale(const PlanarSpec& spec) {
  return spec.grain == PlanarGrain::group || spec.points == PlanarPoints::table ? ScaleType::f16 : ScaleType::f32;
}

void judge(const PlanarSpec& spec, std::string_view spelling) {
  const bool is_integer = spec.points == PlanarPoints::integer;
  const bool is_two_level = spec.scale == ScaleType::s6 || spec.scale == ScaleType::s8;
  const bool is_double = spec.scale == ScaleType::dq;
  if (is_double && spec.points != PlanarPoints::nf4 && spec.points != PlanarPoints::fp4)
    refuse(spelling, "double quantization (dq) belongs to nf4 and fp4; integers have s6 and s8");
  if (spec.scale == ScaleType::amax && (!is_integer || spec.bits != 8 || spec.is_asymmetric || spec.has_bias ||
                                        spec.is_unsigned || spec.grain != PlanarGrain::row))
    refuse(spelling, "scales by their largest magnitude (amax) belong to int8:row");
  if (spec.is_asymmetric && !is_integer) refuse(spelling, "only integers have zero points; leave out asym");
  if (spec.has_bias && !is_integer) refuse(spelling, "only integers have a bias; leave out bias");
  if (spec.has_bias && spec.is_asymmetric)
    refuse(spelling, "a bias takes the place of zero points; leave out asym or bias");
  if (spec.has_bias && (is_two_level || spec.scale == ScaleType::e8m0))
    refuse(spelling, "a bias needs a type with a sign: f32, f16 or bf16");
  if (is_integer && spec.bits == 1 && !spec.is_asymmetric && !spec.has_bias)
    refuse(spelling,
           "one bit is an integer only with a zero point or a bias (add :asym or :bias); {-1, 1} is called binary");
  if (spec.is_high && !(is_integer && spec.bits == 2 && !spec.is_asymmetric && !spec.has_bias))
    refuse(spelling, "high is a form of symmetric int2");
  if (spec.is_signed && (!is_integer || spec.is_asymmetric || spec.has_bias || spec.is_high || spec.bits == 8))
    refuse(spelling, "signed is a form of symmetric integers of 2 to 7 bits");
  if (spec.has_signed_scales() && (is_two_level || spec.scale == ScaleType::e8m0))
    refuse(spelling, (spec.is_high ? "high" : "signed") + std::string(" needs scales with a sign: f32, f16 or bf16"));
  if (spec.points == PlanarPoints::table && (is_two_level || spec.scale == ScaleType::e8m0))
    refuse(spelling, "tables hold f32, f16 or bf16");
  if (spec.points == PlanarPoints::table && (spec.grain == PlanarGrain::tensor || spec.grain == PlanarGrain::block))
    refuse(spelling, "a table belongs to a row or a group");
  if (!has_point_at_zero(spec) && spec.scale == ScaleType::e8m0)
    refuse(spelling, "e8m0 has no zero, which all-zero groups of points without one need");
  if ((is_two_level || is_double) && spec.grain != PlanarGrain::group)
    refuse(spelling, "two-level scales need groups, for example g64");
}

// "128x64" of "block128x64".
void parse_block(std::string_view sizes, std::string_view spelling, PlanarSpec& spec) {
  const char* const last = sizes.data() + sizes.size();
  const auto [by, rows_code] = std::from_chars(sizes.data(), last, spec.block_rows);
  const bool has_rows = rows_code == std::errc{} && by != last && *by == 'x';
  const auto [end, cols_code] = std::from_chars(has_rows ? by + 1 : last, last, spec.group);
  if (!has_rows || cols_code != std::errc{} || end != last || spec.block_rows < 2 || spec.block_rows > kMaxBlockRows ||
      spec.group == 0 || spec.group > kMaxGroup)
    refuse(spelling, "a block has 2 to " + std::to_string(kMaxBlockRows) + " rows and 1 to " +
                         std::to_string(kMaxGroup) + " columns, as in block128x128: block" + std::string(sizes));
  spec.grain = PlanarGrain::block;
}

}  // namespace

std::optional<PlanarSpec> parse_planar(std::string_view spelling) {
  for (const auto& [alias, meaning] : kAliases)
    if (alias == spelling) return parse_planar(meaning);
  const auto points_end = spelling.find(':');
  auto spec = parse_points(spelling.substr(0, points_end));
  if (!spec) return std::nullopt;

  bool has_grain = false, has_scale = false, has_zero = false, is_half = false;
  const auto once = [&](bool& seen, std::string_view what) {
    if (seen) refuse(spelling, std::string(what) + " is given twice");
    seen = true;
  };
  std::string_view rest = points_end == std::string_view::npos ? std::string_view{} : spelling.substr(points_end + 1);
  bool more = points_end != std::string_view::npos;
  while (more) {
    const auto colon = rest.find(':');
    const std::string_view option = rest.substr(0, colon);
    more = colon != std::string_view::npos;
    rest = more ? rest.substr(colon + 1) : std::string_view{};
    if (option == "row" || option == "tensor") {
      once(has_grain, "the grain");
      spec->grain = option == "row" ? PlanarGrain::row : PlanarGrain::tensor;
      spec->group = 0;
    } else if (option.starts_with("block")) {
      once(has_grain, "the grain");
      parse_block(option.substr(5), spelling, *spec);
    } else if (option == "asym" || option == "sym") {
      once(has_zero, "the symmetry");
      spec->is_asymmetric = option == "asym";
    } else if (option == "high") {
      once(spec->is_high, "high");
    } else if (option == "signed") {
      once(spec->is_signed, "signed");
    } else if (option == "half") {
      once(is_half, "half");
    } else if (option == "bias") {
      once(spec->has_bias, "bias");
    } else if (const auto scale = parse_scale(option)) {
      once(has_scale, "the scale's type");
      spec->scale = *scale;
    } else if (option.size() > 1 && option[0] == 'g' && option[1] >= '0' && option[1] <= '9') {
      once(has_grain, "the grain");
      const auto [end, code] = std::from_chars(option.data() + 1, option.data() + option.size(), spec->group);
      if (code != std::errc{} || end != option.data() + option.size() || spec->group == 0 || spec->group > kMaxGroup)
        refuse(spelling, "a group has 1 to " + std::to_string(kMaxGroup) + " columns: " + std::string(option));
      spec->grain = PlanarGrain::group;
    } else {
      refuse(spelling,
             "unknown option; options are g<N>, row, tensor, block<R>x<N>, asym, bias, half, signed, f32, f16, bf16, "
             "e8m0, s6, s8, dq, amax: '" +
                 std::string(option) + "'");
    }
  }
  if (!has_scale) spec->scale = default_scale(*spec);
  if (is_half) {
    if (spec->points != PlanarPoints::integer || spec->bits < 2 || spec->bits > 4 || spec->is_asymmetric ||
        spec->has_bias || spec->is_high || spec->is_signed)
      refuse(spelling, "half is a form of int2, int3 and int4 that leaves no choice of zero or sign");
    spec->points = PlanarPoints::half_integer;
  }
  if (spec->has_bias || is_half) spec->is_unsigned = false;
  judge(*spec, spelling);
  return spec;
}

std::string planar_name(const PlanarSpec& spec) {
  std::string name;
  if (spec.points == PlanarPoints::integer || spec.points == PlanarPoints::half_integer)
    name = std::string(spec.is_unsigned ? "uint" : "int").append(std::to_string(spec.bits));
  if (spec.points == PlanarPoints::table) name = std::string("table").append(std::to_string(spec.bits));
  for (const NamedPoints& named : kNamedPoints) {
    if (name.empty() && named.points == spec.points) name = named.name;
  }
  switch (spec.grain) {
    case PlanarGrain::group:
      name.append(":g").append(std::to_string(spec.group));
      break;
    case PlanarGrain::row:
      name += ":row";
      break;
    case PlanarGrain::tensor:
      name += ":tensor";
      break;
    case PlanarGrain::block:
      name.append(":block").append(std::to_string(spec.block_rows)).append("x").append(std::to_string(spec.group));
      break;
  }
  if (spec.is_asymmetric) name += ":asym";
  if (spec.has_bias) name += ":bias";
  if (spec.is_high) name += ":high";
  if (spec.is_signed) name += ":signed";
  if (spec.points == PlanarPoints::half_integer) name += ":half";
  if (spec.scale != default_scale(spec)) name.append(":").append(scale_name(spec.scale));
  return name;
}

std::string planar_description(const PlanarSpec& spec) {
  std::string text;
  if (spec.points == PlanarPoints::integer) {
    const bool from_zero = spec.is_unsigned || spec.has_bias;
    const int low = from_zero                               ? 0
                    : spec.is_high                          ? -1
                    : spec.bits == 8 && !spec.is_asymmetric ? -127
                                                            : -(1 << (spec.bits - 1));
    const int high = from_zero ? (1 << spec.bits) - 1 : spec.is_high ? 2 : (1 << (spec.bits - 1)) - 1;
    text.append(std::to_string(spec.bits))
        .append("-bit integers ")
        .append(std::to_string(low))
        .append("..")
        .append(std::to_string(high));
  } else if (spec.points == PlanarPoints::half_integer) {
    const std::string end = std::to_string((1 << spec.bits) - 1);
    text.append(std::to_string(spec.bits)).append("-bit odd halves -").append(end).append("/2..").append(end + "/2");
  } else if (spec.points == PlanarPoints::table) {
    text.append("a learned table of ").append(std::to_string(1 << spec.bits)).append(" points");
  }
  for (const NamedPoints& named : kNamedPoints) {
    if (text.empty() && named.points == spec.points) text = named.description;
  }
  const std::string per = spec.grain == PlanarGrain::group    ? std::to_string(spec.group)
                          : spec.grain == PlanarGrain::row    ? "row"
                          : spec.grain == PlanarGrain::tensor ? "tensor"
                                                              : std::to_string(spec.block_rows) + " rows and " +
                                                                    std::to_string(spec.group) + " columns";
  if (spec.points == PlanarPoints::table) return text + " per " + per;
  text += spec.is_asymmetric         ? ", scale and zero point per "
          : spec.has_bias            ? ", scale and bias per "
          : spec.has_signed_scales() ? ", one scale of either sign per "
                                     : ", one scale per ";
  text += per;
  if (spec.scale == ScaleType::e8m0) text += ", a power of two";
  if (spec.scale == ScaleType::s6 || spec.scale == ScaleType::s8)
    text += ", itself stored in " + std::to_string(scale_bits(spec.scale)) + " bits";
  if (spec.scale == ScaleType::dq) text += ", doubly quantized as bitsandbytes does";
  if (spec.scale == ScaleType::amax) text += ", stored times 127 as bitsandbytes does";
  return text;
}

std::string planar_spelling_help() {
  std::string points = "int1..int8, uint1..uint8";
  for (const NamedPoints& named : kNamedPoints)
    if (!named.description.empty()) points.append(", ").append(named.name);
  std::string scales;
  for (const NamedScale& named : kNamedScales) scales.append(scales.empty() ? "" : ", ").append(named.name);
  std::string aliases;
  for (const auto& [alias, meaning] : kAliases)
    aliases.append(aliases.empty() ? "" : ", ").append(alias).append(" = ").append(meaning);
  return "points   " + points + ", table2..table4\n" +
         "grain    gN (N columns share a scale), row, tensor, blockRxN (R rows and N columns share a scale)\n"
         "zero     asym: a zero point beside each scale (integers); bias: a float beside each scale, x = scale * q + "
         "bias\n"
         "places   half: int2..int4 as odd multiples of half a scale, -3/2 to 3/2 for int2; signed: scales of either "
         "sign (symmetric integers)\n"
         "scales   " +
         scales +
         "\n         e8m0: powers of two; s6, s8: 6- and 8-bit multiples of the row's; dq: bitsandbytes' double "
         "quantization (nf4, fp4);\n         amax: times 127, as its LLM.int8 (int8:row)\n"
         "also     " +
         aliases + "\n";
}

unsigned scale_bits(ScaleType type) {
  switch (type) {
    case ScaleType::f32:
    case ScaleType::amax:
      return 32;
    case ScaleType::f16:
    case ScaleType::bf16:
      return 16;
    case ScaleType::e8m0:
    case ScaleType::s8:
    case ScaleType::dq:
      return 8;
    case ScaleType::s6:
      return 6;
  }
  return 0;
}

}  // namespace nibble
