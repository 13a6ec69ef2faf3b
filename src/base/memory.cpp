// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "base/platform.h"

#if NIBBLE_APPLE
#include <sys/sysctl.h>
#endif

namespace nibble {

namespace {

// "max" and files that are not there count as no limit.
std::optional<std::uint64_t> number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

// Pages of files, which the group's use counts and which go when memory is asked for.
std::uint64_t cached_bytes(const std::filesystem::path& statistics) {
  std::ifstream file(statistics);
  std::uint64_t total = 0, value = 0;
  for (std::string key; file >> key >> value;)
    if (key == "inactive_file" || key == "active_file") total += value;
  return total;
}

}  // namespace

std::optional<std::uint64_t> memory_left_in_group(const std::filesystem::path& folder) {
  const auto limit = number_in(folder / "memory.max"), used = number_in(folder / "memory.current");
  if (!limit || !used) return std::nullopt;
  const std::uint64_t held = *used - std::min(*used, cached_bytes(folder / "memory.stat"));
  return *limit - std::min(*limit, held);
}

#if NIBBLE_APPLE
// Of pages that are in use most can be had: what the machine has is the bound.
std::uint64_t available_memory() {
  std::uint64_t bytes = 0;
  std::size_t size = sizeof bytes;
  return sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? bytes : std::numeric_limits<std::uint64_t>::max();
}
#else
std::uint64_t available_memory() {
  std::uint64_t available = std::numeric_limits<std::uint64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  for (std::string word; meminfo >> word;) {
    std::uint64_t kilobytes = 0;
    if (word == "MemAvailable:" && meminfo >> kilobytes) available = kilobytes * 1024;
  }
  return std::min(available, memory_left_in_group("/sys/fs/cgroup").value_or(available));
}
#endif

}  // namespace nibble
