// SPDX-License-Identifier: Apache-2.0
//
// A file mapped read-only into memory. Pages come in when touched; `release` lets go of those that are no longer
// needed. Safe to read from many threads.
//
// A mapping shows what another process writes into the file. One that is written over gives a mixture, which
// has_changed() tells afterwards; one that is shortened ends in SIGBUS when a page is touched that is no longer there.
// A file that is replaced by renaming another one over it stays as it was. A program that embeds the library and maps
// files that others may shorten installs a handler (the command does).
#pragma once

#include <cstddef>
#include <cstdint>
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

  // True when the file has another size or was written to since it was mapped.
  bool has_changed() const noexcept;

  // Tells the system that these bytes will be read soon, in order / are no longer needed. Whole pages inside the range
  // only.
  void will_need(std::span<const std::byte> range) const noexcept;
  void release(std::span<const std::byte> range) const noexcept;

 private:
  // What the system says of the file, to the nanosecond.
  struct Stamp {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t seconds = 0, nanoseconds = 0;
  };

  std::filesystem::path path_;
  Stamp stamp_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace nibble
