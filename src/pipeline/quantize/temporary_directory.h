// SPDX-License-Identifier: Apache-2.0
//
// A directory for work in progress, removed with all that is in it.
#pragma once

#include <filesystem>

namespace nibble {

class TemporaryDirectory {
 public:
  // Makes PARENT/nibble-XXXXXX; an empty parent stands for the system's temporary directory. Error(io) with the
  // system's reason.
  explicit TemporaryDirectory(const std::filesystem::path& parent);
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace nibble
