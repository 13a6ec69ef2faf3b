// SPDX-License-Identifier: Apache-2.0
#include "base/shard_name.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr std::size_t kDigits = 5;
constexpr std::string_view kOf = "-of-";

std::optional<std::uint64_t> read_number(std::string_view digits) {
  std::uint64_t number = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return digits.size() == kDigits ? std::optional(number) : std::nullopt;
}

std::string write_number(std::uint64_t number) {
  const std::string digits = std::to_string(number);
  return std::string(kDigits - std::min(kDigits, digits.size()), '0') + digits;
}

}  // namespace

std::optional<ShardName> parse_shard_name(std::string_view name) {
  const std::size_t of = name.rfind(kOf);
  if (of == std::string_view::npos || of < kDigits + 1 || name[of - kDigits - 1] != '-') return std::nullopt;
  const auto number = read_number(name.substr(of - kDigits, kDigits)),
             count = read_number(name.substr(of + kOf.size(), kDigits));
  if (!number || !count || *number == 0 || *number > *count) return std::nullopt;
  const std::string_view ending = name.substr(of + kOf.size() + kDigits);
  if (!ending.empty() && ending.front() != '.') return std::nullopt;
  return ShardName{std::string(name.substr(0, of - kDigits - 1)), *number, *count, std::string(ending)};
}

std::string shard_name(const ShardName& shard) {
  return shard.prefix + "-" + write_number(shard.number) + std::string(kOf) + write_number(shard.count) + shard.ending;
}

}  // namespace nibble
