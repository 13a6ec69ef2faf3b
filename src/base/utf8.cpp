// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

namespace nibble {
namespace {

struct Sequence {
  std::size_t length;  // bytes of the maximal subpart
  bool valid;
};

// The sequence at `offset`: its length when well-formed, else the length of the maximal subpart to replace.
Sequence sequence_at(std::string_view text, std::size_t offset) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(offset);
  if (lead < 0x80) return {1, true};
  std::size_t length = 0;
  unsigned char low = 0x80, high = 0xbf;  // bounds of the second byte
  if (lead >= 0xc2 && lead <= 0xdf)
    length = 2;
  else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;  // no surrogates
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;  // no more than U+10FFFF
  } else {
    return {1, false};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (offset + i >= text.size() || byte(offset + i) < low || byte(offset + i) > high) return {i, false};
    low = 0x80;
    high = 0xbf;
  }
  return {length, true};
}

}  // namespace

std::size_t find_invalid_utf8(std::string_view text) noexcept {
  for (std::size_t offset = 0; offset < text.size();) {
    const Sequence sequence = sequence_at(text, offset);
    if (!sequence.valid) return offset;
    offset += sequence.length;
  }
  return std::string_view::npos;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  for (std::size_t offset = 0; offset < text.size();) {
    const Sequence sequence = sequence_at(text, offset);
    if (sequence.valid)
      clean.append(text, offset, sequence.length);
    else
      clean += "\xef\xbf\xbd";
    offset += sequence.length;
  }
  return clean;
}

char32_t next_code_point(std::string_view text, std::size_t& offset) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const std::size_t start = offset;
  const std::size_t length = sequence_at(text, start).length;
  offset += length;
  switch (length) {
    case 1:
      return byte(start);
    case 2:
      return ((byte(start) & 0x1f) << 6) | (byte(start + 1) & 0x3f);
    case 3:
      return ((byte(start) & 0x0f) << 12) | ((byte(start + 1) & 0x3f) << 6) | (byte(start + 2) & 0x3f);
    default:
      return ((byte(start) & 0x07) << 18) | ((byte(start + 1) & 0x3f) << 12) | ((byte(start + 2) & 0x3f) << 6) |
             (byte(start + 3) & 0x3f);
  }
}

void append_utf8(std::string& text, char32_t c) {
  const auto put = [&](char32_t value) { text.push_back(static_cast<char>(static_cast<unsigned char>(value))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | (c >> 6));
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3f));
    put(0x80 | ((c >> 6) & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

}  // namespace nibble
