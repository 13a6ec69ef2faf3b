// SPDX-License-Identifier: Apache-2.0
//
// Files made byte by byte, so that tests can damage them in one named way, and a directory that goes away with the
// test.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>

#include "nibble/error.h"

namespace nibble {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "nibble-io-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("cannot make a temporary directory");
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& name, std::string_view bytes) const {
    const auto path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  std::size_t num_entries() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Little-endian bytes, put one after another.
class Bytes {
 public:
  template <class T>
  Bytes& put(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    text_.append(raw, sizeof(T));
    return *this;
  }
  Bytes& u8(std::uint8_t v) { return put(v); }
  Bytes& u16(std::uint16_t v) { return put(v); }
  Bytes& u32(std::uint32_t v) { return put(v); }
  Bytes& u64(std::uint64_t v) { return put(v); }
  Bytes& raw(std::string_view v) {
    text_ += v;
    return *this;
  }
  Bytes& string(std::string_view v) { return u64(v.size()).raw(v); }  // as GGUF stores it
  Bytes& zeros(std::size_t count) {
    text_.append(count, '\0');
    return *this;
  }
  Bytes& pad(std::size_t multiple) { return zeros((multiple - text_.size() % multiple) % multiple); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

inline std::string safetensors_file(std::string_view header, std::size_t data_bytes) {
  return Bytes().u64(header.size()).raw(header).zeros(data_bytes).text();
}

// One tensor's entry of a GGUF file.
struct GgufEntry {
  std::string name;
  std::vector<std::uint64_t> ne;  // innermost first
  std::uint32_t type = 0;
  std::uint64_t offset = 0;
};

inline void put_gguf_entry(Bytes& bytes, const GgufEntry& entry) {
  bytes.string(entry.name).u32(static_cast<std::uint32_t>(entry.ne.size()));
  for (const std::uint64_t extent : entry.ne) bytes.u64(extent);
  bytes.u32(entry.type).u64(entry.offset);
}

// items: the bytes of num_items keys and values.
inline std::string gguf_file(std::uint64_t num_items, std::string_view items, const std::vector<GgufEntry>& entries,
                             std::size_t data_bytes, std::size_t alignment = 32) {
  Bytes bytes;
  bytes.raw("GGUF").u32(3).u64(entries.size()).u64(num_items).raw(items);
  for (const GgufEntry& entry : entries) put_gguf_entry(bytes, entry);
  if (!entries.empty()) bytes.pad(alignment);
  return bytes.zeros(data_bytes).text();
}

// The message of the Error that `act` throws, with `path` written as "FILE".
inline std::string error_of(const std::function<void()>& act, const std::filesystem::path& path,
                            ErrorKind* kind = nullptr) {
  try {
    act();
  } catch (const Error& e) {
    if (kind) *kind = e.kind();
    std::string message = e.what();
    const std::string from = path.string();
    for (std::size_t at = message.find(from); at != std::string::npos; at = message.find(from))
      message.replace(at, from.size(), "FILE");
    return message;
  }
  return "no error";
}

}  // namespace nibble
