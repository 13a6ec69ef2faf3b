// SPDX-License-Identifier: Apache-2.0
//
// Files that appear whole or not at all: written beside their final place under a temporary name, renamed by commit().
// Without commit() the destructor removes what was written.
//
//   OutputFile out("model.gguf");
//   out.write(header); out.write_at(offset, tensor); out.commit();
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace nibble {

class OutputFile {
 public:
  // Where `path` is a symbolic link, what it points to is written and replaced. Creates PATH.partial-PID-N in the same
  // directory. Errors: io, with the path and the system's reason.
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;

  // Appends. A full disk or a failed write is Error(resource or io) that names the final path.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);  // does not move the append position
  std::uint64_t size() const noexcept { return size_; }                   // the append position

  const std::filesystem::path& path() const noexcept { return path_; }
  const std::filesystem::path& temporary_path() const noexcept {
    return temporary_;
  }  // shows all that was written: nothing is buffered

  // Renames over path(). sync asks for fsync of file and directory first.
  void commit(bool sync = false);

 private:
  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

// The end of a file's name that tells its kind, in small letters: ".gguf" of "X.GGUF".
std::string lower_extension(const std::filesystem::path& path);

// Bytes that may still be written where `path` would lie; the largest number when the system does not tell.
std::uint64_t free_disk_space(const std::filesystem::path& path) noexcept;

// Error(io) where the directory that `path` would lie in is missing: names it, and says to create it.
void require_directory_of(const std::filesystem::path& path);

// Before an output of known size is begun: Error(resource) with both numbers when the disk has less room than that.
void require_disk_space(const std::filesystem::path& path, std::uint64_t bytes);

// Removes what a process that is no more (killed, or the machine went down) left of an output of this name:
// PATH.partial-PID-N. Only this machine's processes are known. Never fails.
void remove_abandoned_partials(const std::filesystem::path& path) noexcept;

// What an OutputDirectory takes the place of: nothing, an empty directory, one that nibble wrote.
bool is_replaceable_directory(const std::filesystem::path& path);

// A directory that appears whole or not at all; where `path` is a symbolic link, what it points to. If `path` exists
// and is not empty, commit() refuses unless the constructor found a previous nibble output there (config.json with
// quantization_config) or the directory was empty.
class OutputDirectory {
 public:
  explicit OutputDirectory(std::filesystem::path path);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;
  const std::filesystem::path& path() const noexcept { return path_; }
  const std::filesystem::path& temporary_path() const noexcept { return temporary_; }  // write files in here
  void commit(bool sync = false);

 private:
  std::filesystem::path path_, temporary_;
  bool committed_ = false;
};

}  // namespace nibble
