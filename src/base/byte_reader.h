// SPDX-License-Identifier: Apache-2.0
//
// Reads little-endian values from untrusted bytes. Every read is checked against what is left by subtraction, never by
// adding sizes; a read past the end throws Error(corrupt) with the file, the field and the offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "nibble/error.h"

namespace nibble {

class ByteReader {
 public:
  // `source` names the file in messages.
  ByteReader(std::span<const std::byte> bytes, std::string source) : bytes_(bytes), source_(std::move(source)) {}

  std::size_t offset() const noexcept { return offset_; }
  std::size_t remaining() const noexcept { return bytes_.size() - offset_; }
  const std::string& source() const noexcept { return source_; }

  template <class T>
  T read(std::string_view field) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T), field).data(), sizeof(T));
    return value;
  }

  std::span<const std::byte> take(std::uint64_t count, std::string_view field) {
    if (count > remaining())
      throw Error(ErrorKind::corrupt, source_ + ": file ends inside " + std::string(field) + " at offset " +
                                          std::to_string(offset_) + ": needs " + std::to_string(count) +
                                          " bytes, has " + std::to_string(remaining()));
    const auto piece = bytes_.subspan(offset_, static_cast<std::size_t>(count));
    offset_ += static_cast<std::size_t>(count);
    return piece;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string source_;
  std::size_t offset_ = 0;
};

}  // namespace nibble
