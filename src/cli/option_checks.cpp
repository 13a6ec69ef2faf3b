// SPDX-License-Identifier: Apache-2.0
#include "cli/option_checks.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/quantity.h"
#include "nibble/error.h"

namespace nibble::cli {

CLI::Validator number_within(double least, double most) {
  return {[=](const std::string& text) {
            double value = 0;
            const char* const first = text.data() + (text.starts_with('+') ? 1 : 0);
            const auto [end, code] = std::from_chars(first, text.data() + text.size(), value);
            const bool whole = code == std::errc{} && end == text.data() + text.size();
            return whole && value >= least && value <= most
                       ? std::string()
                       : fmt::format("a number from {} to {} is asked for, not '{}'", least, most, text);
          },
          fmt::format("{}..{}", least, most)};
}

CLI::Validator count_within(std::uint64_t least, std::uint64_t most) {
  return {[=](const std::string& text) {
            std::uint64_t value = 0;
            const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
            const bool whole = code == std::errc{} && end == text.data() + text.size();
            return whole && value >= least && value <= most
                       ? std::string()
                       : fmt::format("a whole number from {} to {} is asked for, not '{}'", least, most, text);
          },
          ""};
}

std::uint64_t bytes_of_option(std::string_view text, std::string_view option) {
  const std::uint64_t bytes = parse_bytes(text, option);
  constexpr std::uint64_t kPlainlyBytes = 1'000'000;
  const bool bare = text.find_first_not_of("0123456789. ") == std::string_view::npos;
  if (bare && bytes < kPlainlyBytes)
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format("{} without a unit means bytes, which are few here; write {}GB, or {}B where bytes are meant: '{}'",
                    option, text, text, text));
  return bytes;
}

std::uint64_t shard_bytes_of_option(std::string_view text) {
  const std::uint64_t bytes = text == "0" ? 0 : bytes_of_option(text, "--shard-size");
  if (bytes == 0)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a weight file has more than 0 bytes; give a size, as in --shard-size 2GB, or leave the "
                            "option out for 5GB: '{}'",
                            text));
  return bytes;
}

void refuse_longer_than_context(std::uint64_t length, std::uint64_t context, std::string_view option) {
  if (length > context)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} must not be longer than the model's context of {} tokens: {} {}",
                            option == "--length" ? "windows" : "texts", context, option, length));
}

void refuse_without_effect(const CLI::App& verb, const std::string& option, bool has_effect, std::string_view why) {
  if (!has_effect && verb.count(option) > 0)
    throw Error(ErrorKind::invalid_argument, fmt::format("{} has no effect {}; leave it out", option, why));
}

}  // namespace nibble::cli
