// SPDX-License-Identifier: Apache-2.0
//
// What a file is that was taken for a model or for text beside one, told by how it begins, and what to do about it.
// Pure functions, safe from any thread.
//
//   if (const auto foreign = describe_foreign_weights(start)) throw Error(ErrorKind::corrupt, path + ": this is " +
//   *foreign);
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

inline constexpr std::size_t kForeignStart = 512;  // bytes that are enough to tell

// In place of JSON or other text: a Git LFS pointer, a web page. "a Git LFS pointer, ...; fetch ..."; nullopt: nothing
// known.
std::optional<std::string> describe_foreign_text(std::string_view start);

// In place of safetensors or GGUF: the same, archives, pickles, other programs' weights, plain text, nothing at all.
std::optional<std::string> describe_foreign_weights(std::string_view start);

}  // namespace nibble
