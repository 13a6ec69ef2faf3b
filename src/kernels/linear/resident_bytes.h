// SPDX-License-Identifier: Apache-2.0
//
// Memory for weights: zeroed pages straight from the system, so that a page belongs to the thread that first writes it,
// with huge pages asked for where the block is large.
#pragma once

#include <cstddef>
#include <utility>

namespace nibble {

class ResidentBytes {
 public:
  ResidentBytes() = default;
  explicit ResidentBytes(std::size_t size);  // Error(resource) when the system has no more
  ResidentBytes(ResidentBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  ResidentBytes& operator=(ResidentBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~ResidentBytes();

  std::byte* data() const noexcept { return data_; }  // 64-byte aligned
  std::size_t size() const noexcept { return size_; }
  template <class T>
  T* as(std::size_t offset = 0) const noexcept {
    return reinterpret_cast<T*>(data_ + offset);
  }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace nibble
