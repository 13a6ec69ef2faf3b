// SPDX-License-Identifier: Apache-2.0
#include "net/tflite/tflite_export.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/tflite/tflite_codes.h"
#include "net/refused_nodes.h"
#include "net/tflite/tflite_speller.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::optional<TfliteType> tflite_type_of(NumberType type) {
  switch (type) {
    case NumberType::f32:
    case NumberType::f16:
    case NumberType::bf16:
    case NumberType::f64:
      return TfliteType::f32;
    case NumberType::i32:
      return TfliteType::i32;
    case NumberType::i64:
      return TfliteType::i64;
    default:
      return std::nullopt;
  }
}

template <class... Visitor>
struct Overloaded : Visitor... {
  using Visitor::operator()...;
};

}  // namespace

TfliteSpeller::TfliteSpeller(const Net& net, const NetCodes& codes, const TfliteExportOptions& options)
    : net_(net), codes_(codes), options_(options), spelling_(net, codes), orders_(value_orders(net)) {
  for (const NetPort& input : net.inputs) draft_.reserve(input.name);
  for (const NetPort& output : net.outputs) draft_.reserve(output.name);
}

TfliteModel TfliteSpeller::write() {
  RefusedNodes refused;
  const auto guarded = [&](const std::string& what, const std::string& name, const auto& act) {
    try {
      act();
    } catch (const TfliteRefusal& refusal) {
      // Without a reason: what it reads has been refused.
      if (!refusal.reason.empty()) refused.add(fmt::format("{}: {}", what, refusal.reason), name);
    }
  };
  for (const NetPort& input : net_.inputs) guarded("an input", input.name, [&] { add_input(input); });
  for (const Node& node : net_.graph.nodes)
    guarded(std::string(operation_name(node.operation)), name_of(node.output), [&] { write(node); });
  for (const NetPort& output : net_.outputs) guarded("an output", output.name, [&] { add_output(output); });
  if (!refused.empty())
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: is not written to TensorFlow Lite, for which nibble has no spelling of {}; ONNX has "
                            "one of nets in floats",
                            net_.source, refused.text()),
                "container");
  TfliteModel model = std::move(draft_).finish();
  model.description = "nibble";
  return model;
}

std::string TfliteSpeller::name_of(ValueId value) const {
  if (!net_.names[value].empty()) return net_.names[value];
  // What rounding has drawn is called like what it rounds.
  const Node* const node = spelling_.maker(value);
  if (node != nullptr &&
      (std::holds_alternative<Quantize>(node->operation) || std::holds_alternative<Dequantize>(node->operation)))
    return name_of(node->inputs[0]);
  return fmt::format("v{}", value);
}

Extents TfliteSpeller::lying(ValueId value, ValueOrder order) const {
  const Extents drawn = extents(value);
  return ordered(std::span<const std::uint64_t>(drawn), order);
}

void TfliteSpeller::set(ValueId value, ValueOrder order, int tensor) { tensors_[{value, order}] = tensor; }

int TfliteSpeller::stored(ValueId value, ValueOrder order) {
  if (const auto known = tensors_.find({value, order}); known != tensors_.end()) return known->second;
  const ValueOrder other = order == ValueOrder::drawn ? ValueOrder::channels_last : ValueOrder::drawn;
  const auto found = tensors_.find({value, other});
  if (found == tensors_.end()) refuse("");
  const std::size_t rank = extents(value).size();
  std::vector<std::uint64_t> moves;
  for (const std::uint64_t dimension : dimensions_of(order, rank)) moves.push_back(place_of(other, rank, dimension));
  const char* const how = order == ValueOrder::drawn ? "/channels_second" : "/channels_last";
  const int made = rank < 3 ? found->second : draft_.transpose(found->second, moves, name_of(value) + how);
  set(value, order, made);
  return made;
}

int TfliteSpeller::codes(ValueId dequantized, ValueOrder order) {
  return stored(spelling_.quantize_of(dequantized)->output, order);
}

