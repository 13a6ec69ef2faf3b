// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/resident_bytes.h"

#include <sys/mman.h>

#include <string>

#include "base/huge_pages.h"
#include "nibble/error.h"

namespace nibble {

ResidentBytes::ResidentBytes(std::size_t size) : size_(size) {
  if (size == 0) return;
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw Error(ErrorKind::resource, "no memory for weights; close other programs or choose a smaller format; bytes: " +
                                         std::to_string(size));
  ask_for_huge_pages(memory, size);
  data_ = static_cast<std::byte*>(memory);
}

ResidentBytes::~ResidentBytes() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace nibble
