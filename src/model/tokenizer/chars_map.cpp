// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/chars_map.h"

#include <fmt/format.h>

#include <cstring>

#include "base/utf8.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

// The fields of a unit of the double array (Darts-clone).
bool has_leaf(std::uint32_t unit) noexcept { return ((unit >> 8) & 1) != 0; }
std::uint32_t leaf_value(std::uint32_t unit) noexcept { return unit & 0x7FFFFFFFu; }
std::uint32_t label(std::uint32_t unit) noexcept { return unit & 0x800000FFu; }
bool is_continuation(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }
std::uint32_t child_offset(std::uint32_t unit) noexcept { return (unit >> 10) << ((unit & 0x200u) >> 6); }

}  // namespace

CharsMap::CharsMap(std::string_view blob, const std::string& place) {
  std::uint32_t trie_bytes = 0;
  if (blob.size() < sizeof trie_bytes)
    throw Error(ErrorKind::corrupt, fmt::format("{}: the table is too short: {} bytes", place, blob.size()));
  std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
  blob.remove_prefix(sizeof trie_bytes);
  if (trie_bytes > blob.size() || trie_bytes % 4 != 0 || trie_bytes == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: the trie claims {} bytes of {}", place, trie_bytes, blob.size()));
  units_.resize(trie_bytes / 4);
  std::memcpy(units_.data(), blob.data(), trie_bytes);
  replacements_ = std::string(blob.substr(trie_bytes));
  if (replacements_.empty() || replacements_.back() != '\0' || find_invalid_utf8(replacements_) != std::string::npos)
    throw Error(ErrorKind::corrupt, fmt::format("{}: the replacements are not NUL-terminated UTF-8", place));
}

std::size_t CharsMap::longest(std::string_view text, std::size_t& replacement) const noexcept {
  std::size_t length = 0;
  std::uint64_t node = child_offset(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) break;
    const std::uint32_t unit = units_[node];
    node ^= child_offset(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size() || leaf_value(units_[node]) >= replacements_.size()) break;
    // A table could match half a character or begin a replacement with the second half of one; the result would not be
    // UTF-8.
    const std::size_t start = leaf_value(units_[node]);
    if (is_continuation(replacements_[start]) || (i + 1 < text.size() && is_continuation(text[i + 1]))) continue;
    replacement = start;
    length = i + 1;
  }
  return length;
}

std::string CharsMap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    std::size_t replacement = 0;
    std::size_t length = longest(text, replacement);
    if (length > 0) {
      out += replacements_.c_str() + replacement;
    } else {
      next_code_point(text, length);
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

std::string CharsMap::blob() const {
  const auto trie_bytes = static_cast<std::uint32_t>(units_.size() * 4);
  std::string out(sizeof trie_bytes + trie_bytes, '\0');
  std::memcpy(out.data(), &trie_bytes, sizeof trie_bytes);
  std::memcpy(out.data() + sizeof trie_bytes, units_.data(), trie_bytes);
  return out + replacements_;
}

}  // namespace nibble::tokenizing
