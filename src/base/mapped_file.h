// SPDX-License-Identifier: Apache-2.0
//
// A file mapped read-only into memory. Pages come in when touched; `release` lets go of those that are no longer needed.
// Safe to read from many threads. A file that another process shortens while mapped ends in SIGBUS, as with any mapping.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace nibble {

class MappedFile {
 public:
  // Errors: not_found, io (with the system's reason). An empty file maps to an empty span. A directory is an error.
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::filesystem::path& path() const noexcept { return path_; }
  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }

  // Tells the system that these bytes will be read soon, in order / are no longer needed. Whole pages inside the range only.
  void will_need(std::span<const std::byte> range) const noexcept;
  void release(std::span<const std::byte> range) const noexcept;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace nibble
