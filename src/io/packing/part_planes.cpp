// SPDX-License-Identifier: Apache-2.0
#include "io/packing/part_planes.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace nibble {
namespace {

constexpr auto kSuffixes =
    std::to_array<std::string_view>({"input_order", "outlier_ends", "outlier_columns", "outlier_values", "input_signs",
                                     "output_signs", "tensor_scale"});

template <class T>
void add(std::vector<PartPlane>& planes, std::string_view suffix, DType dtype, std::span<const T> values) {
  Tensor tensor{dtype, {values.size()}, std::vector<std::byte>(values.size_bytes())};
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), values.size_bytes());
  planes.push_back({suffix, std::move(tensor)});
}

// T has the size of the plane's elements.
template <class T>
std::string read(const TensorView& plane, DType dtype, std::vector<T>& values) {
  if (plane.dtype != dtype || plane.shape.size() != 1)
    return "should be a list of " + std::string(dtype_name(dtype)) + " but is " + std::string(dtype_name(plane.dtype)) +
           " " + shape_text(plane.shape);
  values.resize(plane.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), plane.bytes.data(), values.size() * sizeof(T));
  return {};
}

// A bit each where they fill bytes, the least significant first, 1 for -1; else a byte each.
void add_signs(std::vector<PartPlane>& planes, std::string_view suffix, std::span<const std::int8_t> signs) {
  if (signs.empty()) return;
  if (signs.size() % 8 != 0) return add(planes, suffix, DType::i8, signs);
  std::vector<std::uint8_t> bits(signs.size() / 8);
  for (std::size_t i = 0; i < signs.size(); ++i)
    bits[i / 8] = static_cast<std::uint8_t>(bits[i / 8] | (signs[i] < 0 ? 1u << (i % 8) : 0u));
  add(planes, suffix, DType::u8, std::span<const std::uint8_t>(bits));
}

std::string read_signs(const TensorView& plane, std::vector<std::int8_t>& signs) {
  if (plane.dtype != DType::u8) return read(plane, DType::i8, signs);
  std::vector<std::uint8_t> bits;
  if (std::string why = read(plane, DType::u8, bits); !why.empty()) return why;
  signs.resize(bits.size() * 8);
  for (std::size_t i = 0; i < signs.size(); ++i)
    signs[i] = (bits[i / 8] >> (i % 8) & 1) != 0 ? std::int8_t{-1} : std::int8_t{1};
  return {};
}

}  // namespace

std::span<const std::string_view> part_suffixes() { return kSuffixes; }

std::vector<PartPlane> pack_parts(const TensorParts& parts) {
  std::vector<PartPlane> planes;
  if (!parts.input_order.empty())
    add(planes, "input_order", DType::i32, std::span<const std::uint32_t>(parts.input_order));
  if (!parts.outliers.empty()) {
    add(planes, "outlier_ends", DType::i64, std::span<const std::uint64_t>(parts.outliers.row_ends));
    add(planes, "outlier_columns", DType::i32, std::span<const std::uint32_t>(parts.outliers.columns));
    add(planes, "outlier_values", DType::f32, std::span<const float>(parts.outliers.values));
  }
  add_signs(planes, "input_signs", parts.input_transform.signs);
  add_signs(planes, "output_signs", parts.output_transform.signs);
  if (parts.tensor_scale) add(planes, "tensor_scale", DType::f32, std::span<const float>(&*parts.tensor_scale, 1));
  return planes;
}

// Negative numbers become large ones, which no order, end or column may be.
std::string unpack_part(std::string_view suffix, const TensorView& plane, TensorParts& parts) {
  if (suffix == "input_order") return read(plane, DType::i32, parts.input_order);
  if (suffix == "outlier_ends") return read(plane, DType::i64, parts.outliers.row_ends);
  if (suffix == "outlier_columns") return read(plane, DType::i32, parts.outliers.columns);
  if (suffix == "outlier_values") return read(plane, DType::f32, parts.outliers.values);
  if (suffix == "input_signs") return read_signs(plane, parts.input_transform.signs);
  if (suffix == "output_signs") return read_signs(plane, parts.output_transform.signs);
  if (suffix != "tensor_scale") return "is no plane of a part";
  std::vector<float> scale;
  if (std::string why = read(plane, DType::f32, scale); !why.empty()) return why;
  if (scale.size() != 1) return "should be one number but is " + shape_text(plane.shape);
  parts.tensor_scale = scale[0];
  return {};
}

}  // namespace nibble
