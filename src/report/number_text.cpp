// SPDX-License-Identifier: Apache-2.0
#include "report/number_text.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace nibble {
namespace {

std::string scaled(double value, const char* const* units, std::size_t num_units) {
  std::size_t unit = 0;
  // 999.5 would print as 1000.
  while (unit + 1 < num_units && value >= 999.5) {
    value /= 1000;
    ++unit;
  }
  const char* const space = *units[unit] == '\0' ? "" : " ";
  if (unit == 0) return fmt::format("{:.0f}{}{}", value, space, units[unit]);
  return fmt::format("{:.{}f}{}{}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, space, units[unit]);
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  static constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB", "PB"};
  return scaled(static_cast<double>(bytes), kUnits.data(), kUnits.size());
}

std::string count_text(std::uint64_t count) {
  static constexpr std::array kUnits = {"", "K", "M", "B", "T"};
  return scaled(static_cast<double>(count), kUnits.data(), kUnits.size());
}

std::string grouped_text(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string percent_text(double share, int digits) { return fmt::format("{:.{}f} %", 100 * share, digits); }
std::string signed_percent_text(double change, int digits) {
  std::string text = fmt::format("{:+.{}f} %", 100 * change, digits);
  if (text.find_first_of("123456789") == std::string::npos && text.front() == '-') text.front() = '+';  // no "-0.00 %"
  return text;
}
std::string fixed_text(double value, int digits) { return fmt::format("{:.{}f}", value, digits); }

std::string significant_text(double value, int digits) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  if (value == 0) return "0";
  const double magnitude = std::fabs(value);
  if (magnitude < 1e-4 || magnitude >= 1e9) return fmt::format("{:.{}e}", value, digits - 1);
  const int whole = static_cast<int>(std::floor(std::log10(magnitude))) + 1;
  return fmt::format("{:.{}f}", value, digits > whole ? digits - whole : 0);
}

std::string speed_text(double tokens_per_second) {
  return tokens_per_second >= 99.95 ? fmt::format("{:.0f}", tokens_per_second) : significant_text(tokens_per_second, 3);
}

std::string duration_text(double seconds) {
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7200) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

std::string range_text(const std::string& low, const std::string& high) {
  return low == high ? low : low + " - " + high;
}

}  // namespace nibble
