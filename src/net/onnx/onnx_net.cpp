// SPDX-License-Identifier: Apache-2.0
#include "net/onnx/onnx_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "io/message_text.h"
#include "net/onnx/constants.h"
#include "net/onnx/node_view.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::int64_t kNewestIr = 14;

const OnnxConverter* find_converter(const OnnxNode& node) {
  if (!node.domain.empty()) return nullptr;
  for (const auto converters :
       {elementwise_converters(), layout_converters(), layer_converters(), recurrent_converters(),
        reduction_converters(), quantized_converters(), sampling_converters()})
    for (const OnnxConverter& one : converters)
      if (one.op == node.op) return &one;
  return nullptr;
}

bool is_known(const OnnxNode& node) {
  return (node.domain.empty() && (node.op == "Constant" || node.op == "If")) || find_converter(node) != nullptr;
}

class OnnxImport {
 public:
  OnnxImport(OnnxModel model, const std::filesystem::path& path, const NetOptions& options)
      : model_(std::move(model)), source_(path.string()), options_(options), constants_(path.parent_path()) {}

  Net read() {
    judge_version();
    judge_operators(model_.nodes);
    for (const OnnxInitializer& one : model_.initializers)
      define(one.name, pen_.constant(constants_.read(one, where_constant(one.name))), source_);
    for (const OnnxValue& value : model_.inputs)
      if (!values_.contains(value.name)) add_input(value);
    judge_options();
    for (const std::size_t index : order_of(model_.nodes)) draw(model_.nodes[index]);
    if (model_.outputs.empty()) corrupt(source_, "has no outputs");
    for (const OnnxValue& value : model_.outputs) {
      const auto found = values_.find(value.name);
      if (found == values_.end()) corrupt(source_, fmt::format("nothing makes its output {}", quote_name(value.name)));
      guarded(source_, [&] { pen_.output(value.name, found->second); });
    }
    Net net = std::move(pen_).finish();
    net.source = source_;
    net.container = "ONNX";
    net.written = fmt::format("opset {}, IR {}", model_.opset, model_.ir_version);
    if (!model_.producer.empty())
      net.written += fmt::format(", by {}{}{}", model_.producer, model_.producer_version.empty() ? "" : " ",
                                 model_.producer_version);
    return net;
  }

 private:
  [[noreturn]] static void corrupt(const std::string& where, const std::string& why) {
    throw Error(ErrorKind::corrupt, fmt::format("{}: {}", where, why));
  }

