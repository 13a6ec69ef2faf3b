// SPDX-License-Identifier: Apache-2.0
#include "model/latent_rows.h"

#include <algorithm>
#include <cassert>
#include <memory>
#include <utility>
#include <vector>

namespace nibble {
namespace {

FormatPtr common_format(const TensorSource& keys, const TensorSource& values) {
  const bool is_one = keys.format()->name() == values.format()->name();
  return is_one && keys.format()->info().kind == FormatKind::raw ? keys.format() : find_format("f32");
}

class LatentRows final : public PackedRows {
 public:
  LatentRows(TensorSource keys, TensorSource values, const LatentHalfShape& shape)
      : PackedRows(common_format(keys, values), shape.heads * (shape.key_dim + shape.value_dim), values.cols(),
                   nullptr),
        keys_(std::move(keys)),
        values_(std::move(values)),
        shape_(shape) {
    assert(keys_.rows() == shape.heads * cols() && keys_.cols() == shape.key_dim);
    assert(values_.rows() == shape.heads * shape.value_dim);
  }

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const std::uint64_t of_head = shape_.key_dim + shape_.value_dim;
    std::vector<float> row(cols()), turned;
    QuantizedTensor keys_room, values_room;
    for (std::uint64_t r = begin; r < end; ++r) {
      const std::uint64_t head = r / of_head, i = r % of_head;
      if (i >= shape_.key_dim) {
        const std::uint64_t value = head * shape_.value_dim + i - shape_.key_dim;
        values_.read_rows(value, value + 1, values_room).decode_row(value, row);
      } else {
        if (turned.empty() || r == begin || i == 0) turned = keys_of(head, keys_room);
        for (std::uint64_t c = 0; c < cols(); ++c) row[c] = turned[c * shape_.key_dim + i];
      }
      format()->encode_row(row, {}, nullptr, at + r - begin, {}, out.row(at + r - begin));
    }
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override {
    std::vector<std::span<const std::byte>> all = keys_.stored_bytes();
    const auto others = values_.stored_bytes();
    all.insert(all.end(), others.begin(), others.end());
    return all;
  }

 private:
  // [latent, key_dim]
  std::vector<float> keys_of(std::uint64_t head, QuantizedTensor& room) const {
    std::vector<float> block(cols() * shape_.key_dim);
    const TensorRows rows = keys_.read_rows(head * cols(), (head + 1) * cols(), room);
    for (std::uint64_t c = 0; c < cols(); ++c)
      rows.decode_row(head * cols() + c, std::span(block).subspan(c * shape_.key_dim, shape_.key_dim));
    return block;
  }

  TensorSource keys_, values_;
  LatentHalfShape shape_;
};

}  // namespace

TensorSource join_latent_halves(const TensorSource& keys, const TensorSource& values, const LatentHalfShape& shape) {
  return TensorSource(std::make_shared<LatentRows>(keys, values, shape));
}

}  // namespace nibble
