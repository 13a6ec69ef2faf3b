// SPDX-License-Identifier: Apache-2.0
#include "net/onnx/onnx_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "net/onnx/opset_fit.h"
#include "nibble/error.h"

namespace nibble {
namespace {

template <class T>
std::string bytes_of(std::span<const T> numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()};
}

OnnxType onnx_type_of(NumberType type) {
  constexpr OnnxType kTypes[] = {OnnxType::f32, OnnxType::f16, OnnxType::bf16, OnnxType::f64, OnnxType::i4,
                                 OnnxType::u4,  OnnxType::i8,  OnnxType::u8,   OnnxType::i16, OnnxType::u16,
                                 OnnxType::i32, OnnxType::u32, OnnxType::i64,  OnnxType::u64, OnnxType::boolean};
  return kTypes[static_cast<std::size_t>(type)];
}

// Of codes within low .. high; undefined: there is none.
OnnxType code_type_of(const Quantize& op) {
  if (op.low == 0) return op.high == 255 ? OnnxType::u8 : op.high == 65535 ? OnnxType::u16 : OnnxType::undefined;
  if (op.low == -128 && op.high == 127) return OnnxType::i8;
  return op.low == -32768 && op.high == 32767 ? OnnxType::i16 : OnnxType::undefined;
}

class OnnxExport {
 public:
  OnnxExport(const Net& net, const NetCodes& codes, FewBits few)
      : net_(net), codes_(codes), few_(few), makers_(net.graph.values.size()) {
    for (const Node& node : net.graph.nodes) makers_[node.output] = &node;
    readers_.resize(net.graph.values.size());
    for (const Node& node : net.graph.nodes)
      for (const ValueId input : node.inputs) readers_[input].push_back(&node);
    for (const NetPort& output : net.outputs) is_output_.insert(output.value);
  }

  OnnxModel write() {
    model_.graph_name = "net";
    for (const NetPort& input : net_.inputs) {
      model_.inputs.push_back(port(input));
      taken_.insert(input.name);
    }
    for (const NetPort& output : net_.outputs) taken_.insert(output.name);
    for (const NetPort& input : net_.inputs)
      names_.emplace(input.value, input.type == NumberType::f32
                                      ? input.name
                                      : emit("Cast", {input.name}, free_name(input.name + "/f32"),
                                             {{"to", static_cast<std::int64_t>(OnnxType::f32)}}));
    for (const Node& node : net_.graph.nodes) write(node);
    for (const NetPort& output : net_.outputs) {
      model_.outputs.push_back(port(output));
      const std::string from = name_of(output.value);
      if (output.type != NumberType::f32)
        emit("Cast", {from}, output.name, {{"to", static_cast<std::int64_t>(onnx_type_of(output.type))}});
      else if (from != output.name)
        emit("Identity", {from}, output.name);
    }
    fit_to_opset(model_);
    return std::move(model_);
  }

 private:
  OnnxValue port(const NetPort& port) const {
    OnnxValue value{port.name, onnx_type_of(port.type), {}};
    for (const Dimension& dimension : net_.graph.values[port.value]) value.dims.emplace_back(dimension.extent);
    return value;
  }

  std::string free_name(const std::string& wanted) {
    std::string name = wanted;
    for (std::size_t i = 1; !taken_.insert(name).second; ++i) name = fmt::format("{}_{}", wanted, i);
    return name;
  }

  // What a node's value is called: as the file calls it, or as an output that it is.
  std::string wanted_name(const Node& node) {
    for (const NetPort& output : net_.outputs)
      if (output.value == node.output && output.type == NumberType::f32 && given_.insert(output.name).second)
        return output.name;
    const std::string& known = net_.names[node.output];
    return free_name(known.empty() ? fmt::format("v{}", node.output) : known);
  }

  std::string emit(std::string op, std::vector<std::string> inputs, std::string output,
                   std::vector<OnnxAttribute> attributes = {}) {
    model_.nodes.push_back({"", std::move(op), "", std::move(inputs), {output}, std::move(attributes)});
    return output;
  }

