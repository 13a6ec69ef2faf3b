// SPDX-License-Identifier: Apache-2.0
//
// A lock on a file (flock), so that two processes do not do the same work in one place. It is free again when its owner
// or the process ends, however that ends. Across machines where their file system passes locks on (NFS 4, Lustre with
// -o flock, CephFS); where there are none, everybody gets what is asked for.
//
//   const std::optional<FileLock> lock = FileLock::take("out.gguf.work/lock", FileLock::Kind::exclusive);
//   if (!lock) ...                                     // somebody else has it
#pragma once

#include <filesystem>
#include <optional>

namespace nibble {

class FileLock {
 public:
  enum class Kind {
    shared,     // beside others that are shared
    exclusive,  // alone
  };

  // Makes the file where there is none, and writes nothing to it. Does not wait: nothing where somebody else holds it
  // in another way. A file that was removed meanwhile is made again. Error(io) where it cannot be made.
  static std::optional<FileLock> take(const std::filesystem::path& path, Kind kind);

  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;

  // From shared to exclusive; false, and perhaps no lock any more, where others share it.
  bool become_exclusive() noexcept;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_ = -1;
};

}  // namespace nibble
