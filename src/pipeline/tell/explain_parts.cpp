// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/explain_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "format/planar/format.h"
#include "format/planar/points.h"

namespace nibble {
namespace {

std::string operand(double value) { return value < 0 ? "(" + explained_number(value) + ")" : explained_number(value); }

const PlanarFormat* as_planar(const Format& format) { return dynamic_cast<const PlanarFormat*>(&format); }

bool is_asymmetric(const Format& format) {
  const PlanarFormat* const planar = as_planar(format);
  return planar != nullptr && planar->spec().is_asymmetric;
}

// What the plain rule of a planar format makes of a range: the real scale, and the formula.
struct PlainScale {
  double value = 0;
  std::string formula;
};

PlainScale plain_scale(const PlanarSpec& spec, double low, double high) {
  const double peak = std::max(-low, high);
  double divisor = 1;
  if (const PointTable* const table = point_table(spec)) {
    divisor = static_cast<double>(table->max());
    if (spec.scale == ScaleType::e8m0) {
      return {std::exp2(std::floor(std::log2(peak)) - std::floor(std::log2(divisor))),
              fmt::format("2^(floor(log2 {}) - floor(log2 {}))", explained_number(peak), explained_number(divisor))};
    }
  } else if (spec.is_asymmetric || spec.has_bias) {
    const double levels = std::exp2(spec.bits) - 1;
    return {(high - low) / levels,
            fmt::format("({} - {}) / {}", explained_number(high), operand(low), explained_number(levels))};
  } else if (spec.has_signed_scales()) {
    const double end = high >= -low ? high : low, far = spec.is_high ? 2 : -std::exp2(spec.bits - 1);
    return {end / far, fmt::format("{} / {}", explained_number(end), operand(far))};
  } else if (spec.points == PlanarPoints::integer) {
    divisor = spec.bits == 8 ? 127.0 : std::exp2(spec.bits - 1) - 0.5;
  }
  if (divisor == 1) return {peak, "the largest magnitude"};
  return {peak / divisor, fmt::format("{} / {}", explained_number(peak), explained_number(divisor))};
}

std::string rule_in_words(FitRule rule) {
  switch (rule) {
    case FitRule::percentile:
      return "after the largest magnitudes are cut off (percentile)";
    case FitRule::entropy:
      return "after a cut that keeps the distribution closest (entropy)";
    case FitRule::absmean:
      return "the mean magnitude";
    case FitRule::threshold:
      return "the mean of the magnitudes above 0.7 times their mean";
    default:
      return "searched: the least squared error";
  }
}

std::string planar_scale_formula(const PlanarFormat& format, const PlanarGrid& grid, double low, double high,
                                 const FitOptions& fit) {
  const PlanarSpec& spec = format.spec();
  if (!(high > low))
    return spec.has_bias ? "one value only: any scale would do" : "nothing but zeros: any scale would do";
  if (spec.points == PlanarPoints::binary) return "the mean magnitude";
  const PlainScale plain = plain_scale(spec, low, high);
  double rounded = plain.value;
  if (spec.scale == ScaleType::e8m0) rounded = std::exp2(std::ceil(std::log2(plain.value)));
  const float stored = storable_scale(static_cast<float>(rounded), spec.scale, {grid.base, grid.offset});
  // Where scales are counted in units, what was wanted may be far from what is stored: compare with the wish.
  const double wish = spec.scale == ScaleType::dq ? plain.value : static_cast<double>(stored),
               found = static_cast<double>(grid.scale);
  const double slack = spec.scale == ScaleType::dq ? 0.01 * static_cast<double>(grid.base) : 0;
  const bool is_plain = std::fabs(wish - found) <= slack + 2e-7 * std::fabs(found);
  if (!is_plain)
    return fmt::format("{}; the plain rule, {}, gives {}", rule_in_words(fit.rule), plain.formula,
                       explained_number(plain.value));
  const bool is_exact = std::fabs(plain.value - static_cast<double>(grid.scale)) <= 1e-6 * plain.value;
  return is_exact ? plain.formula
                  : fmt::format("{} = {}, rounded to what is stored", plain.formula, explained_number(plain.value));
}

std::string planar_zero_formula(const PlanarFormat& format, const PlanarGrid& grid, double low) {
  const std::int32_t first = format.first_integer(), levels = (1 << format.spec().bits) - 1;
  const double ratio = -low / static_cast<double>(grid.scale);
  if (static_cast<int>(std::nearbyint(std::clamp(ratio, 0.0, static_cast<double>(levels)))) != grid.zero)
    return "searched with the scale";
  const std::string rounded = fmt::format("round({} / {}) = round({})", explained_number(-low),
                                          explained_number(static_cast<double>(grid.scale)), explained_number(ratio));
  return first == 0 ? rounded : fmt::format("{} + {}", first, rounded);
}

// "3 / -8" when the scale is the peak over a whole number, "(3 - (-2.5)) / 15" when it is the range over one.
std::string ratio_formula(double scale, double low, double high) {
  const double peak = high >= -low ? high : low;
  const auto whole = [&](double length) {
    const double ratio = length / scale;
    return scale != 0 && std::fabs(ratio) < 300 && std::fabs(ratio) > 1.5 &&
           std::fabs(ratio - std::nearbyint(ratio)) < 0.004 * std::fabs(ratio);
  };
  if (whole(peak)) return fmt::format("{} / {:.0f}", explained_number(peak), peak / scale);
  if (whole(high - low))
    return fmt::format("({} - {}) / {:.0f}", explained_number(high), operand(low), (high - low) / scale);
  return {};
}

std::string clamped_formula(const EvenPoints& points, const std::string& inside) {
  return fmt::format("q = clamp({}, {}, {})", inside, points.lowest, points.highest);
}

// Where points are uneven, the part of the grid that they are multiplied by: the innermost.
double step_of(const Format& format, const std::byte* grid, std::size_t column) {
  const std::vector<GridPart> parts = format.grid_parts(grid, column);
  return parts.empty() ? 0 : parts.back().value;
}

std::string even_code_formula(const EvenPoints& points, const ExplainedNumber& number) {
  const double given = static_cast<double>(number.given);
  std::string text;
  double code;
  if (points.zero) {
    const double ratio = given / points.scale;
    code = std::nearbyint(ratio) + static_cast<double>(*points.zero);
    text = *points.zero == 0
               ? fmt::format("round({} / {}) = round({})", explained_number(given), operand(points.scale),
                             explained_number(ratio))
               : fmt::format("round({} / {}) + {} = {} + {}", explained_number(given), operand(points.scale),
                             operand(static_cast<double>(*points.zero)), explained_number(std::nearbyint(ratio)),
                             operand(static_cast<double>(*points.zero)));
  } else {
    const double ratio = (given - points.offset) / points.scale;
    code = std::nearbyint(ratio);
    text = fmt::format("round(({} - {}) / {}) = round({})", explained_number(given), operand(points.offset),
                       operand(points.scale), explained_number(ratio));
  }
  const double cut = std::clamp(code, static_cast<double>(points.lowest), static_cast<double>(points.highest));
  text += fmt::format(" = {:.0f}", code + 0.0);
  if (cut != code) text += fmt::format(", cut to {:.0f}", cut);
  // Some references round with a scale that has not been rounded itself, or break ties another way.
  if (cut != static_cast<double>(number.code)) text += fmt::format("; the format's own rule takes {}", number.code);
  return text;
}

}  // namespace

bool holds_zero(const Format& format) {
  const PlanarFormat* const planar = as_planar(format);
  return planar == nullptr || !planar->spec().has_bias;
}

std::string explained_number(double value) { return fmt::format("{:.6g}", value + 0.0); }

std::optional<EvenPoints> find_even_points(const Format& format, const std::byte* grid, std::size_t column) {
  const std::uint64_t num_codes = format.num_codes();
  if (format.info().unit != 1 || num_codes < 3 || num_codes > 256) return std::nullopt;
  std::vector<double> values;
  double largest = 0;
  for (Code code = 0; code < num_codes; ++code) {
    float value;
    format.value(grid, column, code, &value);
    if (!std::isfinite(value)) return std::nullopt;
    values.push_back(static_cast<double>(value));
    largest = std::max(largest, std::fabs(values.back()));
  }
  EvenPoints points;
  points.scale = (values.back() - values.front()) / static_cast<double>(num_codes - 1);
  if (points.scale == 0) return std::nullopt;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double expected = values.front() + points.scale * static_cast<double>(i);
    if (std::fabs(values[i] - expected) > 1e-3 * std::fabs(points.scale) + 1e-6 * largest) return std::nullopt;
  }
  const std::int64_t first = format.info().first_code;
  const PlanarFormat* const planar = as_planar(format);
  points.lowest = first + (planar != nullptr ? code_range(planar->spec()).lo : 0);
  points.highest = first + static_cast<std::int64_t>(num_codes) - 1;
  points.offset = values.front() - points.scale * static_cast<double>(first);
  const double zero = -values.front() / points.scale, whole = std::nearbyint(zero);
  if (holds_zero(format) && std::fabs(zero - whole) < 1e-3 && whole >= 0 && whole < static_cast<double>(num_codes))
    points.zero = static_cast<std::int64_t>(whole) + first;
  return points;
}

