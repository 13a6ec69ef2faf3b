// SPDX-License-Identifier: Apache-2.0
//
// The printable alphabet in which byte-level BPE spells bytes: 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves,
// the other 68 follow in order from U+0100 (space is U+0120, newline U+010A). Pure functions, safe from many threads.
//
//   append_spelled(" a\n", out);   // "ĠaĊ"
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nibble::tokenizing {

char32_t spell_byte(std::uint8_t byte) noexcept;

void append_spelled(std::string_view bytes, std::string& out);

// Appends the bytes that `spelled` (well-formed UTF-8) stands for. False, and nothing appended, when a character is not
// in the alphabet.
bool append_unspelled(std::string_view spelled, std::string& out);

}  // namespace nibble::tokenizing