  void write(const Node& node) {
    if (std::holds_alternative<Constant>(node.operation)) return;  // where it is read
    const std::vector<Dimensions> shapes = net_.graph.input_shapes(node);
    if (write_codes(node) || write_recurrent(node)) return;
    if (const auto* const linear = std::get_if<Linear>(&node.operation); linear != nullptr) {
      const auto codes = codes_.find(linear->part);
      if (codes != codes_.end() && codes->second.is_dynamic) return write_dynamic(node, *linear, codes->second);
      if (shapes[0].size() == 2) return write_gemm(node, *linear);
    }
    if (const auto* const reduce = std::get_if<Reduce>(&node.operation);
        reduce != nullptr && is_global(*reduce, shapes[0])) {
      const char* const op = reduce->kind == Reduce::Kind::mean ? "GlobalAveragePool" : "GlobalMaxPool";
      names_.emplace(node.output, emit(op, {name_of(node.inputs[0])}, wanted_name(node)));
      return;
    }
    const OnnxSpelling spelling = std::visit([&](const auto& op) { return op.onnx(shapes); }, node.operation);
    if (!spelling.refusal.empty())
      throw Error(ErrorKind::unsupported, fmt::format("{}: is not written to ONNX: {}: {}", net_.source,
                                                      operation_name(node.operation), spelling.refusal));
    std::vector<std::string> made;
    const std::string last = wanted_name(node);
    for (const OnnxStep& step : spelling.steps) {
      const bool is_last = made.size() + 1 == spelling.steps.size();
      OnnxNode out{"", step.op, "", {}, {is_last ? last : free_name(fmt::format("v{}/{}", node.output, made.size()))},
                   {}};
      for (const OnnxOperand& operand : step.inputs) out.inputs.push_back(name_of(operand, node, made));
      for (const OnnxSetting& setting : step.settings)
        std::visit([&](const auto& value) { out.attributes.push_back({setting.name, value}); }, setting.value);
      made.push_back(out.outputs[0]);
      model_.nodes.push_back(std::move(out));
    }
    names_.emplace(node.output, last);
  }

  // Over all dimensions behind batch and channels, which stay.
  static bool is_global(const Reduce& reduce, const Dimensions& x) {
    if ((reduce.kind != Reduce::Kind::mean && reduce.kind != Reduce::Kind::maximum) || !reduce.keeps_dimensions)
      return false;
    return x.size() > 2 && reduce.axes.size() + 2 == x.size() && reduce.axes.front() == 2;
  }

  void write_gemm(const Node& node, const Linear& linear) {
    std::vector<std::string> inputs = {name_of(node.inputs[0]), weight(linear.part, node, false)};
    if (linear.has_bias) inputs.push_back(weight(linear.bias(), node, false));
    names_.emplace(node.output, emit("Gemm", std::move(inputs), wanted_name(node), {{"transB", std::int64_t{1}}}));
  }

  // Codes of what is read, by its range when the net runs, times codes, and the sums times both scales.
  void write_dynamic(const Node& node, const Linear& linear, const WeightCodes& codes) {
    const std::string made = fmt::format("v{}", node.output);
    auto known = ranged_.find(node.inputs[0]);
    if (known == ranged_.end()) {
      const std::vector<std::string> names = {free_name(made + "/codes"), free_name(made + "/scale"),
                                              free_name(made + "/zero")};
      model_.nodes.push_back({"", "DynamicQuantizeLinear", "", {name_of(node.inputs[0])}, names, {}});
      known = ranged_.emplace(node.inputs[0], names).first;
    }
    const std::string stored = constant(linear.part + "/columns/codes", OnnxType::i8, {codes.cols(), codes.rows},
                                        bytes_of(std::span<const std::int8_t>(
                                            turned(std::span<const std::int8_t>(codes.codes), codes.rows)))),
                      scales = constant(linear.part + "/scales", OnnxType::f32, {codes.rows},
                                        bytes_of(std::span<const float>(codes.scales)));
    const std::vector<std::string>& x = known->second;
    const std::string sums = emit("MatMulInteger", {x[0], stored, x[2]}, free_name(made + "/sums"));
    const std::string numbers =
        emit("Cast", {sums}, free_name(made + "/numbers"), {{"to", static_cast<std::int64_t>(OnnxType::f32)}});
    const std::string factor = emit("Mul", {x[1], scales}, free_name(made + "/factor"));
    std::string last = wanted_name(node);
    if (linear.has_bias) {
      const std::string product = emit("Mul", {numbers, factor}, free_name(made + "/product"));
      emit("Add", {product, weight(linear.bias(), node, false)}, last);
    } else {
      emit("Mul", {numbers, factor}, last);
    }
    names_.emplace(node.output, std::move(last));
  }