int TfliteSpeller::floats(ValueId value, ValueOrder order) {
  if (const Constant* const constant = spelling_.constant_of(value)) {
    const Extents drawn = extents(value);
    const std::vector<std::uint64_t> moves = dimensions_of(order, drawn.size());
    if (std::ranges::is_sorted(moves)) return draft_.numbers(constant->part, net_.weight(constant->part), drawn);
    const Dimensions shape = net_.graph.values[value];
    const std::vector<float> numbers =
        evaluate_operation(Transpose{moves}, std::span(&shape, 1), {net_.weight(constant->part)}, {}, nullptr);
    return draft_.numbers(constant->part, numbers, lying(value, order));
  }
  if (spelling_.quantize_of(value) == nullptr) return stored(value, order);
  const auto known = floats_.find({value, order});
  if (known != floats_.end()) return known->second;
  const int made = draft_.apply(tflite_code::kDequantize, {codes(value, order)}, name_of(value) + "/float",
                                lying(value, order), TfliteKind{});
  return floats_[{value, order}] = made;
}

void TfliteSpeller::add_input(const NetPort& port) {
  const auto type = tflite_type_of(port.type);
  if (!type) refuse(fmt::format("of {}", number_type_name(port.type)));
  const std::vector<const Node*>& readers = spelling_.readers(port.value);
  const bool is_code = options_.has_code_ports && readers.size() == 1 && !spelling_.is_output(port.value) &&
                       std::holds_alternative<Quantize>(readers[0]->operation) && spelling_.grid_of(*readers[0]);
  const Extents shape = extents(port.value);
  const int made = is_code ? draft_.value(port.name, shape, TfliteKind{spelling_.grid_of(*readers[0])})
                           : draft_.value(port.name, shape, *type);
  draft_.rename(made, port.name);
  draft_.input(made);
  named_.insert(made);
  if (is_code) return set(readers[0]->output, ValueOrder::drawn, made);
  set(port.value, ValueOrder::drawn,
      *type == TfliteType::f32 ? made
                               : draft_.apply(tflite_code::kCast, {made}, port.name + "/f32", shape, TfliteKind{}));
}

void TfliteSpeller::add_output(const NetPort& port) {
  const auto type = tflite_type_of(port.type);
  if (!type || *type != TfliteType::f32) refuse(fmt::format("of {}", number_type_name(port.type)));
  const bool is_code = options_.has_code_ports && spelling_.quantize_of(port.value) != nullptr;
  int made = is_code ? codes(port.value, ValueOrder::drawn) : floats(port.value, ValueOrder::drawn);
  // An input or another output has a name of its own; so have numbers that are stored.
  if (named_.contains(made) || !draft_.tensor(made).bytes.empty())
    made = draft_.apply(tflite_code::kReshape, {made, draft_.whole_numbers(extents(port.value))}, port.name,
                        extents(port.value), draft_.kind(made));
  draft_.rename(made, port.name);
  draft_.output(made);
  named_.insert(made);
}

void TfliteSpeller::write(const Node& node) {
  const Operation& op = node.operation;
  if (std::holds_alternative<Constant>(op) || spelling_.is_absorbed(node)) return;
  if (const auto* const quantize = std::get_if<Quantize>(&op)) {
    const auto grid = spelling_.grid_of(node);
    if (!grid) refuse(fmt::format("codes {} to {}, or by grids that are no numbers", quantize->low, quantize->high));
    const ValueOrder order = orders_[node.output];
    if (tensors_.contains({node.output, ValueOrder::drawn})) return;  // an input
    if (const CodeSpelling::Coded* const coded = spelling_.coded(node))
      return spell({*coded->node, node.output, TfliteKind{grid}, coded->activation});
    return set(node.output, order,
               draft_.apply(tflite_code::kQuantize, {floats(node.inputs[0], order)}, name_of(node.output) + "/codes",
                            lying(node.output, order), TfliteKind{grid}));
  }
  if (std::holds_alternative<Dequantize>(op)) {
    if (spelling_.quantize_of(node.output) == nullptr) refuse("codes that no rounding before it makes");
    return;  // where it is read
  }
  if (tensors_.contains({node.output, ValueOrder::drawn}) ||
      tensors_.contains({node.output, ValueOrder::channels_last}))
    return;  // an activation that became part of what is before it
  const Node* const activation = spelling_.fused_activation(node);
  if (activation == nullptr) return spell({node, node.output, {}, TfliteActivation::none});
  spell({node, activation->output, {}, *CodeSpelling::activation_of(std::get<Unary>(activation->operation))});
}

