// SPDX-License-Identifier: Apache-2.0
#include "io/packing/planar_words.h"

#include <fmt/format.h>

#include <cstring>

#include "format/bit_pack.h"
#include "format/planar/format.h"

namespace nibble {

void require_tensor(const TensorView& tensor, std::string_view name, DType dtype, const Shape& shape,
                    const std::string& where) {
  if (tensor.dtype == dtype && tensor.shape == shape) return;
  throw MisfitError(fmt::format("{}: {} should be {} {} but is {} {}", where, name, dtype_name(dtype),
                                shape_text(shape), dtype_name(tensor.dtype), shape_text(tensor.shape)));
}

void refuse_packing(const std::string& where, const std::string& why) {
  throw Error(ErrorKind::unsupported, fmt::format("{}: {}", where, why));
}

ScaleType scale_type_of(const TensorView& scales, std::string_view name, const std::string& where) {
  switch (scales.dtype) {
    case DType::f16:
      return ScaleType::f16;
    case DType::bf16:
      return ScaleType::bf16;
    case DType::f32:
      return ScaleType::f32;
    default:
      refuse_packing(where, fmt::format("{} should be F16, BF16 or F32 but is {}", name, dtype_name(scales.dtype)));
  }
}

FormatPtr integer_format(unsigned bits, std::uint32_t group, bool is_asymmetric, ScaleType scale) {
  PlanarSpec spec;
  spec.bits = bits;
  spec.is_asymmetric = is_asymmetric;
  spec.grain = group == 0 ? PlanarGrain::row : PlanarGrain::group;
  spec.group = group;
  spec.scale = scale;
  return find_format(planar_name(spec));
}

const PlanarSpec& spec_to_pack(const QuantizedView& view, std::string_view who, PlanarPoints points,
                               std::initializer_list<TensorPart> taken, const std::string& where) {
  const PlanarSpec* const spec = find_planar_spec(*view.format);
  if (spec == nullptr || spec->points != points)
    refuse_packing(where, fmt::format("{} cannot hold {}", who, view.format->name()));
  if (view.parts) require_only(parts_of(*view.parts), taken, who, where);
  return *spec;
}

Tensor blank_tensor(DType dtype, Shape shape) {
  std::size_t bytes = dtype_size(dtype);
  for (const std::uint64_t extent : shape) bytes *= static_cast<std::size_t>(extent);
  return {dtype, std::move(shape), std::vector<std::byte>(bytes)};
}

std::vector<std::uint32_t> order_of_groups(const TensorView& groups, std::uint32_t group, std::uint64_t cols,
                                           const std::string& where) {
  const std::uint64_t size = group == 0 ? cols : group, count = num_groups(cols, group);
  std::vector<std::uint32_t> of_input(static_cast<std::size_t>(cols));
  std::memcpy(of_input.data(), groups.bytes.data(), groups.bytes.size());
  std::vector<std::uint64_t> taken(static_cast<std::size_t>(count));
  std::vector<std::uint32_t> order(of_input.size());
  bool is_moved = false;
  for (std::uint32_t input = 0; input < of_input.size(); ++input) {
    const std::uint32_t own = of_input[input];
    if (own >= count)
      throw Error(ErrorKind::corrupt, fmt::format("{}: input {} is in a group that there is not, of {}: {}", where,
                                                  input, count, static_cast<std::int32_t>(own)));
    const std::uint64_t at = own * size + taken[own]++;
    if (taken[own] > size || at >= cols)
      refuse_packing(
          where, fmt::format("group {} has more inputs than the {} of a group, which no format here has", own, size));
    order[static_cast<std::size_t>(at)] = input;
    is_moved = is_moved || at != input;
  }
  if (!is_moved) order.clear();
  return order;
}

Tensor groups_of_order(std::span<const std::uint32_t> order, std::uint32_t group, std::uint64_t cols) {
  Tensor groups = blank_tensor(DType::i32, {cols});
  const std::uint64_t size = group == 0 ? cols : group;
  for (std::uint64_t c = 0; c < cols; ++c) {
    const std::uint64_t input = order.empty() ? c : order[static_cast<std::size_t>(c)];
    const auto own = static_cast<std::uint32_t>(c / size);
    std::memcpy(groups.bytes.data() + 4 * input, &own, sizeof own);
  }
  return groups;
}

CodeOrder::CodeOrder(std::span<const std::uint32_t> order, unsigned bits)
    : order_(order), bits_(bits), given_(order.size()), moved_(order.size()) {}

void CodeOrder::gather(const std::byte* from, std::byte* to) {
  unpack_bits(from, 0, given_.size(), bits_, given_.data());
  for (std::size_t c = 0; c < order_.size(); ++c) moved_[c] = given_[order_[c]];
  pack_bits(moved_.data(), moved_.size(), bits_, 0, to);
}

void CodeOrder::scatter(const std::byte* from, std::byte* to) {
  unpack_bits(from, 0, given_.size(), bits_, given_.data());
  for (std::size_t c = 0; c < order_.size(); ++c) moved_[order_[c]] = given_[c];
  pack_bits(moved_.data(), moved_.size(), bits_, 0, to);
}

}  // namespace nibble
