// SPDX-License-Identifier: Apache-2.0
#include "format/tensor_parts.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "nibble/error.h"

namespace nibble {

namespace {

constexpr std::string_view kHadamard = "hadamard";

// x = H x / sqrt(size) for each run of `size` values that lie `stride` apart.
void transform_runs(std::uint32_t size, std::size_t channels, std::size_t stride, float* x) {
  const float factor = 1.0f / std::sqrt(static_cast<float>(size));
  for (std::size_t begin = 0; begin < channels; begin += size) {
    float* const run = x + begin * stride;
    for (std::size_t half = 1; half < size; half *= 2)
      for (std::size_t i = 0; i < size; i += 2 * half)
        for (std::size_t j = i; j < i + half; ++j) {
          const float a = run[j * stride], b = run[(j + half) * stride];
          run[j * stride] = a + b;
          run[(j + half) * stride] = a - b;
        }
    for (std::size_t i = 0; i < size; ++i) run[i * stride] *= factor;
  }
}

std::optional<std::string> find_transform_defect(const ChannelTransform& transform, std::uint64_t channels,
                                                 std::string_view what) {
  if (transform.empty()) {
    if (transform.signs.empty()) return std::nullopt;
    return std::string(what) + " has signs and no size";
  }
  if (!std::has_single_bit(transform.size) || channels % transform.size != 0)
    return std::string(what) + " should have a power of two that divides " + std::to_string(channels) +
           " channels: " + transform.name();
  if (transform.signs.empty()) return std::nullopt;
  if (transform.signs.size() != channels) return std::string(what) + " should have a sign for every channel";
  if (std::ranges::any_of(transform.signs, [](std::int8_t sign) { return sign != 1 && sign != -1; }))
    return std::string(what) + " has a sign that is neither 1 nor -1";
  return std::nullopt;
}

std::optional<std::string> find_order_defect(std::span<const std::uint32_t> order, std::uint64_t cols) {
  if (order.empty()) return std::nullopt;
  if (order.size() != cols) return "the input order should name every column once";
  std::vector<bool> seen(order.size(), false);
  for (std::size_t c = 0; c < order.size(); ++c) {
    if (order[c] >= cols || seen[order[c]])
      return "the input order names an input that is not there or twice at column " + std::to_string(c);
    seen[order[c]] = true;
  }
  return std::nullopt;
}

std::optional<std::string> find_outlier_defect(const SparseOutliers& outliers, std::uint64_t rows, std::uint64_t cols) {
  if (outliers.row_ends.empty() && outliers.columns.empty() && outliers.values.empty()) return std::nullopt;
  if (outliers.row_ends.size() != rows || outliers.columns.size() != outliers.values.size())
    return "the outliers should have an end for every row and a value for every column";
  std::uint64_t begin = 0;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::uint64_t end = outliers.row_ends[static_cast<std::size_t>(row)];
    if (end < begin || end > outliers.columns.size()) return "the outliers' rows overlap at row " + std::to_string(row);
    for (std::uint64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (outliers.columns[at] >= cols || (i > begin && outliers.columns[at] <= outliers.columns[at - 1]))
        return "the outliers' columns are not ascending or not there at row " + std::to_string(row);
      if (!std::isfinite(outliers.values[at])) return "an outlier is not finite at row " + std::to_string(row);
    }
    begin = end;
  }
  if (begin != outliers.columns.size()) return "there are outliers behind the last row";
  return std::nullopt;
}

}  // namespace

std::string ChannelTransform::name() const { return std::string(kHadamard) + std::to_string(size); }

std::string_view part_name(TensorPart part) {
  switch (part) {
    case TensorPart::input_order:
      return "input order";
    case TensorPart::sparse_outliers:
      return "sparse outliers";
    case TensorPart::input_transform:
      return "input transform";
    case TensorPart::output_transform:
      return "output transform";
    case TensorPart::tensor_scale:
      return "tensor scale";
    case TensorPart::row_tile:
      return "row tile";
  }
  return "?";
}

std::vector<TensorPart> parts_of(const TensorParts& parts) {
  std::vector<TensorPart> list;
  if (!parts.input_order.empty()) list.push_back(TensorPart::input_order);
  if (!parts.outliers.empty()) list.push_back(TensorPart::sparse_outliers);
  if (!parts.input_transform.empty()) list.push_back(TensorPart::input_transform);
  if (!parts.output_transform.empty()) list.push_back(TensorPart::output_transform);
  if (parts.tensor_scale) list.push_back(TensorPart::tensor_scale);
  return list;
}