std::vector<ExplainedStep> explain_grid(const Format& format, const std::byte* grid, float low, float high,
                                        const FitOptions& fit) {
  const double from = static_cast<double>(low), to = static_cast<double>(high);
  std::vector<ExplainedStep> steps = {{"range",
                                       holds_zero(format) ? "smallest and largest number; always includes 0"
                                                          : "smallest and largest number; 0 may lie outside",
                                       explained_number(from) + " .. " + explained_number(to)}};
  const PlanarFormat* const planar = as_planar(format);
  if (planar != nullptr && planar->spec().points == PlanarPoints::table)
    steps.push_back({"table", "learned: the points with the least squared error (k-means)",
                     fmt::format("{} points", planar->num_codes())});
  for (const GridPart& part : format.grid_parts(grid, 0)) {
    std::string formula;
    if (planar != nullptr) {
      const auto& typed = *reinterpret_cast<const PlanarGrid*>(grid);
      if (part.name == "scale") formula = planar_scale_formula(*planar, typed, from, to, fit);
      if (part.name == "bias") formula = "what code 0 stands for";
      if (part.name == "zero point") formula = planar_zero_formula(*planar, typed, from);
    } else if (part.name == "scale d") {
      formula = ratio_formula(part.value, from, to);
    }
    steps.push_back({part.name, formula, explained_number(part.value)});
  }
  return steps;
}

