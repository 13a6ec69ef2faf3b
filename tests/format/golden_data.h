// SPDX-License-Identifier: Apache-2.0
//
// Bytes that ggml's own code wrote and read, from tests/data/format: input.f32 is a [4, 1024] matrix, importance.f32
// one weight per column, NAME.plain and NAME.weighted its encodings without and with the importance, NAME.decoded.f32
// what ggml decodes from NAME.plain.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace nibble::golden {

inline constexpr std::uint64_t kRows = 4, kCols = 1024;

inline std::vector<std::byte> read_bytes(const std::string& file) {
  std::ifstream in(NIBBLE_SOURCE_DIR "/tests/data/format/" + file, std::ios::binary);
  if (!in) throw std::runtime_error("cannot open test data " + file);
  const std::vector<char> chars((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::vector<std::byte> bytes(chars.size());
  std::memcpy(bytes.data(), chars.data(), chars.size());
  return bytes;
}

inline std::vector<float> read_floats(const std::string& file) {
  const auto bytes = read_bytes(file);
  std::vector<float> floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), bytes.size());
  return floats;
}

// "q4_k" -> "q4_K", as the files spell it.
inline std::string file_stem(std::string name) {
  if (name.size() >= 2 && name.ends_with("_k")) name.back() = 'K';
  return name;
}

}  // namespace nibble::golden
