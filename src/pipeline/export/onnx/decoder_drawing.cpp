// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/onnx/decoder_drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nibble/error.h"
#include "nibble/model.h"

namespace nibble {
namespace {

template <class T>
concept HasPart = requires(const T& op) { op.part; };

OnnxSpelling spelling_of(const FlatNode& node) {
  return std::visit([&](const auto& op) { return op.onnx(node.shapes); }, node.node->operation);
}

std::string_view name_of(const FlatNode& node) {
  return std::visit([](const auto& op) { return op.kName; }, node.node->operation);
}

}  // namespace

std::uint64_t exported_context(const ModelConfig& config) {
  const bool has_two = !rope_long_frequencies(config.rope).empty();
  return has_two ? std::min(config.context, config.rope.original_context) : config.context;
}

DecoderDrawing::DecoderDrawing(const DrawingSource& source, OnnxPlace::Layout codes, OnnxType type)
    : source_(source),
      flat_(flatten(source.parts.network())),
      pen_(type),
      weights_(source.parts, source.planned, codes, pen_),
      values_(flat_.producer.size()),
      drawn_(flat_.nodes.size()) {}

void DecoderDrawing::refuse_unsayable() const {
  for (std::size_t i = 0; i < flat_.nodes.size(); ++i) {
    if (is_fused(i)) continue;
    const FlatNode& node = flat_.nodes[i];
    const std::string refusal = node.keys != nullptr && node.keys->is_received
                                    ? "the keys and values of another layer cannot be named there"
                                    : spelling_of(node).refusal;
    if (!refusal.empty())
      throw Error(ErrorKind::unsupported,
                  fmt::format("ONNX has no place for the operation {} of layer {} here: {}; write a GGUF file or a "
                              "directory instead",
                              name_of(node), node.layer, refusal));
  }
}

OnnxPackage DecoderDrawing::draw() {
  refuse_unsayable();
  add_interface();
  for (std::size_t i = 0; i < flat_.nodes.size(); ++i) {
    if (drawn_[i]) continue;
    enter(flat_.nodes[i]);
    if (!draw_fused(i)) spell(flat_.nodes[i]);
    drawn_[i] = true;
  }
  pen_.rename(values_[flat_.logits], "logits");
  OnnxPackage package{std::move(pen_.model()), weights_.places()};
  OnnxModel& model = package.model;
  model.producer = "nibble";
  model.producer_version = version();
  model.graph_name = "main_graph";
  return package;
}

void DecoderDrawing::enter(const FlatNode& node) {
  std::string label = std::visit(
      [](const auto& op) -> std::string {
        if constexpr (HasPart<std::decay_t<decltype(op)>>)
          return op.part;
        else
          return std::string(op.kName);
      },
      node.node->operation);
  const bool is_layer = node.layer >= 0 && node.layer < source_.parts.network().num_layers();
  pen_.enter(is_layer ? fmt::format("/model/layers.{}/{}", node.layer, label) : "/model/" + label);
}

void DecoderDrawing::add_interface() {
  OnnxModel& model = pen_.model();
  model.inputs.push_back({"input_ids", OnnxType::i64, {"batch_size", "sequence_length"}});
  model.inputs.push_back({"attention_mask", OnnxType::i64, {"batch_size", "total_sequence_length"}});
  model.outputs.push_back({"logits", pen_.type(), {"batch_size", "sequence_length", source_.config.vocab_size}});
}

std::string DecoderDrawing::past(const FlatNode& attention, std::string_view which) {
  std::string name = fmt::format("past_key_values.{}.{}", attention.layer, which);
  pen_.model().inputs.push_back(
      {name, pen_.type(), {"batch_size", attention.keys->kv_heads, "past_sequence_length", attention.keys->head_dim}});
  return name;
}

std::string DecoderDrawing::present(const FlatNode& attention, std::string_view which) {
  std::string name = fmt::format("present.{}.{}", attention.layer, which);
  pen_.model().outputs.push_back(
      {name, pen_.type(), {"batch_size", attention.keys->kv_heads, "total_sequence_length", attention.keys->head_dim}});
  return name;
}

std::string DecoderDrawing::table(const Rope& rope, bool is_sine) {
  // Layers that turn by other frequencies have tables of their own.
  std::uint64_t number = 0;
  for (const FlatNode& node : flat_.nodes)
    if (const auto* const other = std::get_if<Rope>(&node.node->operation)) {
      if (other->frequencies == rope.frequencies && other->magnitude == rope.magnitude) break;
      ++number;
    }
  const std::string name =
      fmt::format("{}_cache{}", is_sine ? "sin" : "cos", number == 0 ? "" : fmt::format(".{}", number));
  if (const auto known = tables_.find(name); known != tables_.end()) return known->second;
  const std::uint64_t positions = source_.has_tables ? exported_context(source_.config) : 1;
  constexpr std::uint64_t kMostNumbers = std::uint64_t{1} << 28;
  if (positions > kMostNumbers / rope.frequencies.size())
    throw Error(ErrorKind::unsupported,
                fmt::format("a graph has a table of all positions, and that of max_position_embeddings {} would take "
                            "more than a gigabyte; set it to what is used",
                            positions));
  std::vector<float> values;
  values.reserve(positions * rope.frequencies.size());
  for (std::uint64_t p = 0; p < positions; ++p)
    for (const double frequency : rope.frequencies) {
      const double angle = static_cast<double>(p) * frequency;
      values.push_back(
          static_cast<float>((is_sine ? std::sin(angle) : std::cos(angle)) * static_cast<double>(rope.magnitude)));
    }
  return tables_[name] = pen_.numbers(name, {positions, rope.frequencies.size()}, values);
}

std::string DecoderDrawing::operand(const OnnxOperand& operand, const FlatNode& node,
                                    const std::vector<std::string>& steps) {
  switch (operand.kind) {
    case OnnxOperand::Kind::input:
      return values_[node.inputs[operand.index]];
    case OnnxOperand::Kind::step:
      return steps[operand.index];
    case OnnxOperand::Kind::weight:
      return weights_.numbers(part(node, operand.part));
    case OnnxOperand::Kind::columns:
      return weights_.columns(part(node, operand.part));
    case OnnxOperand::Kind::number:
      return pen_.number(operand.number);
    case OnnxOperand::Kind::none:
      return {};
    case OnnxOperand::Kind::integers:
      return pen_.integers(operand.integers);
    case OnnxOperand::Kind::surrounding: {
      std::string made = surrounding(operand.surrounding, node);
      enter(node);
      return made;
    }
  }
  return {};
}

// Products with codes, and lookups, have ways of their own; all else reads numbers.
std::string DecoderDrawing::step(const OnnxStep& step, const FlatNode& node, const std::vector<std::string>& steps) {
  if (step.op == "MatMul" && step.inputs[1].kind == OnnxOperand::Kind::columns) {
    const PartOf matrix = part(node, step.inputs[1].part);
    if (weights_.is_coded(matrix))
      return product(operand(step.inputs[0], node, steps), weights_.coded(std::span(&matrix, 1)));
  }
  if (step.op == "Gather" && step.inputs[0].kind == OnnxOperand::Kind::weight) {
    const PartOf matrix = part(node, step.inputs[0].part);
    const std::string ids = operand(step.inputs[1], node, steps);
    if (weights_.is_coded(matrix)) return lookup(ids, weights_.coded(std::span(&matrix, 1)));
    const std::string rows = pen_.add("Gather", {weights_.stored_numbers(matrix), ids}, {{"axis", std::int64_t{0}}});
    const std::string& format = weights_.planned(matrix).format->name();
    return format == (pen_.type() == OnnxType::f16 ? "f16" : "f32") ? rows : pen_.cast(rows, pen_.type());
  }
  std::vector<std::string> inputs;
  for (const OnnxOperand& input : step.inputs) inputs.push_back(operand(input, node, steps));
  std::vector<OnnxAttribute> attributes;
  for (const OnnxSetting& setting : step.settings)
    std::visit([&](const auto& value) { attributes.push_back({setting.name, value}); }, setting.value);
  return pen_.add(step.op, std::move(inputs), std::move(attributes));
}

void DecoderDrawing::spell(const FlatNode& node) {
  const OnnxSpelling spelling = spelling_of(node);
  std::vector<std::string> steps;
  for (const OnnxStep& one : spelling.steps) {
    steps.push_back(step(one, node, steps));
    const auto kept = std::ranges::find(spelling.present, steps.size() - 1);
    if (kept == spelling.present.end()) continue;
    const std::string name = present(node, kept == spelling.present.begin() ? "key" : "value");
    pen_.rename(steps.back(), name);
    steps.back() = name;
  }
  values_[node.output] = steps.back();
}

}  // namespace nibble
