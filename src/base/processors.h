// SPDX-License-Identifier: Apache-2.0
//
// The processors that this process may use.
//
//   ThreadPool pool(available_processors());
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace nibble {

// The smaller of the affinity mask's count and the cgroup quota in whole processors, at least 1.
std::size_t available_processors();

// The numbers of the processors in the calling thread's affinity mask, ascending. Empty when the system does not tell.
std::vector<int> affinity_mask();

// Restricts the calling thread to one processor; what the system refuses is left as it was.
void pin_this_thread(int processor) noexcept;

// The tightest processor quota among a cgroup and those it lies in, rounded down, at least 1; nothing when there is
// none. mount: where cgroups are mounted, usually /sys/fs/cgroup. membership: the text of /proc/self/cgroup. Reads
// cpu.max (version 2) and cpu.cfs_quota_us (version 1, controller "cpu").
std::optional<std::size_t> quota_processors(const std::filesystem::path& mount, std::string_view membership);

}  // namespace nibble
