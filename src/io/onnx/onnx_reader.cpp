// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <unordered_map>

#include "io/message_text.h"
#include "io/onnx/builder_package.h"
#include "io/onnx/onnx_package.h"
#include "io/onnx/tensor_list.h"
#include "io/packing/dequantize_linear.h"
#include "io/packing/matmul_nbits.h"
#include "nibble/error.h"

namespace nibble {
namespace {

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}", where, why));
}

// Of what is not quantized; nullopt: it is.
std::optional<DType> plain_type(OnnxType type) {
  if (type == OnnxType::f32) return DType::f32;
  if (type == OnnxType::f16) return DType::f16;
  if (type == OnnxType::bf16) return DType::bf16;
  return std::nullopt;
}

class OnnxReader {
 public:
  explicit OnnxReader(CheckpointParts& parts) : parts_(parts), source_((parts.path / kOnnxFile).string()) {
    const MappedFile file(parts.path / kOnnxFile);
    model_ = parse_onnx(file.bytes(), source_);
    for (const OnnxInitializer& one : model_.initializers) {
      if (one.name.empty() || !initializers_.emplace(one.name, &one).second)
        refuse(source_, fmt::format("an initializer has no name of its own: {}", quote_name(one.name)));
    }
    std::unordered_map<std::string, std::string> reshaped;  // what initializers in another shape are called
    for (const OnnxNode& node : model_.nodes) {
      if (node.op == "Reshape" && !node.inputs.empty() && !node.outputs.empty() &&
          initializers_.contains(node.inputs[0]))
        reshaped.emplace(node.outputs[0], node.inputs[0]);
      if (node.op == "MatMulNBits" && node.domain == kMicrosoftDomain && node.inputs.size() >= 3)
        readers_.emplace(node.inputs[1], &node);
      if (node.op == "QMoE" && node.domain == kMicrosoftDomain && node.inputs.size() >= 7)
        for (const std::size_t values : kExpertValues) readers_.emplace(node.inputs[values], &node);
      if (node.op == "GatherBlockQuantized" && node.domain == kMicrosoftDomain && node.inputs.size() >= 3)
        if (const auto values = reshaped.find(node.inputs[0]); values != reshaped.end())
          readers_.emplace(values->second, &node);
      if (node.op == "DequantizeLinear" && node.domain.empty() && node.inputs.size() >= 2)
        readers_.emplace(node.inputs[0], &node);
    }
  }

  void read() {
    const auto list = std::ranges::find(model_.metadata, kOnnxTensorsKey, &std::pair<std::string, std::string>::first);
    if (list != model_.metadata.end()) {
      for (const OnnxTensor& tensor : read_onnx_tensor_list(list->second, source_)) add(tensor);
    } else if (is_builder_model(model_)) {
      read_builder();
    } else {
      throw Error(
          ErrorKind::unsupported,
          fmt::format("{}: nothing says which of its constants are the tensors of what model: {} is missing from "
                      "its metadata; packages that nibble has exported are read, and those of GenAI's model builder",
                      source_, kOnnxTensorsKey));
    }
  }

 private:
  static constexpr std::size_t kExpertValues[] = {2, 5};  // inputs of a QMoE: gates and ups, downs

  void read_builder() {
    constexpr std::uint64_t kMostSettings = std::uint64_t{1} << 24;
    const std::string settings = read_small_file(parts_.path / kGenaiSettings, kMostSettings).value_or("");
    for (const OnnxTensor& tensor : builder_tensors(model_, settings, source_)) add(tensor);
    if (!parts_.config_json.empty()) return;
    const auto floats_of = [&](std::string_view name) {
      const OnnxInitializer& one = find(std::string(name), source_);
      if (one.type != OnnxType::f32) refuse(source_, fmt::format("{} is not f32", name));
      const std::span<const std::byte> bytes = bytes_of(one);
      std::vector<float> values(bytes.size() / sizeof(float));
      std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
      return values;
    };
    parts_.config_json = builder_config(model_, settings, floats_of, source_);
  }

  // The bytes of an initializer, as many as its type and dims say.
  std::span<const std::byte> bytes_of(const OnnxInitializer& one) {
    const std::string where = fmt::format("{}: initializer {}", source_, quote_name(one.name));
    const auto expected = initializer_bytes(one);
    if (!expected)
      refuse(where, fmt::format("has elements of a type that is not known: {}", static_cast<int>(one.type)));
    if (!one.external) refuse(where, "should lie in a file beside the model but lies in it");
    const auto& [location, offset, length] = *one.external;
    if (!is_plain_file_name(location))
      refuse(where,
             fmt::format("should lie in a file of the directory, which this does not name: {}", quote_name(location)));
    const std::span<const std::byte> all = file_of(location).bytes();
    if (length != *expected) refuse(where, fmt::format("should have {} bytes but has {}", *expected, length));
    if (offset > all.size() || length > all.size() - offset)
      refuse(where, fmt::format("ends beyond its file, {}, which has {} bytes: offset {}, length {}",
                                quote_name(location), all.size(), offset, length));
    return all.subspan(offset, length);
  }

