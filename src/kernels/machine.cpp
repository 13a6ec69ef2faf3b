// SPDX-License-Identifier: Apache-2.0
#include "kernels/machine.h"

#include <new>

#include "base/huge_pages.h"

namespace nibble {

void KernelScratch::Free::operator()(std::byte* p) const noexcept { ::operator delete[](p, std::align_val_t{64}); }

std::byte* KernelScratch::reserve(std::size_t bytes) {
  if (bytes > size_) {
    data_.reset();
    size_ = 0;
    data_.reset(static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{64})));
    size_ = bytes;
    ask_for_huge_pages(data_.get(), size_);
  }
  return data_.get();
}

}  // namespace nibble
