// SPDX-License-Identifier: Apache-2.0
#include "base/quantity.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>

#include "base/letter_case.h"
#include "nibble/error.h"

namespace nibble {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr auto kByteUnits = std::to_array<Unit>({{"", 1},
                                                 {"b", 1},
                                                 {"k", 1e3},
                                                 {"kb", 1e3},
                                                 {"m", 1e6},
                                                 {"mb", 1e6},
                                                 {"g", 1e9},
                                                 {"gb", 1e9},
                                                 {"t", 1e12},
                                                 {"tb", 1e12},
                                                 {"kib", 1024.0},
                                                 {"mib", 1048576.0},
                                                 {"gib", 0x1p30},
                                                 {"tib", 0x1p40}});
constexpr auto kCountUnits = std::to_array<Unit>({{"k", 1e3}, {"m", 1e6}, {"b", 1e9}, {"t", 1e12}});

// A number, spaces, a unit of the list; nothing for anything else.
template <std::size_t kSize>
std::optional<double> parse_amount(std::string_view text, const std::array<Unit, kSize>& units) {
  double number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (code != std::errc{} || !(number >= 0)) return std::nullopt;
  std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  const std::string unit = lower_case(rest);
  for (const Unit& known : units)
    if (known.name == unit) return number * known.factor;
  return std::nullopt;
}

}  // namespace

std::uint64_t parse_bytes(std::string_view text, std::string_view what) {
  const auto amount = parse_amount(text, kByteUnits);
  if (amount && !(*amount < 0x1p63))
    throw Error(ErrorKind::invalid_argument,
                std::string(what) + " is more bytes than there are on any machine: '" + std::string(text) + "'");
  if (!amount)
    throw Error(ErrorKind::invalid_argument,
                std::string(what) + " takes an amount of bytes such as 24GB or 512MiB: '" + std::string(text) + "'");
  return static_cast<std::uint64_t>(std::llround(*amount));
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  const auto amount = parse_amount(text, kCountUnits);
  if (!amount || !(*amount < 0x1p63)) return std::nullopt;
  return static_cast<std::uint64_t>(std::llround(*amount));
}

}  // namespace nibble
