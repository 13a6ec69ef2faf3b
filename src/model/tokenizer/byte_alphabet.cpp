// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/byte_alphabet.h"

#include <array>

#include "base/utf8.h"

namespace nibble::tokenizing {
namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr unsigned kFirstShifted = 0x100;
constexpr unsigned kNumShifted = 68;

struct Alphabet {
  std::array<std::uint16_t, 256> character{};       // byte -> code point
  std::array<std::uint8_t, kNumShifted> shifted{};  // code point - 0x100 -> byte
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  unsigned next = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (stands_for_itself(byte)) {
      alphabet.character[byte] = static_cast<std::uint16_t>(byte);
    } else {
      alphabet.character[byte] = static_cast<std::uint16_t>(kFirstShifted + next);
      alphabet.shifted[next++] = static_cast<std::uint8_t>(byte);
    }
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

char32_t spell_byte(std::uint8_t byte) noexcept { return kAlphabet.character[byte]; }

void append_spelled(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    const unsigned character = kAlphabet.character[static_cast<std::uint8_t>(c)];
    if (character < 0x80) {
      out.push_back(static_cast<char>(character));
    } else {
      out.push_back(static_cast<char>(0xC0 | (character >> 6)));
      out.push_back(static_cast<char>(0x80 | (character & 0x3F)));
    }
  }
}

bool append_unspelled(std::string_view spelled, std::string& out) {
  const std::size_t before = out.size();
  for (std::size_t at = 0; at < spelled.size();) {
    const char32_t character = next_code_point(spelled, at);
    if (character < 0x100 && stands_for_itself(character)) {
      out.push_back(static_cast<char>(character));
    } else if (character >= kFirstShifted && character < kFirstShifted + kNumShifted) {
      out.push_back(static_cast<char>(kAlphabet.shifted[character - kFirstShifted]));
    } else {
      out.resize(before);
      return false;
    }
  }
  return true;
}

}  // namespace nibble::tokenizing
