// SPDX-License-Identifier: Apache-2.0
//
// The one place that sees the generated message types. They are for onnx.proto of an older version than the files that
// are written: element types are plain integers there, and fields that it does not know survive.
#include <fmt/format.h>

#include <limits>

#include "io/message_text.h"
#include "io/onnx/onnx_model.h"
#include "nibble/error.h"
#include "onnx/onnx.pb.h"

namespace nibble {
namespace {

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};

std::int64_t to_signed(std::uint64_t value) { return static_cast<std::int64_t>(value); }

void write_initializer(const OnnxInitializer& initializer, onnx::TensorProto& out) {
  out.set_name(initializer.name);
  out.set_data_type(static_cast<std::int32_t>(initializer.type));
  for (const std::uint64_t extent : initializer.dims) out.add_dims(to_signed(extent));
  if (!initializer.external) {
    out.set_raw_data(initializer.bytes);
    return;
  }
  out.set_data_location(onnx::TensorProto::EXTERNAL);
  const auto add = [&](const char* key, std::string value) {
    auto& entry = *out.add_external_data();
    entry.set_key(key);
    entry.set_value(std::move(value));
  };
  add("location", initializer.external->location);
  add("offset", std::to_string(initializer.external->offset));
  add("length", std::to_string(initializer.external->length));
}

void write_attribute(const OnnxAttribute& attribute, onnx::AttributeProto& out) {
  out.set_name(attribute.name);
  std::visit(Overloaded{[&](std::int64_t value) {
                          out.set_type(onnx::AttributeProto::INT);
                          out.set_i(value);
                        },
                        [&](float value) {
                          out.set_type(onnx::AttributeProto::FLOAT);
                          out.set_f(value);
                        },
                        [&](const std::string& value) {
                          out.set_type(onnx::AttributeProto::STRING);
                          out.set_s(value);
                        },
                        [&](const std::vector<std::int64_t>& values) {
                          out.set_type(onnx::AttributeProto::INTS);
                          for (const std::int64_t value : values) out.add_ints(value);
                        },
                        [&](const std::vector<float>& values) {
                          out.set_type(onnx::AttributeProto::FLOATS);
                          for (const float value : values) out.add_floats(value);
                        },
                        [&](const std::vector<std::string>& values) {
                          out.set_type(onnx::AttributeProto::STRINGS);
                          for (const std::string& value : values) out.add_strings(value);
                        },
                        [&](const OnnxInitializer& value) {
                          out.set_type(onnx::AttributeProto::TENSOR);
                          write_initializer(value, *out.mutable_t());
                        },
                        [&](const std::shared_ptr<const OnnxBody>&) {
                          throw Error(ErrorKind::internal, "graphs within operators are not written");
                        }},
             attribute.value);
}

void write_node(const OnnxNode& node, onnx::NodeProto& out) {
  out.set_name(node.name);
  out.set_op_type(node.op);
  if (!node.domain.empty()) out.set_domain(node.domain);
  for (const std::string& name : node.inputs) out.add_input(name);
  for (const std::string& name : node.outputs) out.add_output(name);
  for (const OnnxAttribute& attribute : node.attributes) write_attribute(attribute, *out.add_attribute());
}

void write_value(const OnnxValue& value, onnx::ValueInfoProto& out) {
  out.set_name(value.name);
  auto& tensor = *out.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(static_cast<std::int32_t>(value.type));
  auto& shape = *tensor.mutable_shape();
  for (const auto& extent : value.dims)
    if (const auto* const name = std::get_if<std::string>(&extent))
      shape.add_dim()->set_dim_param(*name);
    else
      shape.add_dim()->set_dim_value(to_signed(std::get<std::uint64_t>(extent)));
}

[[noreturn]] void refuse(const std::string& source, std::string_view why) {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}", source, why));
}