  const MappedFile& file_of(const std::string& location) {
    auto [place, is_new] = files_.emplace(location, parts_.files.size());
    if (is_new) parts_.files.push_back(std::make_unique<MappedFile>(parts_.path / location));
    return *parts_.files[place->second];
  }

  const OnnxInitializer& find(const std::string& name, const std::string& where) const {
    const auto found = initializers_.find(name);
    if (found == initializers_.end()) refuse(where, fmt::format("there is no initializer {}", quote_name(name)));
    return *found->second;
  }
  // Of an operator; null: it has no such input.
  const OnnxInitializer* input(const OnnxNode& node, std::size_t index, const std::string& where) const {
    if (index >= node.inputs.size() || node.inputs[index].empty()) return nullptr;
    return &find(node.inputs[index], where);
  }

  std::span<const std::byte> optional_bytes(const OnnxInitializer* one) {
    return one == nullptr ? std::span<const std::byte>{} : bytes_of(*one);
  }

  void add(const OnnxTensor& listed) {
    const std::string where = fmt::format("{}: tensor {}", source_, quote_name(listed.name));
    const OnnxInitializer& values = find(listed.values, where);
    StoredTensor tensor;
    tensor.name = listed.name;
    tensor.shape = listed.shape;
    const std::span<const std::byte> bytes = bytes_of(values);
    const MatrixSize size = matrix_size(listed.shape);
    if (size.rows == 0 || size.cols == 0) refuse(where, "has no elements");
    if (const auto type = plain_type(values.type)) {
      add_plain(listed, *type, bytes, where, tensor);
    } else {
      const auto reader = readers_.find(listed.values);
      if (reader == readers_.end()) refuse(where, "no operator says how its values are to be read");
      tensor.values = reader->second->op == "DequantizeLinear" ? dequantize(*reader->second, values, bytes, where)
                      : reader->second->op == "QMoE"
                          ? experts(*reader->second, values, {listed.first, listed.step, size.rows}, bytes, where)
                          : nbits(*reader->second, values, size.cols, bytes, where);
      const bool is_whole = reader->second->op != "QMoE";
      const std::uint64_t first = is_whole ? listed.first : 0;
      if (is_whole && listed.step != 1) refuse(where, "only rows of a QMoE lie in turn");
      const TensorSource& whole = tensor.values;
      if (whole.cols() != size.cols || first > whole.rows() || size.rows > whole.rows() - first)
        refuse(where, fmt::format("should be rows {} .. of a matrix of {} x {}: {} x {}", first, whole.rows(),
                                  whole.cols(), size.rows, size.cols));
      tensor.values = whole.slice(first, size.rows);
      for (const PlaneSpec& plane : tensor.values.format()->planes(size.rows, size.cols)) tensor.bytes += plane.bytes;
      tensor.type_name = tensor.values.format()->name();
    }
    tensor.file = values.external->location;
    tensor.offset = values.external->offset;
    parts_.tensors.push_back(std::move(tensor));
  }

  void add_plain(const OnnxTensor& listed, DType type, std::span<const std::byte> bytes, const std::string& where,
                 StoredTensor& tensor) {
    const MatrixSize size = matrix_size(listed.shape);
    const std::uint64_t row_bytes = size.cols * dtype_size(type);
    const std::uint64_t offset_unit = listed.shape.size() < 2 ? dtype_size(type) : row_bytes;
    if (listed.first > bytes.size() / offset_unit ||
        size.rows > (bytes.size() - listed.first * offset_unit) / row_bytes)
      refuse(where, fmt::format("is larger than its initializer, {} bytes", bytes.size()));
    tensor.dtype = type;
    tensor.type_name = dtype_name(type);
    tensor.bytes = size.rows * row_bytes;
    tensor.data = bytes.subspan(listed.first * offset_unit, tensor.bytes);
    attach_view(tensor, find_raw_format(type), source_);
  }

  static std::uint64_t setting(const OnnxNode& node, std::string_view name, std::uint64_t otherwise,
                               const std::string& where) {
    constexpr std::int64_t kMost = std::int64_t{1} << 40;
    const std::int64_t* const value = node.integer(name);
    if (value == nullptr) return otherwise;
    if (*value < 0 || *value > kMost)
      refuse(where, fmt::format("{} has a {} that no matrix has: {}", node.op, name, *value));
    return static_cast<std::uint64_t>(*value);
  }

