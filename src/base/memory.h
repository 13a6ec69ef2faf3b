// SPDX-License-Identifier: Apache-2.0
//
// How much memory there is to be had. Safe from any thread.
//
//   if (needed > available_memory()) throw Error(ErrorKind::resource, ...);
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace nibble {

// Bytes that this process may still take: the smaller of what the system calls available and what its cgroup leaves;
// the largest number when neither can be read.
std::uint64_t available_memory();

// What a cgroup (v2) leaves, by the files of its folder: its limit less what it uses, files that are only cached not
// counted. nullopt: no limit.
std::optional<std::uint64_t> memory_left_in_group(const std::filesystem::path& folder);

}  // namespace nibble