  // What a drawing says of what does not fit together is said of the file.
  template <class Act>
  static void guarded(const std::string& where, Act act) {
    try {
      act();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::internal) throw;
      std::string_view what = error.what();
      if (what.starts_with(kNotDrawable)) what.remove_prefix(kNotDrawable.size());
      corrupt(where, std::string(what));
    }
  }

  std::string where_constant(const std::string& name) const {
    return fmt::format("{}: initializer {}", source_, quote_name(name));
  }
  std::string where_node(const OnnxNode& node) const {
    const std::string name = !node.name.empty() ? node.name : node.outputs.empty() ? "" : node.outputs[0];
    return fmt::format("{}: node {} ({})", source_, quote_name(name), node.op);
  }

  void judge_version() const {
    if (model_.ir_version > kNewestIr)
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: is of a later version of ONNX (IR {}) than is known here: {}", source_,
                              model_.ir_version, kNewestIr));
    if (model_.opset < kOldestOpset || model_.opset > kNewestOpset)
      throw Error(ErrorKind::unsupported, fmt::format("{}: its operators are of opset {}; read are {} to {}", source_,
                                                      model_.opset, kOldestOpset, kNewestOpset));
  }

  // All that are not known at once, each with the first node that is one.
  void judge_operators(const std::vector<OnnxNode>& nodes) const {
    std::map<std::string, std::pair<std::string, std::size_t>> unknown;
    for (const OnnxNode& node : nodes) {
      if (is_known(node)) continue;
      const std::string op = node.domain.empty() ? node.op : node.domain + "." + node.op;
      auto& [name, count] = unknown[op];
      if (count++ == 0) name = !node.name.empty() ? node.name : node.outputs.empty() ? "" : node.outputs[0];
    }
    if (unknown.empty()) return;
    constexpr std::size_t kShown = 10;
    std::string text;
    std::size_t shown = 0;
    for (const auto& [op, first] : unknown) {
      if (shown++ == kShown) break;
      text += fmt::format("{}{} ({}{})", text.empty() ? "" : ", ", op,
                          first.second > 1 ? fmt::format("{} nodes, the first ", first.second) : "node ",
                          quote_name(first.first));
    }
    if (unknown.size() > kShown) text += fmt::format(" and {} more", unknown.size() - kShown);
    throw Error(ErrorKind::unsupported, fmt::format("{}: operators that are not known: {}", source_, text));
  }

  void judge_options() const {
    const auto is_input = [&](const std::string& name) {
      return std::ranges::find(model_.inputs, name, &OnnxValue::name) != model_.inputs.end();
    };
    for (const auto& [name, shape] : options_.shapes)
      if (!is_input(name)) refuse_option(name, "shape");
    for (const auto& [name, number] : options_.constants)
      if (!is_input(name)) refuse_option(name, "constant");
  }

  [[noreturn]] void refuse_option(const std::string& name, const char* setting) const {
    std::string inputs;
    for (const OnnxValue& value : model_.inputs)
      if (std::ranges::find(model_.initializers, value.name, &OnnxInitializer::name) == model_.initializers.end())
        inputs += (inputs.empty() ? "" : ", ") + value.name;
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}: has no input {}; its inputs are {}", source_, quote_name(name), inputs), setting);
  }

  void define(const std::string& name, NetValue value, const std::string& where) {
    if (name.empty()) corrupt(where, "a value without a name");
    pen_.name(value, name);
    if (!values_.emplace(name, std::move(value)).second)
      corrupt(where, fmt::format("two values have the name {}", quote_name(name)));
    scope_.push_back(name);
  }

  void add_input(const OnnxValue& value) {
    const std::string where = fmt::format("{}: input {}", source_, quote_name(value.name));
    const NumberType type = number_type_of(value.type, where);
    Extents extents;
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < value.dims.size(); ++i) {
      const auto* const extent = std::get_if<std::uint64_t>(&value.dims[i]);
      // Some exporters write 0 or -1 for what is open; the batch is one.
      if (extent == nullptr || *extent == 0) open.push_back(i);
      extents.push_back(extent == nullptr || *extent == 0 ? 1 : *extent);
    }
    const bool is_said = options_.shapes.contains(value.name);
    if (is_said) extents = said_shape(value, where);
    if (const auto number = options_.constants.find(value.name); number != options_.constants.end())
      return define(value.name, pen_.constant(filled(type, extents, number->second)), where);
    const bool is_batch_alone = open.empty() || (open.size() == 1 && open[0] == 0);
    if (!is_said && (!is_batch_alone || !value.has_shape))
      throw Error(ErrorKind::unusable_input,
                  fmt::format("{}: its shape is open, {}; give one: {}=1,...", where, shape_of(value), value.name),
                  "shape");
    guarded(where, [&] { define(value.name, pen_.input(value.name, type, extents), where); });
  }

  static std::string shape_of(const OnnxValue& value) {
    if (!value.has_shape) return "of any number of dimensions";
    std::string text;
    for (const auto& extent : value.dims) {
      const auto* const number = std::get_if<std::uint64_t>(&extent);
      const std::string name = number != nullptr ? std::to_string(*number) : quote_name(std::get<std::string>(extent));
      text += (text.empty() ? "" : ", ") + name;
    }
    return "[" + text + "]";
  }

  Extents said_shape(const OnnxValue& value, const std::string& where) const {
    const Extents& said = options_.shapes.at(value.name);
    bool fits = !value.has_shape || said.size() == value.dims.size();
    for (std::size_t i = 0; fits && i < value.dims.size(); ++i)
      if (const auto* const extent = std::get_if<std::uint64_t>(&value.dims[i]))
        fits = *extent == 0 || *extent == said[i];
    if (!fits)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{}: should have the shape {}; asked for was [{}]", where, shape_of(value),
                              fmt::join(said, ", ")),
                  "shape");
    return said;
  }

  static NetConstant filled(NumberType type, const Extents& extents, double number) {
    NetConstant made{type, extents};
    const std::size_t count = numbers_of(std::span(extents));
    if (is_floating(type))
      made.numbers.assign(count, static_cast<float>(number));
    else
      made.integers.assign(count, static_cast<std::int64_t>(number));
    return made;
  }

  // Each behind what makes what it reads.
  std::vector<std::size_t> order_of(const std::vector<OnnxNode>& nodes) const {
    std::unordered_map<std::string, std::size_t> makers;
    for (std::size_t i = 0; i < nodes.size(); ++i)
      for (const std::string& output : nodes[i].outputs)
        if (!output.empty()) makers.emplace(output, i);
    std::vector<std::size_t> waits(nodes.size(), 0), order;
    std::vector<std::vector<std::size_t>> readers(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i)
      for (const std::string& input : reads_of(nodes[i]))
        if (const auto maker = makers.find(input); maker != makers.end() && !values_.contains(input)) {
          readers[maker->second].push_back(i);
          ++waits[i];
        }
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (waits[i] == 0) order.push_back(i);
    for (std::size_t at = 0; at < order.size(); ++at)
      for (const std::size_t reader : readers[order[at]])
        if (--waits[reader] == 0) order.push_back(reader);
    if (order.size() != nodes.size()) {
      const auto first = std::ranges::find_if(waits, [](std::size_t n) { return n != 0; });
      corrupt(where_node(nodes[static_cast<std::size_t>(first - waits.begin())]),
              "reads what it makes itself, by way of other nodes: the graph has a cycle");
    }
    return order;
  }

  // Of a node and the graphs within it.
  static std::vector<std::string> reads_of(const OnnxNode& node) {
    std::vector<std::string> names = node.inputs;
    std::erase(names, "");
    for (const OnnxAttribute& attribute : node.attributes)
      if (const auto* const body = std::get_if<std::shared_ptr<const OnnxBody>>(&attribute.value))
        for (const OnnxNode& inner : (*body)->nodes) {
          const std::vector<std::string> more = reads_of(inner);
          names.insert(names.end(), more.begin(), more.end());
        }
    return names;
  }

  void draw(const OnnxNode& node) {
    const std::string where = where_node(node);
    std::vector<std::optional<NetValue>> inputs;
    for (const std::string& name : node.inputs) {
      if (name.empty()) {
        inputs.emplace_back();
        continue;
      }
      const auto found = values_.find(name);
      if (found == values_.end()) corrupt(where, fmt::format("reads {}, which nothing makes", quote_name(name)));
      inputs.emplace_back(found->second);
    }
    NodeView view(node, model_.opset, where, std::move(inputs), pen_);
    guarded(where, [&] {
      if (node.op == "Constant")
        view.out(pen_.constant(constants_.read_node(node, where)));
      else if (node.op == "If")
        take_branch(view);
      else
        find_converter(node)->draw(view);
    });
    for (std::size_t i = 0; i < node.outputs.size(); ++i)
      if (!node.outputs[i].empty() && view.output(i)) define(node.outputs[i], std::move(*view.output(i)), where);
  }

  // The branch that is taken stands in the node's place; the other is not looked at.
  void take_branch(NodeView& view) {
    if (!view.in(0).is_constant())
      view.refuse(fmt::format(
          "which branch it takes is known only when the net runs: {}; an input that decides can be given as a constant",
          view.node().inputs[0]));
    const auto* const body =
        view.node().find<std::shared_ptr<const OnnxBody>>(view.single(0) != 0 ? "then_branch" : "else_branch");
    if (body == nullptr) view.damaged("it has no such branch");
    const OnnxBody& taken = **body;
    if (taken.outputs.size() != view.node().outputs.size()) view.damaged("a branch of another number of outputs");
    judge_operators(taken.nodes);
    std::vector<std::string> outer;
    outer.swap(scope_);
    for (const OnnxInitializer& one : taken.initializers)
      define(one.name, pen_.constant(constants_.read(one, where_constant(one.name))), source_);
    for (const std::size_t index : order_of(taken.nodes)) draw(taken.nodes[index]);
    for (std::size_t i = 0; i < taken.outputs.size(); ++i) {
      const auto found = values_.find(taken.outputs[i]);
      if (found == values_.end()) view.damaged(fmt::format("nothing makes {}", quote_name(taken.outputs[i])));
      view.out(found->second, i);
    }
    for (const std::string& name : scope_) values_.erase(name);
    scope_.swap(outer);
  }

  OnnxModel model_;
  std::string source_;
  const NetOptions& options_;
  OnnxConstants constants_;
  NetPen pen_;
  std::unordered_map<std::string, NetValue> values_;
  std::vector<std::string> scope_;  // names of the graph that is drawn
};

}  // namespace

std::vector<std::string> onnx_input_names(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  const OnnxModel model = parse_onnx(bytes, path.string());
  std::vector<std::string> names;
  for (const OnnxValue& value : model.inputs)
    if (std::ranges::find(model.initializers, value.name, &OnnxInitializer::name) == model.initializers.end())
      names.push_back(value.name);
  return names;
}

Net read_onnx_net(std::span<const std::byte> bytes, const std::filesystem::path& path, const NetOptions& options) {
  return OnnxImport(parse_onnx(bytes, path.string()), path, options).read();
}

NetConstant read_onnx_tensor(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  return OnnxConstants(path.parent_path()).read(parse_onnx_tensor(bytes, path.string()), path.string());
}

}  // namespace nibble
