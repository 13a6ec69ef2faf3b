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
  if (!parts.input_transform.signs.empty())
    add(planes, "input_signs", DType::i8, std::span<const std::int8_t>(parts.input_transform.signs));
  if (!parts.output_transform.signs.empty())
    add(planes, "output_signs", DType::i8, std::span<const std::int8_t>(parts.output_transform.signs));
  if (parts.tensor_scale) add(planes, "tensor_scale", DType::f32, std::span<const float>(&*parts.tensor_scale, 1));
  return planes;
}

// Negative numbers become large ones, which no order, end or column may be.
std::string unpack_part(std::string_view suffix, const TensorView& plane, TensorParts& parts) {
  if (suffix == "input_order") return read(plane, DType::i32, parts.input_order);
  if (suffix == "outlier_ends") return read(plane, DType::i64, parts.outliers.row_ends);
  if (suffix == "outlier_columns") return read(plane, DType::i32, parts.outliers.columns);
  if (suffix == "outlier_values") return read(plane, DType::f32, parts.outliers.values);
  if (suffix == "input_signs") return read(plane, DType::i8, parts.input_transform.signs);
  if (suffix == "output_signs") return read(plane, DType::i8, parts.output_transform.signs);
  if (suffix != "tensor_scale") return "is no plane of a part";
  std::vector<float> scale;
  if (std::string why = read(plane, DType::f32, scale); !why.empty()) return why;
  if (scale.size() != 1) return "should be one number but is " + shape_text(plane.shape);
  parts.tensor_scale = scale[0];
  return {};
}

}  // namespace nibble
