// SPDX-License-Identifier: Apache-2.0
//
// What a file is by its first bytes: archives, documents, other programs' weights, encodings of text. One list for all
// who are given such a file in place of another. Pure functions, safe from any thread.
//
//   if (const FileSignature* known = find_signature(start)) ...   // known->what: "a gzip archive"
#pragma once

#include <cstddef>
#include <string_view>

namespace nibble {

// as_text, as_weights: how the sentence goes on where text or weights are wanted ("; unpack it first"); empty where it
// is left to others to tell.
struct FileSignature {
  std::size_t offset;
  std::string_view bytes, what, as_text, as_weights;
};

// Null for none of the list.
const FileSignature* find_signature(std::string_view start) noexcept;

// A safetensors file: a header's length of less than 4 GiB in eight bytes, then its JSON. start: 9 bytes or more, where
// the file has them.
bool has_safetensors_start(std::string_view start) noexcept;

// What stands in place of a file that Git LFS keeps elsewhere.
bool is_lfs_pointer(std::string_view start) noexcept;

// A page in HTML, which servers send for what they do not have.
bool is_web_page(std::string_view start);

}  // namespace nibble
