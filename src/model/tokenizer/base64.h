// SPDX-License-Identifier: Apache-2.0
//
// RFC 4648 base64, for the binary tables that tokenizer.json carries as text. Pure functions, safe from many threads.
//
//   const auto bytes = decode_base64("bmliYmxl");   // "nibble"
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nibble::tokenizing {

std::optional<std::string> decode_base64(std::string_view text);  // nullopt: not base64
std::string encode_base64(std::string_view bytes);

}  // namespace nibble::tokenizing
