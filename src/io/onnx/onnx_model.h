// SPDX-License-Identifier: Apache-2.0
//
// An ONNX model as plain data: operators in order, the values that they read and make by name, constants. What the
// format's own message types say and nobody here asks for is left out. Whether files can be read and written is decided
// when nibble is built: the message types are generated from the specification's onnx.proto where it is there.
//
//   OnnxModel model = parse_onnx(file.bytes(), "model.onnx");
//   for (const OnnxNode& node : model.nodes) use(node.op, node.inputs);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nibble {

// TensorProto.DataType; numbers that no name here has are kept as they are.
enum class OnnxType : std::int32_t {
  undefined = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  text = 8,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  bf16 = 16,
  u4 = 21,
  i4 = 22,
  u2 = 25,
  i2 = 26
};
// Of one element; 0: a type that is not known here.
unsigned onnx_type_bits(OnnxType type);

// Where bytes lie in a file beside the model's.
struct OnnxExternal {
  std::string location;
  std::uint64_t offset = 0, length = 0;
  bool operator==(const OnnxExternal&) const = default;
};

struct OnnxInitializer {
  std::string name;
  OnnxType type = OnnxType::f32;
  std::vector<std::uint64_t> dims;
  std::string bytes = {};  // in the model's own file, little-endian; empty where they lie elsewhere
  std::optional<OnnxExternal> external = {};
};
// Bytes that an initializer has by its type and dims: elements of fewer than 8 bits lie side by side across rows.
// nullopt: an unknown type, or more than there are numbers for.
std::optional<std::uint64_t> initializer_bytes(const OnnxInitializer& initializer);

struct OnnxBody;

struct OnnxAttribute {
  std::string name;
  std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>, std::vector<float>,
               std::vector<std::string>, OnnxInitializer, std::shared_ptr<const OnnxBody>>
      value;
};

struct OnnxNode {
  std::string name, op, domain;              // domain: empty for the standard one
  std::vector<std::string> inputs, outputs;  // empty names: left out
  std::vector<OnnxAttribute> attributes;

  // Null: there is none of this kind.
  const std::int64_t* integer(std::string_view attribute) const;
  const float* real(std::string_view attribute) const;
  template <class T>
  const T* find(std::string_view attribute) const {
    for (const OnnxAttribute& item : attributes)
      if (item.name == attribute) return std::get_if<T>(&item.value);
    return nullptr;
  }
};

// A graph that an operator has as an attribute; it also reads values of what is around it.
struct OnnxBody {
  std::vector<OnnxNode> nodes;
  std::vector<OnnxInitializer> initializers;
  std::vector<std::string> outputs;
};

// An input or output of the graph: names for extents that are decided when it runs.
struct OnnxValue {
  std::string name;
  OnnxType type = OnnxType::f32;
  std::vector<std::variant<std::uint64_t, std::string>> dims;
  bool has_shape = true;
};

struct OnnxModel {
  std::int64_t ir_version = 10, opset = 21;
  std::int64_t microsoft_opset = 0;  // of com.microsoft; 0: none of its operators
  std::string producer, producer_version, graph_name;
  std::vector<OnnxNode> nodes;
  std::vector<OnnxInitializer> initializers;
  std::vector<OnnxValue> inputs, outputs;
  std::vector<std::pair<std::string, std::string>> metadata;
};

inline constexpr std::string_view kMicrosoftDomain = "com.microsoft";

// Whether this nibble was built with ONNX, and what is said where it was not.
bool has_onnx() noexcept;
inline constexpr std::string_view kOnnxMissing =
    "this nibble was built without ONNX; build it where protobuf and the specification's onnx.proto are installed "
    "(Debian: protobuf-compiler, libprotobuf-dev, libonnx-dev)";

// The bytes of model.onnx. The same model gives the same bytes. Error(unsupported): built without ONNX.
std::string serialize_onnx(const OnnxModel& model);

// source: the file's name in messages. Error(corrupt): no such message, a negative extent, no graph;
// Error(unsupported): built without ONNX.
OnnxModel parse_onnx(std::span<const std::byte> bytes, const std::string& source);
// A tensor in a file of its own (input_0.pb of test data), under the same terms.
OnnxInitializer parse_onnx_tensor(std::span<const std::byte> bytes, const std::string& source);

}  // namespace nibble