void TfliteSpeller::spell(const Site& site) {
  std::visit(Overloaded{[&](const Convolution& op) { spell_convolution(site, op); },
                        [&](const TransposedConvolution& op) { spell_transposed(site, op); },
                        [&](const Linear& op) { spell_linear(site, op); },
                        [&](const MatrixProduct&) { spell_matrix_product(site); },
                        [&](const Pooling& op) { spell_pooling(site, op); },
                        [&](const Unary& op) { spell_unary(site, op); },
                        [&](const Binary& op) { spell_binary(site, op.kind); },
                        [&](const Add&) { spell_binary(site, Binary::Kind::add); },
                        [&](const Multiply&) { spell_binary(site, Binary::Kind::multiply); },
                        [&](const LayerNorm& op) { spell_layer_norm(site, op); },
                        [&](const BatchNorm& op) { spell_batch_norm(site, op); },
                        [&](const Silu&) { spell_silu(site); },
                        [&](const Sigmoid&) {
                          const ValueOrder order = orders_[site.made];
                          make(site, tflite_code::kLogistic, {in(site, 0, order)}, order);
                        },
                        [&](const Gelu&) {
                          const ValueOrder order = orders_[site.made];
                          TfliteOptions options;
                          options.is_approximate = true;
                          make(site, tflite_code::kGelu, {in(site, 0, order)}, order, options);
                        },
                        [&](const Reshape&) { spell_reshape(site); },
                        [&](const Transpose& op) { spell_transpose(site, op); },
                        [&](const Concat& op) { spell_concat(site, op); },
                        [&](const Pad& op) { spell_pad(site, op); },
                        [&](const StridedSlice& op) { spell_slice(site, op.begin, op.count, op.step); },
                        [&](const Gather& op) { spell_gather(site, op); },
                        [&](const Resize& op) { spell_resize(site, op); },
                        [&](const Reduce& op) { spell_reduce(site, op); },
                        [&](const Softmax& op) { spell_softmax(site, op); },
                        [&](const Expand&) {
                          make(site, tflite_code::kBroadcastTo,
                               {in(site, 0, ValueOrder::drawn), draft_.whole_numbers(extents(site.made))},
                               ValueOrder::drawn);
                        },
                        [&](const auto&) { refuse("this operation"); }},
             site.node.operation);
}

std::vector<std::uint64_t> TfliteSpeller::place_all(std::span<const std::uint64_t> axes, ValueOrder order,
                                                    std::size_t rank) const {
  std::vector<std::uint64_t> places;
  for (const std::uint64_t axis : axes) places.push_back(place_of(order, rank, axis));
  std::ranges::sort(places);
  return places;
}

void TfliteSpeller::make(const Site& site, int code, std::vector<int> inputs, ValueOrder order, TfliteOptions options) {
  options.activation = site.activation;
  set(site.made, order,
      draft_.apply(code, std::move(inputs), name_of(site.made), lying(site.made, order), site.kind, options));
}

// A value in between, of floats or of the codes that the first input has.
int TfliteSpeller::step(const Site& site, int code, std::vector<int> inputs, const Extents& shape,
                        TfliteOptions options) {
  const TfliteKind kind = site.is_coded() ? draft_.kind(inputs[0]) : TfliteKind{};
  return draft_.apply(code, std::move(inputs), name_of(site.node.output) + "/step", shape, kind, options);
}

int TfliteSpeller::number(float number) {
  return draft_.numbers(fmt::format("{:.9g}", number), std::span(&number, 1), {});
}

TfliteModel spell_tflite(const Net& net, const NetCodes& codes, const TfliteExportOptions& options) {
  return TfliteSpeller(net, codes, options).write();
}

void require_tflite(const Net& net) { spell_tflite(net); }

}  // namespace nibble