  const Node* maker(ValueId value) const { return makers_[value]; }
  const Constant* constant_of(ValueId value) const {
    return maker(value) == nullptr ? nullptr : std::get_if<Constant>(&maker(value)->operation);
  }

  // A Quantize whose codes are read by Dequantize alone, all by grids that are known: codes of their own type flow
  // between the two.
  bool is_code_pair(const Node& quantize) const {
    const auto* const op = std::get_if<Quantize>(&quantize.operation);
    if (op == nullptr || code_type_of(*op) == OnnxType::undefined || is_output_.contains(quantize.output)) return false;
    const auto has_constants = [&](const Node& node) {
      return constant_of(node.inputs[1]) != nullptr && constant_of(node.inputs[2]) != nullptr;
    };
    return has_constants(quantize) && std::ranges::all_of(readers_[quantize.output], [&](const Node* reader) {
             return std::holds_alternative<Dequantize>(reader->operation) && reader->inputs[0] == quantize.output &&
                    has_constants(*reader);
           });
  }

  bool write_codes(const Node& node) {
    const bool makes = is_code_pair(node);
    const auto* const reader = std::get_if<Dequantize>(&node.operation);
    const bool reads = reader != nullptr && maker(node.inputs[0]) != nullptr && is_code_pair(*maker(node.inputs[0]));
    if (!makes && !reads) return false;
    const auto& op = std::get<Quantize>(makes ? node.operation : maker(node.inputs[0])->operation);
    const std::uint64_t axis = makes ? op.axis : reader->axis;
    const Constant &scale = *constant_of(node.inputs[1]), &zero = *constant_of(node.inputs[2]);
    const Extents dims = extents_of(scale.shape);
    std::vector<std::string> inputs = {name_of(node.inputs[0]), name_of(node.inputs[1]),
                                       code_constant(code_type_of(op), net_.weight(zero.part), dims)};
    std::vector<OnnxAttribute> attributes;
    if (!dims.empty()) attributes.push_back({"axis", static_cast<std::int64_t>(axis)});
    std::string output = makes ? free_name(inputs[0] + "/codes") : wanted_name(node);
    names_.emplace(node.output, emit(makes ? "QuantizeLinear" : "DequantizeLinear", std::move(inputs),
                                     std::move(output), std::move(attributes)));
    return true;
  }

  // Zeros of a grid, equal ones once.
  std::string code_constant(OnnxType type, std::span<const float> numbers, const Extents& dims) {
    std::string bytes;
    for (const float number : numbers) {
      const auto code = static_cast<std::int32_t>(number);
      bytes += static_cast<char>(code & 255);
      if (onnx_type_bits(type) == 16) bytes += static_cast<char>(code >> 8 & 255);
    }
    const std::string key = fmt::format("{}/{}/", static_cast<int>(type), fmt::join(dims, "x")) + bytes;
    auto known = zeros_.find(key);
    if (known == zeros_.end()) {
      known = zeros_.emplace(key, free_name(fmt::format("zero_{}", zeros_.size()))).first;
      model_.initializers.push_back({known->second, type, dims, std::move(bytes)});
    }
    return known->second;
  }

