// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/onnx/decoder_weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/packing/dequantize_linear.h"
#include "io/packing/matmul_nbits.h"
#include "nibble/error.h"

namespace nibble {
namespace {

OnnxType raw_type(const Format& format) {
  return format.name() == "f16" ? OnnxType::f16 : format.name() == "bf16" ? OnnxType::bf16 : OnnxType::f32;
}

std::string joined_name(const std::string& first, std::size_t count) {
  return count == 1 ? first : fmt::format("{}+{}", first, count - 1);
}

}  // namespace

DecoderWeights::DecoderWeights(const ModelTensors& parts, const std::vector<PlannedTensor>& planned,
                               OnnxPlace::Layout codes, GraphPen& pen)
    : parts_(parts), planned_(planned), codes_(codes), pen_(pen), places_(planned.size()) {
  for (std::size_t i = 0; i < planned.size(); ++i) by_name_.emplace(planned[i].name, i);
}

const ModelTensor& DecoderWeights::tensor(const PartOf& part) const {
  const ModelTensor* found = parts_.part(part.part, part.layer);
  if (found == nullptr) found = parts_.part(part.part, -1);
  if (found == nullptr) throw Error(ErrorKind::internal, "a drawing reads a part without a name: " + part.part);
  return *found;
}

std::size_t DecoderWeights::index_of(const PartOf& part) const {
  const auto found = by_name_.find(tensor(part).hf_name);
  if (found == by_name_.end()) throw Error(ErrorKind::internal, "a part is not planned: " + tensor(part).hf_name);
  return found->second;
}

const PlannedTensor& DecoderWeights::planned(const PartOf& part) const { return planned_[index_of(part)]; }

bool DecoderWeights::is_coded(const PartOf& part) const { return planned(part).format->info().kind != FormatKind::raw; }

bool DecoderWeights::are_alike(std::span<const PartOf> parts) const {
  return std::ranges::all_of(parts, [&](const PartOf& part) {
    return is_coded(part) && planned(part).format->name() == planned(parts.front()).format->name();
  });
}

std::string DecoderWeights::stored_numbers(const PartOf& part) {
  const std::size_t index = index_of(part);
  const PlannedTensor& planned = planned_[index];
  if (is_coded(part)) throw Error(ErrorKind::internal, "codes where numbers are read: " + planned.name);
  if (!places_[index]) {
    places_[index] = OnnxPlace{OnnxPlace::Layout::plain, planned.name, {}, {}, 0};
    pen_.declare({planned.name, raw_type(*planned.format), planned.shape});
  }
  return places_[index]->values;
}

std::string DecoderWeights::numbers(const PartOf& part) {
  const PlannedTensor& planned = this->planned(part);
  const StoredNumbers stored = tensor(part).numbers(Spelling::huggingface);
  if (stored.is_log_of_minus)
    throw Error(ErrorKind::unsupported, "logarithms of numbers are not written to ONNX: " + planned.name);
  const auto known = made_.find(planned.name);
  if (known != made_.end()) return known->second;
  std::string value = stored_numbers(part);
  OnnxType type = raw_type(*planned.format);
  // What is added is added in f32, whatever the network's type.
  if (stored.offset != 0 && type != OnnxType::f32) value = pen_.cast(value, std::exchange(type, OnnxType::f32));
  if (stored.offset != 0) {
    const float offset = stored.offset;
    std::string bytes(sizeof offset, '\0');
    std::memcpy(bytes.data(), &offset, sizeof offset);
    const std::string name = fmt::format("/constants/offset/{:.9g}", offset);
    if (made_.emplace(name, name).second) pen_.declare({name, OnnxType::f32, {}, bytes});
    value = pen_.add("Add", {value, name});
  }
  if (type != pen_.type()) value = pen_.cast(value, pen_.type());
  return made_.emplace(planned.name, value).first->second;
}

std::string DecoderWeights::joined_numbers(std::span<const PartOf> parts) {
  if (parts.size() == 1) return numbers(parts.front());
  const PlannedTensor& first = planned(parts.front());
  const std::string name = joined_name(first.name, parts.size());
  std::uint64_t total = 0;
  for (const PartOf& part : parts) {
    const std::size_t index = index_of(part);
    if (planned_[index].format->name() != first.format->name() ||
        tensor(part).numbers(Spelling::huggingface).offset != 0)
      throw Error(ErrorKind::unsupported, "vectors of different types cannot be joined: " + planned_[index].name);
    places_[index] = OnnxPlace{OnnxPlace::Layout::plain, name, {}, {}, total};
    total += planned_[index].shape.back();
  }
  pen_.declare({name, raw_type(*first.format), {total}});
  return raw_type(*first.format) == pen_.type() ? name : pen_.cast(name, pen_.type());
}

std::string DecoderWeights::columns(const PartOf& part) {
  const std::string key = "columns of " + planned(part).name;
  if (const auto known = made_.find(key); known != made_.end()) return known->second;
  return made_.emplace(key, pen_.add("Transpose", {numbers(part)}, {{"perm", std::vector<std::int64_t>{1, 0}}}))
      .first->second;
}

CodedMatrix DecoderWeights::coded(std::span<const PartOf> parts) {
  const std::size_t first = index_of(parts.front());
  if (const auto known = coded_.find(first); known != coded_.end()) return known->second;
  const std::string name = joined_name(planned_[first].name, parts.size());
  if (codes_ == OnnxPlace::Layout::dequantize && parts.size() > 1)
    throw Error(ErrorKind::internal, "matrices that are turned are not joined: " + name);
  return coded_
      .emplace(first, codes_ == OnnxPlace::Layout::nbits ? declare_nbits(parts, name)
                                                         : declare_dequantize(parts.front(), name))
      .first->second;
}

CodedMatrix DecoderWeights::declare_rows(const std::string& name, const PlannedTensor& first,
                                         std::vector<std::uint64_t> dims) {
  const bool is_half = pen_.type() == OnnxType::f16;
  const NBitsLayout layout = nbits_layout(*first.format, first.shape.back(), is_half ? ScaleType::f16 : ScaleType::f32);
  CodedMatrix matrix{fmt::format("{}_Q{}", name, layout.bits),
                     name + "_scales",
                     layout.has_zero_points ? name + "_zero_points" : "",
                     dims.back(),
                     layout.cols,
                     first.format};
  const auto declare = [&](const std::string& constant, OnnxType type, std::initializer_list<std::uint64_t> of_row) {
    std::vector<std::uint64_t> all = dims;
    all.insert(all.end(), of_row);
    pen_.declare({constant, type, std::move(all)});
  };
  const std::uint64_t block_bytes = layout.block * layout.bits / 8;
  if (dims.size() == 1)
    declare(matrix.values, OnnxType::u8, {layout.blocks(), block_bytes});
  else
    declare(matrix.values, OnnxType::u8, {layout.blocks() * block_bytes});
  declare(matrix.scales, is_half ? OnnxType::f16 : OnnxType::f32, {layout.blocks()});
  if (layout.has_zero_points) declare(matrix.zero_points, OnnxType::u8, {layout.zero_point_bytes()});
  return matrix;
}

CodedMatrix DecoderWeights::declare_nbits(std::span<const PartOf> parts, const std::string& name) {
  std::uint64_t rows = 0;
  for (const PartOf& part : parts) rows += matrix_size(planned(part).shape).rows;
  CodedMatrix matrix = declare_rows(name, planned(parts.front()), {rows});
  std::uint64_t first = 0;
  for (const PartOf& part : parts) {
    places_[index_of(part)] =
        OnnxPlace{OnnxPlace::Layout::nbits, matrix.values, matrix.scales, matrix.zero_points, first};
    first += matrix_size(planned(part).shape).rows;
  }
  return matrix;
}

CodedMatrix DecoderWeights::coded_experts(std::span<const std::vector<PartOf>> experts) {
  const PlannedTensor& first = planned(experts.front().front());
  const std::uint64_t in_turn = experts.front().size(), rows = in_turn * matrix_size(first.shape).rows;
  CodedMatrix matrix = declare_rows(joined_name(first.name, in_turn * experts.size()), first, {experts.size(), rows});
  for (std::size_t e = 0; e < experts.size(); ++e)
    for (std::size_t i = 0; i < in_turn; ++i)
      places_[index_of(experts[e][i])] =
          OnnxPlace{OnnxPlace::Layout::nbits, matrix.values, matrix.scales, matrix.zero_points, e * rows + i, in_turn};
  return matrix;
}

CodedMatrix DecoderWeights::declare_dequantize(const PartOf& part, const std::string& name) {
  const PlannedTensor& planned = this->planned(part);
  const MatrixSize size = matrix_size(planned.shape);
  const DequantizeLayout layout = dequantize_layout(*planned.format, size.rows, size.cols);
  CodedMatrix matrix{name + "_quantized", name + "_scale", layout.has_zero_points ? name + "_zero_point" : "",
                     size.rows,           size.cols,       planned.format};
  places_[index_of(part)] =
      OnnxPlace{OnnxPlace::Layout::dequantize, matrix.values, matrix.scales, matrix.zero_points, 0};
  const bool is_signed = !layout.has_zero_points;
  const OnnxType type =
      layout.bits == 4 ? (is_signed ? OnnxType::i4 : OnnxType::u4) : (is_signed ? OnnxType::i8 : OnnxType::u8);
  const std::vector<std::uint64_t> grid =
      layout.block == 0 ? std::vector{size.rows} : std::vector{layout.groups(), size.rows};
  pen_.declare({matrix.values, type, {size.cols, size.rows}});
  pen_.declare({matrix.scales, OnnxType::f32, grid});
  if (layout.has_zero_points) pen_.declare({matrix.zero_points, type, grid});
  return matrix;
}

std::vector<OnnxPlace> DecoderWeights::places() const {
  std::vector<OnnxPlace> places;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    if (!places_[i]) throw Error(ErrorKind::internal, "no operator reads a tensor of the output: " + planned_[i].name);
    places.push_back(*places_[i]);
  }
  return places;
}

}  // namespace nibble
