// SPDX-License-Identifier: Apache-2.0
//
// Zeroed memory for what a walk keeps of all windows: the process's own, or a file without a name that is mapped, so
// that the system writes pages out instead of running short of memory. The file's room is taken at once, and is free
// again when the owner or the process ends.
//
//   SpillableBytes hidden(size, "");                 // in memory
//   SpillableBytes hidden(size, "models");           // on the disk of that directory
//   hidden.release(begin, count);                    // not needed for a while: the contents stay
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>

#include "kernels/linear/resident_bytes.h"

namespace nibble {

class SpillableBytes {
 public:
  SpillableBytes() = default;
  // Errors: resource when there is no room, io when the directory takes no file; both name the directory.
  SpillableBytes(std::size_t size, const std::filesystem::path& directory);

  template <class T>
  T* as(std::size_t offset = 0) const noexcept {
    return reinterpret_cast<T*>((file_ ? file_.get() : memory_.data()) + offset);
  }
  std::size_t size() const noexcept { return size_; }
  // Whole pages of the file in this range need not stay in memory; nothing happens to memory of the process's own.
  void release(std::size_t begin, std::size_t count) const noexcept;

 private:
  struct Unmap {
    std::size_t size;
    void operator()(std::byte* memory) const noexcept;
  };

  std::size_t size_ = 0;
  ResidentBytes memory_;
  std::unique_ptr<std::byte, Unmap> file_;
};

}  // namespace nibble
