// SPDX-License-Identifier: Apache-2.0
#include "base/processors.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "base/platform.h"

#if NIBBLE_LINUX
#include <sched.h>
#endif

namespace nibble {
namespace {

// Quota over period, or nothing for no limit ("max" or -1) and no such file.
std::optional<double> quota_of(const std::filesystem::path& group) {
  std::string quota;
  double period = 0;
  if (std::ifstream file(group / "cpu.max"); !(file >> quota >> period)) {
    std::ifstream quota_file(group / "cpu.cfs_quota_us"), period_file(group / "cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period)) return std::nullopt;
  }
  char* end = nullptr;
  const double allowed = std::strtod(quota.c_str(), &end);
  if (end == quota.c_str() || allowed <= 0 || period <= 0) return std::nullopt;
  return allowed / period;
}

// Quotas of `root / path` and of every group above it, up to and with root.
void tighten(const std::filesystem::path& root, std::filesystem::path path, std::optional<double>& tightest) {
  for (path = path.relative_path();; path = path.parent_path()) {
    if (const auto quota = quota_of(root / path)) tightest = std::min(*quota, tightest.value_or(*quota));
    if (path.empty()) return;
  }
}

bool names_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    const std::size_t comma = controllers.find(',');
    if (controllers.substr(0, comma) == "cpu") return true;
    if (comma == std::string_view::npos) return false;
    controllers.remove_prefix(comma + 1);
  }
  return false;
}

std::string text_of(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

std::optional<std::size_t> quota_processors(const std::filesystem::path& mount, std::string_view membership) {
  std::optional<double> tightest;
  while (!membership.empty()) {  // lines "number:controllers:path"; version 2 has no controllers
    const std::string_view line = membership.substr(0, membership.find('\n'));
    membership.remove_prefix(std::min(line.size() + 1, membership.size()));
    const std::size_t first = line.find(':'),
                      second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers.empty()) tighten(mount, path, tightest);
    if (names_cpu(controllers)) tighten(mount / controllers, path, tightest);
  }
  if (!tightest) return std::nullopt;
  return std::max<std::size_t>(static_cast<std::size_t>(*tightest), 1);
}

#if NIBBLE_LINUX
std::vector<int> affinity_mask() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> processors;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) processors.push_back(i);
  return processors;
}

void pin_this_thread(int processor) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}
#else
// Other systems say nothing of it, and place threads themselves.
std::vector<int> affinity_mask() { return {}; }
void pin_this_thread(int) noexcept {}
#endif

std::size_t available_processors() {
  const std::vector<int> mask = affinity_mask();
  std::size_t count = mask.empty() ? std::thread::hardware_concurrency() : mask.size();
  if (const auto quota = quota_processors("/sys/fs/cgroup", text_of("/proc/self/cgroup")))
    count = std::min(count, *quota);
  return std::max<std::size_t>(count, 1);
}

}  // namespace nibble
