// SPDX-License-Identifier: Apache-2.0
//
// What every fuzz target of a container does with its bytes: open them as a file, and if the reader takes them, touch
// all that it promises. An Error is the right answer to most inputs; anything else that is thrown, or a sanitizer's
// report, is a finding.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "io/checkpoint.h"
#include "nibble/error.h"

namespace nibble {

// A directory of this process alone, in memory, made once and removed at the end.
inline const std::filesystem::path& fuzz_directory() {
  struct Directory {
    Directory() {
      std::string name = "/dev/shm/nibble-fuzz-XXXXXX";
      if (!mkdtemp(name.data())) std::abort();
      path = name;
    }
    ~Directory() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
    std::filesystem::path path;
  };
  static const Directory directory;
  return directory.path;
}

inline std::filesystem::path fuzz_file(const std::string& name, std::string_view bytes) {
  const auto path = fuzz_directory() / name;
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

inline void open_and_decode(const std::filesystem::path& path) {
  constexpr std::uint64_t kMaxDecoded = 1u << 20;  // values a tensor
  try {
    const Checkpoint checkpoint = Checkpoint::open(path);
    for (const StoredTensor& tensor : checkpoint.tensors()) {
      std::uint64_t sum = 0;
      for (const std::byte byte : tensor.data) sum += std::to_integer<std::uint64_t>(byte);
      volatile std::uint64_t keep = sum;
      static_cast<void>(keep);
      if (tensor.values.format() && tensor.values.cols() <= kMaxDecoded / tensor.values.rows())
        static_cast<void>(tensor.values.decode());
      if (checkpoint.find(tensor.name) != &tensor) std::abort();
    }
  } catch (const Error&) {
  }
}

}  // namespace nibble