  bool write_recurrent(const Node& node) {
    if (const auto* const lstm = std::get_if<Lstm>(&node.operation)) {
      constexpr GateFunction::Kind kUsual[] = {GateFunction::Kind::sigmoid, GateFunction::Kind::tanh,
                                               GateFunction::Kind::tanh};
      std::vector<std::string> inputs = cell_inputs(node, *lstm, kUsual);
      inputs.push_back(name_of(node.inputs[2]));
      if (lstm->has_peepholes) inputs.push_back(weight(lstm->part + ".peepholes", node, false));
      std::vector<OnnxAttribute> attributes = cell_attributes(*lstm);
      if (lstm->couples_gates) attributes.push_back({"input_forget", std::int64_t{1}});
      const std::string hidden = free_name(fmt::format("v{}/hidden", node.output)),
                        cell = free_name(fmt::format("v{}/cell", node.output));
      model_.nodes.push_back({"", "LSTM", "", std::move(inputs), {hidden, "", cell}, std::move(attributes)});
      // Each direction's last cell values stand in all steps: no operator gives the others, and no file asks for them.
      const Extents steps = extents_of(net_.graph.values[node.output]);
      const Extents last = {1, steps[1], steps[2], lstm->hidden}, all = {steps[0], steps[1], steps[2], lstm->hidden};
      std::string cells = emit("Reshape", {cell, integers(last)}, free_name(fmt::format("v{}/last_cell", node.output)));
      if (steps[0] != 1)
        cells = emit("Expand", {cells, integers(all)}, free_name(fmt::format("v{}/cells", node.output)));
      names_.emplace(node.output, emit("Concat", {hidden, cells}, wanted_name(node), {{"axis", std::int64_t{3}}}));
      return true;
    }
    if (const auto* const gru = std::get_if<Gru>(&node.operation)) {
      constexpr GateFunction::Kind kUsual[] = {GateFunction::Kind::sigmoid, GateFunction::Kind::tanh};
      std::vector<std::string> inputs = cell_inputs(node, *gru, kUsual);
      std::vector<OnnxAttribute> attributes = cell_attributes(*gru);
      attributes.push_back({"linear_before_reset", static_cast<std::int64_t>(gru->resets_behind)});
      names_.emplace(node.output, emit("GRU", std::move(inputs), wanted_name(node), std::move(attributes)));
      return true;
    }
    return false;
  }

  template <class Op>
  std::vector<std::string> cell_inputs(const Node& node, const Op& op, std::span<const GateFunction::Kind> usual) {
    for (std::size_t i = 0; i < op.functions.size(); ++i)
      if (op.functions[i].kind != usual[i % usual.size()])
        throw Error(ErrorKind::unsupported,
                    fmt::format("{}: is not written to ONNX: {}: functions of gates other than the usual ones",
                                net_.source, Op::kName));
    return {name_of(node.inputs[0]),
            weight(op.part, node, false),
            weight(op.part + ".recurrent", node, false),
            op.has_bias ? weight(op.part + ".bias", node, false) : std::string(),
            "",
            name_of(node.inputs[1])};
  }

  template <class Op>
  static std::vector<OnnxAttribute> cell_attributes(const Op& op) {
    constexpr const char* kDirections[] = {"forward", "reverse", "bidirectional"};
    std::vector<OnnxAttribute> attributes = {
        {"hidden_size", static_cast<std::int64_t>(op.hidden)},
        {"direction", std::string(kDirections[static_cast<std::size_t>(op.directions)])}};
    if (op.clip > 0) attributes.push_back({"clip", op.clip});
    return attributes;
  }

  std::string name_of(ValueId value) {
    if (const Constant* const stored = constant_of(value))
      return constant(stored->part, OnnxType::f32, extents_of(stored->shape), bytes_of(net_.weight(stored->part)));
    return names_.at(value);
  }

