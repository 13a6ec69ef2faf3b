// SPDX-License-Identifier: Apache-2.0
#include "format/reordered_columns.h"

#include <cstring>
#include <utility>

namespace nibble {
namespace {

class ReorderedColumns final : public PackedRows {
 public:
  ReorderedColumns(const TensorSource& source, std::vector<std::uint32_t> order)
      : PackedRows(find_raw_format(DType::f32), source.rows(), source.cols(), nullptr),
        source_(source),
        order_(std::move(order)) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    QuantizedTensor room;
    const TensorRows read = source_.read_rows(begin, end, room);
    std::vector<float> row(cols()), moved(cols());
    for (std::uint64_t r = begin; r < end; ++r) {
      read.decode_row(r, row);
      for (std::size_t c = 0; c < moved.size(); ++c) moved[c] = row[order_[c]];
      std::memcpy(out.row(at + r - begin)[0], moved.data(), moved.size() * sizeof(float));
    }
  }
  std::vector<std::span<const std::byte>> stored_bytes() const override { return source_.stored_bytes(); }

 private:
  TensorSource source_;
  std::vector<std::uint32_t> order_;
};

}  // namespace

TensorSource reordered_columns(const TensorSource& source, std::vector<std::uint32_t> order) {
  return TensorSource(std::make_shared<const ReorderedColumns>(source, std::move(order)));
}

}  // namespace nibble
