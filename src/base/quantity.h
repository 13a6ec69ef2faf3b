// SPDX-License-Identifier: Apache-2.0
//
// Amounts as people write them: "24GB", "512 MiB", "70B", "1.24b". Pure functions.
//
//   parse_bytes("24GB", "--memory") == 24'000'000'000      parse_bytes("24GiB", "--memory") == 25'769'803'776
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace nibble {

// kB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB of 1024; one letter ("24G") means powers of 1000; none means
// bytes. Letters in either case. Error(invalid_argument) names `what` and quotes the text when it is no amount,
// negative, or 2^63 and more.
std::uint64_t parse_bytes(std::string_view text, std::string_view what);

// A count with K, M, B or T after it ("70B", "350m"). Nothing when the text is not such a count (a letter is required).
std::optional<std::uint64_t> parse_count(std::string_view text);

}  // namespace nibble
