// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/chars_map.h"

#include <fmt/format.h>

#include <cstring>

#include "base/graphemes.h"
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

template <class Visit>
void CharsMap::each_known(std::string_view text, Visit&& visit) const noexcept {
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
    if (!visit(i + 1, start)) break;
  }
}

std::size_t CharsMap::longest(std::string_view text, std::size_t& replacement) const noexcept {
  std::size_t longest = 0;
  each_known(text, [&](std::size_t length, std::size_t start) {
    longest = length;
    replacement = start;
    return true;
  });
  return longest;
}

const char* CharsMap::of_shortest(std::string_view text) const noexcept {
  const char* replacement = nullptr;
  each_known(text, [&](std::size_t, std::size_t start) {
    replacement = replacements_.c_str() + start;
    return false;
  });
  return replacement;
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

std::string CharsMap::apply_by_grapheme(std::string_view text) const {
  constexpr std::size_t kShort = 6;  // bytes
  std::string out;
  out.reserve(text.size());
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = grapheme_end(text, begin);
    const std::string_view grapheme = text.substr(begin, end - begin);
    const char* const whole = grapheme.size() < kShort ? of_shortest(grapheme) : nullptr;
    if (whole != nullptr) out += whole;
    for (std::size_t at = 0; at < grapheme.size() && whole == nullptr;) {
      const std::size_t before = at;
      next_code_point(grapheme, at);
      const std::string_view part = grapheme.substr(before, at - before);
      const char* const replacement = of_shortest(part);
      out += replacement != nullptr ? std::string_view(replacement) : part;
    }
    begin = end;
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