std::uint64_t read_number(const std::string& text, const std::string& what) {
  std::uint64_t value = 0;
  const bool digits = !text.empty() && text.size() <= 19 && text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) refuse(what, fmt::format("is no number of bytes: {}", quote_name(text)));
  for (const char digit : text) value = value * 10 + static_cast<std::uint64_t>(digit - '0');
  return value;
}

template <class Stored, class Fields>
void append_as(const Fields& fields, std::string& bytes) {
  for (const auto field : fields) {
    const auto value = static_cast<Stored>(field);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
}

// Of elements that stand in a field of their type's own.
std::string bytes_of_fields(const onnx::TensorProto& tensor, OnnxType type) {
  std::string bytes;
  switch (type) {
    case OnnxType::f32:
      append_as<float>(tensor.float_data(), bytes);
      break;
    case OnnxType::f64:
      append_as<double>(tensor.double_data(), bytes);
      break;
    case OnnxType::i64:
      append_as<std::int64_t>(tensor.int64_data(), bytes);
      break;
    case OnnxType::u64:
      append_as<std::uint64_t>(tensor.uint64_data(), bytes);
      break;
    case OnnxType::u32:
      append_as<std::uint32_t>(tensor.uint64_data(), bytes);
      break;
    case OnnxType::i32:
      append_as<std::int32_t>(tensor.int32_data(), bytes);
      break;
    case OnnxType::u16:
    case OnnxType::i16:
    case OnnxType::f16:
    case OnnxType::bf16:
      append_as<std::uint16_t>(tensor.int32_data(), bytes);
      break;
    case OnnxType::u8:
    case OnnxType::i8:
    case OnnxType::boolean:
    case OnnxType::u4:
    case OnnxType::i4:
    case OnnxType::u2:
    case OnnxType::i2:
      append_as<std::uint8_t>(tensor.int32_data(), bytes);
      break;
    case OnnxType::text:
    case OnnxType::undefined:
      break;
  }
  return bytes;
}

OnnxInitializer read_initializer(const onnx::TensorProto& tensor, const std::string& source) {
  OnnxInitializer initializer{tensor.name(), static_cast<OnnxType>(tensor.data_type()), {}};
  const std::string where = fmt::format("{}: initializer {}", source, quote_name(tensor.name()));
  for (const std::int64_t extent : tensor.dims()) {
    if (extent < 0) refuse(where, fmt::format("has a negative extent: {}", extent));
    initializer.dims.push_back(static_cast<std::uint64_t>(extent));
  }
  initializer.bytes = tensor.has_raw_data() ? tensor.raw_data() : bytes_of_fields(tensor, initializer.type);
  if (tensor.data_location() != onnx::TensorProto::EXTERNAL) return initializer;
  OnnxExternal& external = initializer.external.emplace();
  for (const auto& entry : tensor.external_data())
    if (entry.key() == "location")
      external.location = entry.value();
    else if (entry.key() == "offset")
      external.offset = read_number(entry.value(), where + ": offset");
    else if (entry.key() == "length")
      external.length = read_number(entry.value(), where + ": length");
  return initializer;
}

std::shared_ptr<const OnnxBody> read_body(const onnx::GraphProto& graph, const std::string& source);

OnnxAttribute read_attribute(const onnx::AttributeProto& attribute, const std::string& source) {
  OnnxAttribute out{attribute.name(), std::int64_t{attribute.i()}};
  const auto fill = [&](auto values, const auto& fields) {
    values.assign(fields.begin(), fields.end());
    out.value = std::move(values);
  };
  switch (attribute.type()) {
    case onnx::AttributeProto::FLOAT:
      out.value = attribute.f();
      break;
    case onnx::AttributeProto::STRING:
      out.value = attribute.s();
      break;
    case onnx::AttributeProto::INTS:
      fill(std::vector<std::int64_t>(), attribute.ints());
      break;
    case onnx::AttributeProto::FLOATS:
      fill(std::vector<float>(), attribute.floats());
      break;
    case onnx::AttributeProto::STRINGS:
      fill(std::vector<std::string>(), attribute.strings());
      break;
    case onnx::AttributeProto::TENSOR:
      out.value = read_initializer(attribute.t(), source);
      break;
    case onnx::AttributeProto::GRAPH:
      out.value = read_body(attribute.g(), source);
      break;
    default:
      break;
  }
  return out;
}

bool is_read(onnx::AttributeProto::AttributeType type) {
  using Type = onnx::AttributeProto;
  for (const auto known :
       {Type::INT, Type::FLOAT, Type::STRING, Type::INTS, Type::FLOATS, Type::STRINGS, Type::TENSOR, Type::GRAPH})
    if (type == known) return true;
  return false;
}

OnnxNode read_node(const onnx::NodeProto& node, const std::string& source) {
  OnnxNode out{node.name(),
               node.op_type(),
               node.domain() == "ai.onnx" ? "" : node.domain(),
               {node.input().begin(), node.input().end()},
               {node.output().begin(), node.output().end()},
               {}};
  for (const auto& attribute : node.attribute())
    if (is_read(attribute.type())) out.attributes.push_back(read_attribute(attribute, source));
  return out;
}

std::shared_ptr<const OnnxBody> read_body(const onnx::GraphProto& graph, const std::string& source) {
  auto body = std::make_shared<OnnxBody>();
  for (const auto& node : graph.node()) body->nodes.push_back(read_node(node, source));
  for (const auto& tensor : graph.initializer()) body->initializers.push_back(read_initializer(tensor, source));
  for (const auto& value : graph.output()) body->outputs.push_back(value.name());
  return body;
}

OnnxValue read_value(const onnx::ValueInfoProto& value) {
  const auto& tensor = value.type().tensor_type();
  OnnxValue out{value.name(), static_cast<OnnxType>(tensor.elem_type()), {}, tensor.has_shape()};
  for (const auto& extent : tensor.shape().dim())
    if (extent.has_dim_value() && extent.dim_value() >= 0)
      out.dims.emplace_back(static_cast<std::uint64_t>(extent.dim_value()));
    else
      out.dims.emplace_back(extent.dim_param());
  return out;
}

// Parts of a graph, counted as they lie in the file before anything is made of them: an empty one takes two bytes there
// and hundreds in memory.
class PartCount {
 public:
  static constexpr std::uint64_t kMost = std::uint64_t{1} << 20, kMostDepth = 100;

  // False where there are more. What is no message ends the count; the parser says so.
  bool model(std::span<const std::byte> bytes) {
    return walk(bytes, [this](std::uint64_t field, std::span<const std::byte> part) {
      return field != onnx::ModelProto::kGraphFieldNumber || graph(part);
    });
  }

 private:
  bool graph(std::span<const std::byte> bytes) {
    return walk(bytes, [this](std::uint64_t field, std::span<const std::byte> part) {
      return ++count_ <= kMost && (field != onnx::GraphProto::kNodeFieldNumber || node(part));
    });
  }
  bool node(std::span<const std::byte> bytes) {
    return walk(bytes, [this](std::uint64_t field, std::span<const std::byte> part) {
      return ++count_ <= kMost && (field != onnx::NodeProto::kAttributeFieldNumber || attribute(part));
    });
  }
  // Graphs within graphs are as deep as the parser lets messages be.
  bool attribute(std::span<const std::byte> bytes) {
    return walk(bytes, [this](std::uint64_t field, std::span<const std::byte> part) {
      if (++count_ > kMost || ++depth_ > kMostDepth) return false;
      const bool goes_on = field != onnx::AttributeProto::kGFieldNumber || graph(part);
      --depth_;
      return goes_on;
    });
  }

  // Fields that have a length: use(number, bytes), until it says no.
  template <class Use>
  static bool walk(std::span<const std::byte> bytes, Use use) {
    while (!bytes.empty()) {
      std::uint64_t tag, value = 0;
      if (!read_number(bytes, tag)) return true;
      const std::uint64_t wire = tag & 7;
      const std::size_t fixed = wire == 1 ? 8 : wire == 5 ? 4 : 0;
      if (wire != 0 && wire != 2 && fixed == 0) return true;
      if (fixed == 0 && !read_number(bytes, value)) return true;
      const std::uint64_t length = wire == 2 ? value : fixed;
      if (length > bytes.size()) return true;
      if (wire == 2 && !use(tag >> 3, bytes.first(static_cast<std::size_t>(length)))) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(length));
    }
    return true;
  }

  static bool read_number(std::span<const std::byte>& bytes, std::uint64_t& number) {
    number = 0;
    for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
      const auto byte = std::to_integer<std::uint64_t>(bytes.front());
      bytes = bytes.subspan(1);
      number |= (byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  std::uint64_t count_ = 0, depth_ = 0;
};

}  // namespace

bool has_onnx() noexcept { return true; }

std::string serialize_onnx(const OnnxModel& model) {
  onnx::ModelProto out;
  out.set_ir_version(model.ir_version);
  out.set_producer_name(model.producer);
  out.set_producer_version(model.producer_version);
  const auto import = [&](std::string_view domain, std::int64_t version) {
    auto& opset = *out.add_opset_import();
    opset.set_domain(std::string(domain));
    opset.set_version(version);
  };
  import("", model.opset);
  if (model.microsoft_opset != 0) import(kMicrosoftDomain, model.microsoft_opset);
  auto& graph = *out.mutable_graph();
  graph.set_name(model.graph_name);
  for (const OnnxNode& node : model.nodes) write_node(node, *graph.add_node());
  for (const OnnxInitializer& one : model.initializers) write_initializer(one, *graph.add_initializer());
  for (const OnnxValue& value : model.inputs) write_value(value, *graph.add_input());
  for (const OnnxValue& value : model.outputs) write_value(value, *graph.add_output());
  for (const auto& [key, value] : model.metadata) {
    auto& entry = *out.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  return out.SerializeAsString();
}

OnnxModel parse_onnx(std::span<const std::byte> bytes, const std::string& source) {
  if (PartCount count; !count.model(bytes))
    refuse(source, fmt::format("has more nodes, constants and attributes than a network has, {}", PartCount::kMost));
  onnx::ModelProto file;
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()) ||
      !file.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    refuse(source, "is no ONNX model, or damaged");
  if (!file.has_graph()) refuse(source, "is an ONNX model without a graph");
  OnnxModel model;
  model.ir_version = file.ir_version();
  model.producer = file.producer_name();
  model.producer_version = file.producer_version();
  model.opset = 0;
  for (const auto& import : file.opset_import()) {
    if (import.domain().empty() || import.domain() == "ai.onnx") model.opset = import.version();
    if (import.domain() == kMicrosoftDomain) model.microsoft_opset = import.version();
  }
  model.graph_name = file.graph().name();
  for (const auto& node : file.graph().node()) model.nodes.push_back(read_node(node, source));
  for (const auto& tensor : file.graph().initializer()) model.initializers.push_back(read_initializer(tensor, source));
  for (const auto& value : file.graph().input()) model.inputs.push_back(read_value(value));
  for (const auto& value : file.graph().output()) model.outputs.push_back(read_value(value));
  for (const auto& entry : file.metadata_props()) model.metadata.emplace_back(entry.key(), entry.value());
  return model;
}

OnnxInitializer parse_onnx_tensor(std::span<const std::byte> bytes, const std::string& source) {
  onnx::TensorProto tensor;
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()) ||
      !tensor.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    refuse(source, "is no tensor of ONNX, or damaged");
  return read_initializer(tensor, source);
}

}  // namespace nibble
