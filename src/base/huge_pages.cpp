// SPDX-License-Identifier: Apache-2.0
#include "base/huge_pages.h"

#include <cstdint>

#include "base/platform.h"

#if NIBBLE_LINUX
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace nibble {

#if NIBBLE_LINUX
void ask_for_huge_pages(void* memory, std::size_t size) noexcept {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  if (size < 4 * kHugePage) return;
  // Whole pages of the system: what lies beside the block is its neighbours'.
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE)),
             begin = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t skipped = (page - begin % page) % page;
  madvise(static_cast<std::byte*>(memory) + skipped, (size - skipped) / page * page, MADV_HUGEPAGE);
}
#else
void ask_for_huge_pages(void*, std::size_t) noexcept {}
#endif

}  // namespace nibble