  std::string name_of(const OnnxOperand& operand, const Node& node, const std::vector<std::string>& made) {
    switch (operand.kind) {
      case OnnxOperand::Kind::input:
        return name_of(node.inputs[operand.index]);
      case OnnxOperand::Kind::step:
        return made[operand.index];
      case OnnxOperand::Kind::weight:
        return weight(operand.part, node, false);
      case OnnxOperand::Kind::columns:
        return weight(operand.part, node, true);
      case OnnxOperand::Kind::number:
        return constant(fmt::format("number/{:.9g}", operand.number), OnnxType::f32, {},
                        bytes_of(std::span(&operand.number, 1)));
      case OnnxOperand::Kind::integers:
        return integers({operand.integers.begin(), operand.integers.end()});
      case OnnxOperand::Kind::none:
        return {};
      case OnnxOperand::Kind::surrounding:
        break;
    }
    throw Error(ErrorKind::internal, "an operation of a decoder in a net");
  }

  std::string integers(const Extents& numbers) {
    const std::vector<std::int64_t> all(numbers.begin(), numbers.end());
    return constant(fmt::format("integers/[{}]", fmt::join(all, ",")), OnnxType::i64, {all.size()},
                    bytes_of(std::span(all)));
  }

  std::string weight(const std::string& part, const Node& node, bool turns) {
    for (const WeightUse& use : net_.graph.weights(node)) {
      if (use.part != part) continue;
      if (const auto coded = codes_.find(part); coded != codes_.end())
        return coded_weight(part, coded->second, use.shape, turns);
      const std::span<const float> numbers = net_.weight(part);
      if (use.role == TensorRole::bias)
        if (const std::optional<WeightCodes> sums = sums_of(part, node)) return coded_bias(part, numbers, *sums);
      if (!turns) return constant(part, OnnxType::f32, use.shape, bytes_of(numbers));
      return constant(part + "/columns", OnnxType::f32, {use.shape[1], use.shape[0]},
                      bytes_of(std::span<const float>(turned(numbers, use.shape[0]))));
    }
    throw Error(ErrorKind::internal, "a spelling names a part that its operation does not read: " + part);
  }

  template <class T>
  static std::vector<T> turned(std::span<const T> numbers, std::uint64_t rows) {
    const std::uint64_t cols = numbers.size() / rows;
    std::vector<T> made(numbers.size());
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t col = 0; col < cols; ++col) made[col * rows + row] = numbers[row * cols + col];
    return made;
  }

  // Codes and what makes numbers of them. Rows that are several dimensions are one while they are codes.
  std::string coded_weight(const std::string& part, const WeightCodes& codes, const Shape& shape, bool turns) {
    const std::string key = turns ? part + "/columns" : part;
    if (const auto known = coded_.find(key); known != coded_.end()) return known->second;
    const bool is_split = codes.rows != shape[0];
    std::vector<std::uint64_t> dims(shape.begin(), shape.end());
    if (turns) dims = {codes.cols(), codes.rows};
    if (is_split) dims = {codes.rows, codes.cols()};
    const std::vector<std::int8_t> ordered =
        turns ? turned(std::span<const std::int8_t>(codes.codes), codes.rows) : codes.codes;
    if (codes.bits <= 2 && few_ == FewBits::packed && !is_split)
      return coded_.emplace(key, few_bits(codes, ordered, dims, turns ? 1 : 0, key)).first->second;
    const unsigned bits = codes.bits <= 4 ? 4 : 8;  // of the types that runtimes read
    const OnnxType type = bits == 4 ? OnnxType::i4 : OnnxType::i8;
    const std::string stored = free_name(key + "/codes"), scales = free_name(part + "/scales");
    model_.initializers.push_back({stored, type, dims, packed(ordered, bits)});
    model_.initializers.push_back({scales, OnnxType::f32, shape_of_scales(codes), bytes_of(codes.stored_scales())});
    const std::string zero = code_zeros(type, shape_of_scales(codes), bits);
    std::string name = emit("DequantizeLinear", {stored, scales, zero}, free_name(is_split ? key + "/rows" : key),
                            axis_of_scales(codes, turns ? 1 : 0));
    if (is_split) name = emit("Reshape", {name, integers({shape.begin(), shape.end()})}, free_name(key));
    coded_.emplace(key, name);
    return name;
  }

