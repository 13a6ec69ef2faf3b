// SPDX-License-Identifier: Apache-2.0
#include "io/packing/mxfp4.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "format/block/mxfp4.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"
#include "tensor/shape.h"

namespace nibble {
namespace {

constexpr std::uint64_t kColumns = Mxfp4::kInfo.columns, kCodeBytes = kColumns / 2;

class Mxfp4Rows final : public PackedRows {
 public:
  Mxfp4Rows(std::uint64_t rows, std::uint64_t groups, const Mxfp4Tensors& tensors)
      : PackedRows(find_format("mxfp4"), rows, groups * kColumns, nullptr),
        groups_(groups),
        blocks_(tensors.blocks.bytes),
        scales_(tensors.scales.bytes) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    auto* to = reinterpret_cast<Mxfp4::Block*>(out.row(at)[0]);
    const auto* codes = reinterpret_cast<const std::uint8_t*>(blocks_.data() + begin * groups_ * kCodeBytes);
    const auto* scales = reinterpret_cast<const std::uint8_t*>(scales_.data() + begin * groups_);
    for (std::uint64_t i = 0; i < (end - begin) * groups_; ++i, ++to, codes += kCodeBytes) {
      to->e = scales[i];
      read_adjacent(codes, kCodeBytes, to->qs);
    }
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override { return {blocks_, scales_}; }

  std::vector<std::span<const std::byte>> bytes_of_rows(std::uint64_t begin, std::uint64_t end) const override {
    const auto first = static_cast<std::size_t>(begin * groups_),
               count = static_cast<std::size_t>((end - begin) * groups_);
    return {blocks_.subspan(first * kCodeBytes, count * kCodeBytes), scales_.subspan(first, count)};
  }

 private:
  std::uint64_t groups_;
  std::span<const std::byte> blocks_, scales_;
};

}  // namespace

TensorSource read_mxfp4(const Mxfp4Tensors& tensors, const std::string& where) {
  const Shape& shape = tensors.scales.shape;
  if (shape.size() < 2)
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: scales should have two dimensions or more but are {}", where, shape_text(shape)));
  Shape of_blocks = shape;
  of_blocks.push_back(kCodeBytes);
  require_tensor(tensors.scales, "scales", DType::u8, shape, where);
  require_tensor(tensors.blocks, "blocks", DType::u8, of_blocks, where);
  const std::uint64_t groups = shape.back(), numbers = checked_elements(shape, where);
  if (numbers == 0) throw Error(ErrorKind::corrupt, fmt::format("{}: has no weights: {}", where, shape_text(shape)));
  return TensorSource(std::make_shared<Mxfp4Rows>(numbers / groups, groups, tensors));
}

Mxfp4Packed pack_mxfp4(const QuantizedView& view, const std::string& where) {
  if (view.format->name() != Mxfp4::kInfo.name)
    refuse_packing(where, fmt::format("MXFP4 cannot hold {}", view.format->name()));
  if (view.parts) require_only(parts_of(*view.parts), {}, "MXFP4", where);
  const std::uint64_t count = view.rows * view.cols / kColumns;
  Mxfp4Packed packed{blank_tensor(DType::u8, {view.rows, view.cols / 2}),
                     blank_tensor(DType::u8, {view.rows, view.cols / kColumns})};
  const auto* from = reinterpret_cast<const Mxfp4::Block*>(view.planes[0].data());
  auto* codes = reinterpret_cast<std::uint8_t*>(packed.blocks.bytes.data());
  auto* const scales = reinterpret_cast<std::uint8_t*>(packed.scales.bytes.data());
  for (std::uint64_t i = 0; i < count; ++i, ++from, codes += kCodeBytes) {
    scales[i] = from->e;
    write_adjacent(from->qs, kCodeBytes, codes);
  }
  return packed;
}

}  // namespace nibble