  // A lookup does not say how long rows are, nor how many there are.
  TensorSource nbits(const OnnxNode& node, const OnnxInitializer& values, std::uint64_t cols,
                     std::span<const std::byte> bytes, const std::string& where) {
    const std::uint64_t rows = values.dims.empty() ? 0 : values.dims[0];
    const OnnxInitializer* const scales = input(node, 2, where);
    const OnnxInitializer* const zero_points = input(node, 3, where);
    if (input(node, 4, where) != nullptr) refuse(where, "orders of inputs in MatMulNBits are not read");
    const std::uint64_t bits = setting(node, "bits", 4, where), block = setting(node, "block_size", 0, where);
    if (scales == nullptr) refuse(where, fmt::format("{} has no scales", node.op));
    if (bits == 0 || bits > 8) refuse(where, fmt::format("{} has codes of 1 to 8 bits, not {}", node.op, bits));
    if (block == 0 || block > kMostNBitsBlock)
      refuse(where, node.integer("block_size") == nullptr
                        ? fmt::format("{} has no block_size", node.op)
                        : fmt::format("block_size of {} is 16, 32, ... {}, not {}", node.op, kMostNBitsBlock, block));
    NBitsLayout layout{setting(node, "K", cols, where), static_cast<unsigned>(bits), static_cast<std::uint32_t>(block),
                       zero_points != nullptr, scales->type == OnnxType::f16 ? ScaleType::f16 : ScaleType::f32};
    if (scales->type != OnnxType::f16 && scales->type != OnnxType::f32)
      refuse(where, "its scales are neither f32 nor f16");
    if (zero_points != nullptr && zero_points->type != OnnxType::u8) refuse(where, "its zero points are no bytes");
    return read_nbits(layout, setting(node, "N", rows, where), bytes, bytes_of(*scales), optional_bytes(zero_points),
                      where);
  }

  // Rows of all experts, one expert after the other. values: [experts, rows, bytes].
  TensorSource experts(const OnnxNode& node, const OnnxInitializer& values, const NBitsTurn& turn,
                       std::span<const std::byte> bytes, const std::string& where) {
    const bool is_down = node.inputs[kExpertValues[1]] == values.name;
    const OnnxInitializer* const scales = input(node, is_down ? 6 : 3, where);
    const OnnxInitializer* const zero_points = input(node, is_down ? 12 : 11, where);
    const std::uint64_t bits = setting(node, "expert_weight_bits", 4, where),
                        block = setting(node, "block_size", 0, where);
    if (scales == nullptr || values.dims.size() != 3) refuse(where, "QMoE has no scales, or no stack of matrices");
    if (bits == 0 || bits > 8 || block == 0 || block > kMostNBitsBlock)
      refuse(where, fmt::format("QMoE with {} bits in blocks of {} is not read", bits, block));
    if (scales->type != OnnxType::f16 && scales->type != OnnxType::f32)
      refuse(where, "its scales are neither f32 nor f16");
    if (zero_points != nullptr && zero_points->type != OnnxType::u8) refuse(where, "its zero points are no bytes");
    const NBitsLayout layout{values.dims[2] * 8 / bits, static_cast<unsigned>(bits), static_cast<std::uint32_t>(block),
                             zero_points != nullptr, scales->type == OnnxType::f16 ? ScaleType::f16 : ScaleType::f32};
    return read_nbits_in_turn(layout, values.dims[0] * values.dims[1], turn, bytes, bytes_of(*scales),
                              optional_bytes(zero_points), where);
  }

  TensorSource dequantize(const OnnxNode& node, const OnnxInitializer& values, std::span<const std::byte> bytes,
                          const std::string& where) {
    const OnnxInitializer* const scales = input(node, 1, where);
    const OnnxInitializer* const zero_points = input(node, 2, where);
    if (values.dims.size() != 2 || scales == nullptr || scales->type != OnnxType::f32)
      refuse(where, "DequantizeLinear reads no matrix with scales in f32");
    const bool is_signed = values.type == OnnxType::i4 || values.type == OnnxType::i8;
    const std::uint64_t block = setting(node, "block_size", 0, where);
    const std::int64_t* const given = node.integer("axis");  // from the last one on where it is negative
    const std::int64_t axis = given == nullptr ? 1 : *given < 0 ? *given + 2 : *given;
    if (is_signed ? zero_points != nullptr : zero_points == nullptr || zero_points->type != values.type)
      refuse(where, "its zero points are not of the values' type, or stand beside signed ones");
    if (axis != (block == 0 ? 1 : 0) || block > std::numeric_limits<std::uint32_t>::max())
      refuse(where, fmt::format("scales along axis {} in blocks of {} are not read", axis, block));
    const DequantizeLayout layout{values.dims[1], values.dims[0], onnx_type_bits(values.type),
                                  static_cast<std::uint32_t>(block), zero_points != nullptr};
    return read_dequantize(layout, bytes, bytes_of(*scales), optional_bytes(zero_points), where);
  }

  CheckpointParts& parts_;
  std::string source_;
  OnnxModel model_;
  std::unordered_map<std::string, const OnnxInitializer*> initializers_;
  std::unordered_map<std::string, const OnnxNode*> readers_;  // by the initializer with values
  std::map<std::string, std::size_t, std::less<>> files_;
};

}  // namespace

bool is_onnx_package(const std::filesystem::path& directory) {
  if (!is_there(directory / kOnnxFile)) return false;
  std::error_code ignored;
  for (auto entry = std::filesystem::directory_iterator(directory, ignored);
       entry != std::filesystem::directory_iterator(); entry.increment(ignored))
    if (const std::string name = entry->path().filename().string();
        name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"))
      return false;
  return true;
}

void read_onnx_tensors(CheckpointParts& parts) { OnnxReader(parts).read(); }

}  // namespace nibble