std::string part_names(std::span<const TensorPart> parts) {
  std::string names;
  for (const TensorPart part : parts) names.append(names.empty() ? "" : ", ").append(part_name(part));
  return names;
}

void require_only(std::span<const TensorPart> parts, std::initializer_list<TensorPart> taken, std::string_view who,
                  std::string_view whose) {
  std::vector<TensorPart> others;
  for (const TensorPart part : parts)
    if (std::ranges::find(taken, part) == taken.end()) others.push_back(part);
  if (!others.empty())
    throw Error(ErrorKind::unsupported,
                std::string(whose) + " has what " + std::string(who) + " cannot have: " + part_names(others));
}

std::optional<std::string> find_parts_defect(const TensorParts& parts, std::uint64_t rows, std::uint64_t cols) {
  if (auto defect = find_order_defect(parts.input_order, cols)) return defect;
  if (auto defect = find_outlier_defect(parts.outliers, rows, cols)) return defect;
  if (auto defect = find_transform_defect(parts.input_transform, cols, "the input transform")) return defect;
  if (auto defect = find_transform_defect(parts.output_transform, rows, "the output transform")) return defect;
  if (parts.tensor_scale && !(std::isfinite(*parts.tensor_scale) && *parts.tensor_scale > 0))
    return "the tensor scale is not a positive number";
  return std::nullopt;
}

std::optional<std::uint32_t> parse_transform(std::string_view name) {
  std::uint32_t size = 0;
  if (!name.starts_with(kHadamard)) return std::nullopt;
  name.remove_prefix(kHadamard.size());
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), size);
  if (code != std::errc{} || end != name.data() + name.size() || name.front() == '0') return std::nullopt;
  return size;
}

void apply_to_row(const TensorParts& parts, std::uint64_t row, std::span<float> values) {
  if (!parts.outliers.empty()) {
    const auto r = static_cast<std::size_t>(row);
    const std::uint64_t begin = r == 0 ? 0 : parts.outliers.row_ends[r - 1];
    for (auto i = static_cast<std::size_t>(begin); i < parts.outliers.row_ends[r]; ++i)
      values[parts.outliers.columns[i]] = parts.outliers.values[i];
  }
  if (parts.tensor_scale)
    for (float& value : values) value *= *parts.tensor_scale;
  if (!parts.input_order.empty()) {
    const std::vector<float> coded(values.begin(), values.end());
    for (std::size_t c = 0; c < coded.size(); ++c) values[parts.input_order[c]] = coded[c];
  }
  if (!parts.input_transform.empty()) {
    transform_runs(parts.input_transform.size, values.size(), 1, values.data());
    for (std::size_t c = 0; c < parts.input_transform.signs.size(); ++c)
      values[c] *= static_cast<float>(parts.input_transform.signs[c]);
  }
}

void apply_output_transform(const ChannelTransform& transform, std::uint64_t rows, std::uint64_t cols,
                            std::span<float> matrix) {
  if (transform.empty()) return;
  const auto width = static_cast<std::size_t>(cols);
  for (std::size_t c = 0; c < width; ++c)
    transform_runs(transform.size, static_cast<std::size_t>(rows), width, matrix.data() + c);
  for (std::size_t r = 0; r < transform.signs.size(); ++r)
    for (std::size_t c = 0; c < width; ++c) matrix[r * width + c] *= static_cast<float>(transform.signs[r]);
}

TensorParts parts_of_rows(const TensorParts& parts, std::uint64_t begin, std::uint64_t count) {
  if (!parts.output_transform.empty())
    throw Error(ErrorKind::unsupported, "a tensor with an output transform cannot be cut into rows, which it mixes");
  TensorParts result = parts;
  if (parts.outliers.empty()) return result;
  const auto end_of = [&](std::uint64_t rows) {
    return rows == 0 ? std::ptrdiff_t{0}
                     : static_cast<std::ptrdiff_t>(parts.outliers.row_ends[static_cast<std::size_t>(rows - 1)]);
  };
  const std::ptrdiff_t from = end_of(begin), to = end_of(begin + count);
  const auto& all = parts.outliers;
  result.outliers.columns.assign(all.columns.begin() + from, all.columns.begin() + to);
  result.outliers.values.assign(all.values.begin() + from, all.values.begin() + to);
  result.outliers.row_ends.clear();
  for (std::uint64_t row = begin; row < begin + count; ++row)
    result.outliers.row_ends.push_back(all.row_ends[static_cast<std::size_t>(row)] - static_cast<std::uint64_t>(from));
  return result;
}

}  // namespace nibble
