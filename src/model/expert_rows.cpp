// SPDX-License-Identifier: Apache-2.0
#include "model/expert_rows.h"

#include <cassert>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace nibble {
namespace {

class GatheredElements final : public PackedRows {
 public:
  GatheredElements(const QuantizedView& stack, std::uint64_t rows, std::uint64_t cols, const ElementPlaces& places)
      : PackedRows(stack.format, rows, cols, nullptr),
        bytes_(stack.planes.front()),
        size_(dtype_size(stack.specs.front().dtype)),
        places_(places) {
    assert(place(rows - 1, cols - 1) + size_ <= bytes_.size());
  }

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    std::byte* const to = out.planes.front().data() + at * cols() * size_;
    if (places_.column == 1) {
      for (std::uint64_t row = begin; row < end; ++row)
        std::memcpy(to + (row - begin) * cols() * size_, bytes_.data() + place(row, 0), cols() * size_);
      return;
    }
    if (size_ == 2)
      gather<2>(begin, end, to);
    else
      gather<4>(begin, end, to);
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override { return bytes_of_rows(0, rows()); }

  // Numbers of other matrices lie between them.
  std::vector<std::span<const std::byte>> bytes_of_rows(std::uint64_t begin, std::uint64_t end) const override {
    const std::size_t first = place(begin, 0);
    return {bytes_.subspan(first, place(end - 1, cols() - 1) + size_ - first)};
  }

 private:
  std::size_t place(std::uint64_t row, std::uint64_t column) const {
    return static_cast<std::size_t>(places_.begin + row * places_.row + column * places_.column) * size_;
  }

  // Rows side by side in the stack are written side by side.
  template <std::size_t kSize>
  void gather(std::uint64_t begin, std::uint64_t end, std::byte* to) const {
    for (std::uint64_t column = 0; column < cols(); ++column)
      for (std::uint64_t row = begin; row < end; ++row)
        std::memcpy(to + ((row - begin) * cols() + column) * kSize, bytes_.data() + place(row, column), kSize);
  }

  std::span<const std::byte> bytes_;
  std::size_t size_;  // of a number: 2 or 4 bytes
  ElementPlaces places_;
};

class GatheredRows final : public PackedRows {
 public:
  GatheredRows(const TensorSource& stack, std::uint64_t rows, std::uint64_t begin, std::uint64_t step)
      : PackedRows(stack.format(), rows, stack.cols(), nullptr),
        window_(stack.slice(begin, (rows - 1) * step + 1)),
        step_(step) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    QuantizedTensor room;
    const TensorRows read = window_.read_rows(begin * step_, (end - 1) * step_ + 1, room);
    for (std::uint64_t row = begin; row < end; ++row)
      out.copy_row(at + row - begin, read.planes, row * step_ - read.first);
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override { return window_.stored_bytes(); }

 private:
  TensorSource window_;  // from the first row to the last
  std::uint64_t step_;
};

}  // namespace

TensorSource gather_elements(const QuantizedView& stack, std::uint64_t rows, std::uint64_t cols,
                             const ElementPlaces& places) {
  return TensorSource(std::make_shared<GatheredElements>(stack, rows, cols, places));
}

TensorSource gather_rows(const TensorSource& stack, std::uint64_t rows, std::uint64_t begin, std::uint64_t step) {
  return TensorSource(std::make_shared<GatheredRows>(stack, rows, begin, step));
}

}  // namespace nibble
