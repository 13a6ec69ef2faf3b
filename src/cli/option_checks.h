// SPDX-License-Identifier: Apache-2.0
//
// What numbers, sizes and names on the command line are held to before any work is done. Pure functions.
//
//   verb->add_option("--bpw", bits, "...")->check(number_within(1, 32));
//   verb->add_option("--windows", windows, "...")->check(count_within(0, kMostWindows));
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace nibble::cli {

// More of any of these is a slip of the finger.
inline constexpr std::uint64_t kMostWindows = 1'000'000'000, kMostTokens = std::uint64_t{1} << 24;

// A decimal number of the range: neither NaN nor infinity nor hexadecimal.
CLI::Validator number_within(double least, double most);
// A whole number in decimal digits.
CLI::Validator count_within(std::uint64_t least, std::uint64_t most);

// parse_bytes, for options: a bare number below a million is asked about, since nobody means 24 bytes by 24.
// Error(invalid_argument).
std::uint64_t bytes_of_option(std::string_view text, std::string_view option);

// Of --shard-size: more than 0.
std::uint64_t shard_bytes_of_option(std::string_view text);

// Error(invalid_argument) when a --length (or what `option` is) that was given is more tokens than the model's context.
// The default is cut to that.
void refuse_longer_than_context(std::uint64_t length, std::uint64_t context, std::string_view option = "--length");

// Error(invalid_argument) when `option` is given and `holds` does not: says why it would have no effect.
void refuse_without_effect(const CLI::App& verb, const std::string& option, bool has_effect, std::string_view why);

}  // namespace nibble::cli