  // One scale for all is a number without an axis: versions of runtimes differ in whether they take one along with it.
  static std::vector<std::uint64_t> shape_of_scales(const WeightCodes& codes) {
    return std::vector<std::uint64_t>(codes.has_one_scale ? 0 : 1, codes.rows);
  }
  static std::vector<OnnxAttribute> axis_of_scales(const WeightCodes& codes, std::int64_t axis) {
    return std::vector<OnnxAttribute>(codes.has_one_scale ? 0 : 1, {"axis", axis});
  }

  // -1 and 1 in a bit, -1, 0 and 1 in two: whole divisions and remainders take them apart.
  std::string few_bits(const WeightCodes& codes, std::span<const std::int8_t> ordered,
                       const std::vector<std::uint64_t>& dims, std::size_t axis, const std::string& key) {
    const std::size_t in_byte = 8 / codes.bits, count = (ordered.size() + in_byte - 1) / in_byte;
    const bool is_binary = codes.bits == 1;
    std::vector<std::int8_t> digits;
    for (const int code : ordered) digits.push_back(static_cast<std::int8_t>(is_binary ? code > 0 : code + 1));
    const std::int32_t base = 1 << codes.bits;
    std::vector<std::int32_t> divisors = {1};
    while (divisors.size() < in_byte) divisors.push_back(divisors.back() * base);
    const float middle = is_binary ? 0.5F : 1.0F;
    std::vector<float> scales = codes.scales;
    for (float& scale : scales) scale *= is_binary ? 2.0F : 1.0F;
    Extents across(dims.size(), 1);
    across[axis] = codes.rows;
    const auto whole = [&](const char* name, std::span<const std::int32_t> numbers, std::vector<std::uint64_t> shape) {
      return constant(fmt::format("bits{}/{}", codes.bits, name), OnnxType::i32, std::move(shape), bytes_of(numbers));
    };
    model_.initializers.push_back({free_name(key + "/bits"), OnnxType::u8, {count, 1}, packed(digits, codes.bits)});
    std::string made = emit("Cast", {model_.initializers.back().name}, free_name(key + "/bytes"),
                            {{"to", static_cast<std::int64_t>(OnnxType::i32)}});
    made = emit("Div", {made, whole("divisors", divisors, {1, in_byte})}, free_name(key + "/shifted"));
    made = emit("Mod", {made, whole("base", {&base, 1}, {})}, free_name(key + "/digits"));
    made = emit("Cast", {made}, free_name(key + "/numbers"), {{"to", static_cast<std::int64_t>(OnnxType::f32)}});
    made = emit("Sub",
                {made, constant(fmt::format("bits{}/middle", codes.bits), OnnxType::f32, {},
                                bytes_of(std::span<const float>(&middle, 1)))},
                free_name(key + "/signs"));
    if (count * in_byte != ordered.size()) {
      made = emit("Reshape", {made, integers({count * in_byte})}, free_name(key + "/row"));
      made = emit("Slice", {made, integers({0}), integers({ordered.size()})}, free_name(key + "/whole"));
    }
    made = emit("Reshape", {made, integers(Extents(dims.begin(), dims.end()))}, free_name(key + "/shaped"));
    return emit("Mul",
                {made, constant(key + "/scales", OnnxType::f32, across, bytes_of(std::span<const float>(scales)))},
                free_name(key));
  }

  // Of a layer that multiplies codes with a zero point: the scales of its whole sums. Nothing: it does not.
  std::optional<WeightCodes> sums_of(const std::string& bias, const Node& node) const {
    const Node* const reader = node.inputs.empty() ? nullptr : maker(node.inputs[0]);
    if (reader == nullptr || !std::holds_alternative<Dequantize>(reader->operation)) return {};
    const Node* const quantize = maker(reader->inputs[0]);
    if (quantize == nullptr || !is_code_pair(*quantize) || std::get<Quantize>(quantize->operation).low != 0) return {};
    const auto codes = codes_.find(bias.substr(0, bias.size() - std::string_view(".bias").size()));
    const std::span<const float> scale = net_.weight(constant_of(reader->inputs[1])->part);
    const bool multiplies =
        std::holds_alternative<Convolution>(node.operation) || std::holds_alternative<Linear>(node.operation);
    if (!multiplies || codes == codes_.end() || scale.size() != 1) return {};
    WeightCodes sums{32, codes->second.rows, {}, codes->second.scales, codes->second.has_one_scale};
    for (float& one : sums.scales) one *= scale[0];
    return sums;
  }