std::string explain_rule(const Format& format, const std::byte* grid) {
  if (format.info().unit > 1)
    return fmt::format("q = the nearest of {} vectors of {} points;  x ~ step * vector", format.num_codes(),
                       format.info().unit);
  if (const auto points = find_even_points(format, grid, 0)) {
    const std::string offset = holds_zero(format) ? "minimum" : "bias";
    if (!points->zero)
      return clamped_formula(*points, "round((x - " + offset + ") / scale)") + ";  x ~ scale * q + " + offset;
    if (*points->zero == 0) return clamped_formula(*points, "round(x / scale)") + ";  x ~ scale * q";
    return clamped_formula(*points, "round(x / scale) + zero") +
           fmt::format(" with zero = {};  x ~ scale * (q - zero)", *points->zero);
  }
  if (format.num_codes() == 2) return "q = 1 where x >= 0, else 0;  x ~ scale * (2 q - 1)";
  if (format.grid_parts(grid, 0).empty()) return "q = the nearest point;  x ~ point";
  return "q = the point nearest to x / scale;  x ~ scale * point";
}

std::string explain_code(const Format& format, const std::byte* grid, std::size_t column,
                         const ExplainedNumber& number) {
  const FormatInfo& info = format.info();
  if (info.kind == FormatKind::raw) return fmt::format("bits {:#x}", number.code);
  if (info.unit > 1)
    return fmt::format("columns {} to {} share this code", column / info.unit * info.unit,
                       column / info.unit * info.unit + info.unit - 1);
  if (const auto points = find_even_points(format, grid, column)) return even_code_formula(*points, number);
  if (format.num_codes() == 2) return number.given >= 0 ? "not negative" : "negative";
  const double step = step_of(format, grid, column);
  if (step == 0) return "the nearest point";
  return fmt::format("{} / {} = {}, nearest point {}", explained_number(static_cast<double>(number.given)),
                     operand(step), explained_number(static_cast<double>(number.given) / step),
                     explained_number(static_cast<double>(number.decoded) / step));
}

std::optional<ZeroPoints> explain_zero_points(const Format& format, const std::byte* grid,
                                              std::span<const float> numbers) {
  if (!is_asymmetric(format)) return std::nullopt;
  const auto& typed = *reinterpret_cast<const PlanarGrid*>(grid);
  const std::int64_t half = std::int64_t{1} << (as_planar(format)->spec().bits - 1);
  ZeroPoints zeros{.of_signed = typed.zero - half,
                   .of_unsigned = typed.zero,
                   .lowest_signed = -half,
                   .highest_signed = half - 1,
                   .highest_unsigned = 2 * half - 1};
  zeros.example = *std::ranges::max_element(numbers, {}, [](float x) { return std::fabs(x); });
  const Code code = format.nearest(grid, 0, &zeros.example, nullptr);
  zeros.mixed_up = static_cast<double>(typed.scale) *
                   (static_cast<double>(code) - static_cast<double>(half) - static_cast<double>(typed.zero));
  return zeros;
}

}  // namespace nibble