  // Whole numbers of 32 bits that are added to the sums; what does not fit stays in f32.
  std::string coded_bias(const std::string& part, std::span<const float> numbers, const WeightCodes& sums) {
    std::vector<std::int32_t> codes;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const double code = std::nearbyint(static_cast<double>(numbers[i]) / static_cast<double>(sums.scales[i]));
      if (!(std::abs(code) < 0x1p31)) return constant(part, OnnxType::f32, {numbers.size()}, bytes_of(numbers));
      codes.push_back(static_cast<std::int32_t>(code));
    }
    if (const auto known = coded_.find(part); known != coded_.end()) return known->second;
    const std::string stored = free_name(part + "/codes"), factors = free_name(part + "/scales");
    model_.initializers.push_back({stored, OnnxType::i32, {codes.size()}, bytes_of(std::span<const int>(codes))});
    model_.initializers.push_back({factors, OnnxType::f32, shape_of_scales(sums), bytes_of(sums.stored_scales())});
    const std::string name = emit("DequantizeLinear", {stored, factors}, free_name(part), axis_of_scales(sums, 0));
    return coded_.emplace(part, name).first->second;
  }

  std::string code_zeros(OnnxType type, const std::vector<std::uint64_t>& shape, unsigned bits) {
    const std::uint64_t count = shape.empty() ? 1 : shape[0];
    const std::string name = shape.empty() ? "zero" : fmt::format("zeros_{}", count);
    std::string& known = zeros_[fmt::format("weights/{}/{}", static_cast<int>(type), name)];
    if (!known.empty()) return known;
    known = free_name(name);
    model_.initializers.push_back({known, type, shape, std::string((count * bits + 7) / 8, '\0')});
    return known;
  }

  // Lowest bits first.
  static std::string packed(std::span<const std::int8_t> codes, unsigned bits) {
    if (bits == 8) return bytes_of(codes);
    const unsigned in_byte = 8 / bits;
    std::string bytes((codes.size() + in_byte - 1) / in_byte, '\0');
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const auto code = static_cast<unsigned>(static_cast<std::uint8_t>(codes[i])) & ((1u << bits) - 1);
      bytes[i / in_byte] =
          static_cast<char>(static_cast<unsigned char>(bytes[i / in_byte]) | (code << (i % in_byte * bits)));
    }
    return bytes;
  }

  std::string constant(const std::string& wanted, OnnxType type, std::vector<std::uint64_t> dims, std::string bytes) {
    const std::string key = fmt::format("{}/{}", wanted, fmt::join(dims, "x"));
    auto known = stored_.find(key);
    if (known == stored_.end()) {
      known = stored_.emplace(key, free_name(wanted)).first;
      model_.initializers.push_back({known->second, type, std::move(dims), std::move(bytes)});
    }
    return known->second;
  }

  const Net& net_;
  const NetCodes& codes_;
  FewBits few_;
  std::vector<const Node*> makers_;
  std::vector<std::vector<const Node*>> readers_;
  OnnxModel model_;
  std::map<ValueId, std::string> names_;
  std::set<ValueId> is_output_;
  std::set<std::string> taken_, given_;  // names; outputs whose value has their name
  std::map<std::string, std::string> stored_, coded_, zeros_;
  std::map<ValueId, std::vector<std::string>> ranged_;  // rounded when the net runs: codes, scale, zero
};

}  // namespace

OnnxModel spell_onnx(const Net& net, const NetCodes& codes, FewBits few) { return OnnxExport(net, codes, few).write(); }

}  // namespace nibble
