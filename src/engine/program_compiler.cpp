// SPDX-License-Identifier: Apache-2.0
//
// From a drawing to steps: which operations are needed, which are done together, and which memory each value lies in.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <map>
#include <set>

#include "engine/program.h"
#include "graph/facts.h"
#include "kernels/recurrent/recurrent_parts.h"
#include "nibble/error.h"

namespace nibble {

class Program::Compiler {
 public:
  Compiler(const Graph& graph, const ProgramSpan& span, RotaryTables& tables, Program& program)
      : graph_(graph), span_(span), tables_(tables), program_(program) {
    find_needed();
    find_latents();
    bind();
    for (at_ = 0; at_ < graph_.nodes.size(); ++at_)
      if (needed_.contains(at_) && !done_.contains(at_))
        std::visit([&](const auto& op) { compile(graph_.nodes[at_], op); }, graph_.nodes[at_].operation);
    for (const ValueId value : span_.wanted) {
      const Slot slot = slot_of_.at(value);
      program_.places_.push_back(slot < span_.given.size() ? std::optional(slot) : std::nullopt);
    }
  }

 private:
  // Backwards from what is wanted to what is given.
  void find_needed() {
    std::set<ValueId> open(span_.wanted.begin(), span_.wanted.end());
    for (std::size_t i = graph_.nodes.size(); i-- > 0;) {
      const Node& node = graph_.nodes[i];
      if (!open.contains(node.output) || is_given(node.output)) continue;
      needed_.insert(i);
      for (const ValueId input : node.inputs)
        if (!is_in_state(input)) open.insert(input);
    }
    for (const std::size_t i : needed_)
      for (const ValueId input : graph_.nodes[i].inputs)
        if (!is_in_state(input)) last_use_[input] = i;
  }

  // The Linears that make keys and values of a latent vector are part of the attention to it, which reads that.
  void find_latents() {
    for (const std::size_t i : needed_) {
      const Node& node = graph_.nodes[i];
      if (!std::holds_alternative<LatentAttention>(node.operation)) continue;
      const Node* const maker = graph_.producer(node.inputs[2]);
      const auto* const linear = maker == nullptr ? nullptr : std::get_if<Linear>(&maker->operation);
      if (linear == nullptr || linear->has_bias || is_given(maker->output) || is_kept(maker->output) ||
          graph_.consumers(maker->output).size() != 1)
        refuse(LatentAttention::kName);
      done_.insert(static_cast<std::size_t>(maker - graph_.nodes.data()));
      std::size_t& last = last_use_[maker->inputs[0]];
      last = std::max(last, i);
    }
  }

  void bind() {
    for (const ValueId value : span_.given) slot_of_[value] = add_slot(width_of_slot(value));
    for (const ValueId value : span_.wanted) {
      assert(!own_place_.contains(value) && !is_given(value));
      own_place_[value] = add_slot(width_of_slot(value));
    }
    program_.num_bound_ = program_.widths_.size();
  }

  // Received, and given by nobody.
  bool is_in_state(ValueId value) const {
    return !is_given(value) && std::ranges::find(graph_.received, value, &Crossing::value) != graph_.received.end();
  }
  bool is_given(ValueId value) const { return std::ranges::find(span_.given, value) != span_.given.end(); }
  bool is_wanted(ValueId value) const { return std::ranges::find(span_.wanted, value) != span_.wanted.end(); }
  bool is_kept(ValueId value) const {
    return is_wanted(value) || std::ranges::find(span_.kept, value) != span_.kept.end();
  }
  // Nobody reads it after this node, and what lies there may be overwritten.
  bool dies_here(ValueId value) const { return last_use_.at(value) <= at_ && !is_kept(value); }
  // A node that is done before its turn reads the value no more; others may, between here and there.
  void forget_use(ValueId value, std::size_t node) {
    if (last_use_.at(value) != node) return;
    const auto held = held_until_.find(value);
    std::size_t last = held == held_until_.end() ? at_ : std::max(at_, held->second);
    for (std::size_t i = at_ + 1; i < node; ++i)
      if (needed_.contains(i) && !done_.contains(i) && std::ranges::count(graph_.nodes[i].inputs, value) != 0)
        last = std::max(last, i);
    last_use_[value] = last;
  }
  bool is_bound(Slot slot) const { return slot < program_.num_bound_; }

  // What a token takes: of values by expert only those that it is routed to are there, row by row.
  std::uint64_t width_of_slot(ValueId value) const {
    const Dimensions& shape = graph_.values[value];
    return shape.size() < 3 ? width_of(shape) : width_of(shape) * route_of(value).used;
  }

  // The routing of a value by expert.
  const Route& route_of(ValueId value) const {
    for (;;) {
      const Node* const node = graph_.producer(value);
      if (node == nullptr) refuse("a value by expert that is given");
      if (const auto* const route = std::get_if<Route>(&node->operation)) return *route;
      value = node->inputs[std::holds_alternative<ExpertLinear>(node->operation) ? 1 : 0];
    }
  }

  // Where the rows of a routing's experts are known, which is found out where it is first needed.
  std::size_t group_of(ValueId routing) {
    const auto [known, is_new] = group_of_.emplace(routing, program_.num_groups_);
    if (is_new) program_.steps_.push_back(Group{slot_of_.at(routing), graph_.width(routing), program_.num_groups_++});
    return known->second;
  }

  Slot add_slot(std::uint64_t width) {
    program_.widths_.push_back(width);
    return program_.widths_.size() - 1;
  }

  // What the value becomes by operations that work in its place.
  ValueId becomes(ValueId value) const {
    for (;;) {
      const std::vector<const Node*> readers = graph_.consumers(value);
      if (is_kept(value) || readers.size() != 1) return value;
      const Operation& next = readers.front()->operation;
      if (!std::holds_alternative<Scale>(next) && !std::holds_alternative<SoftCap>(next) &&
          !std::holds_alternative<Rope>(next) && !std::holds_alternative<Gain>(next) &&
          !std::holds_alternative<PositionScale>(next) && !std::holds_alternative<L2Norm>(next) &&
          !std::holds_alternative<SquaredRelu>(next))
        return value;
      value = readers.front()->output;
    }
  }

  // A place for a new value: where the caller wants it or what it becomes, else memory that is free, widened if need
  // be.
  Slot place(ValueId value) {
    if (const auto own = own_place_.find(becomes(value)); own != own_place_.end()) return slot_of_[value] = own->second;
    return slot_of_[value] = take_room(width_of_slot(value));
  }

  Slot take_room(std::uint64_t width) {
    if (free_.empty()) return add_slot(width);
    const Slot slot = free_.back();
    free_.pop_back();
    program_.widths_[slot] = std::max(program_.widths_[slot], width);
    return slot;
  }

  // After the step that makes `output`: what it read for the last time.
  void release(ValueId output, std::initializer_list<ValueId> values) {
    for (const ValueId value : values) {
      const Slot slot = slot_of_.at(value);
      if (dies_here(value) && !is_bound(slot) && slot != slot_of_.at(output) &&
          std::ranges::find(free_, slot) == free_.end())
        free_.push_back(slot);
    }
  }

  // The slot in which `from` lies becomes that of `to`; where it is still read, or `to` is wanted elsewhere, a copy.
  Slot take_over(ValueId from, ValueId to) {
    const Slot slot = slot_of_.at(from);
    // What is wanted may take the place of what was given; the caller learns it from place_of.
    const bool is_its_own = !own_place_.contains(to) || own_place_.at(to) == slot;
    if (dies_here(from) && (slot < span_.given.size() || is_its_own)) return slot_of_[to] = slot;
    const Slot copy = place(to);
    program_.steps_.push_back(Copy{slot, copy, width_of_slot(from), 0, width_of_slot(from)});
    release(to, {from});
    return copy;
  }

  std::size_t linear_index(const std::string& part, const std::string& bias, std::int64_t expert = -1) {
    const auto known = std::ranges::find(program_.linears_, part, &LinearUse::part);
    if (known != program_.linears_.end()) return static_cast<std::size_t>(known - program_.linears_.begin());
    program_.linears_.push_back({part, bias, expert});
    return program_.linears_.size() - 1;
  }

  std::size_t vector_index(const std::string& part) {
    const auto known = std::ranges::find(program_.vectors_, part);
    if (known != program_.vectors_.end()) return static_cast<std::size_t>(known - program_.vectors_.begin());
    program_.vectors_.push_back(part);
    return program_.vectors_.size() - 1;
  }

  void compile(const Node& node, const Embedding& op) {
    program_.steps_.push_back(Embed{linear_index(op.part, {}), place(node.output), op.width});
  }

  void compile(const Node& node, const RmsNorm& op) {
    const std::uint64_t width = width_of_slot(node.inputs[0]), length = op.group == 0 ? width : op.group;
    const Slot in = slot_of_.at(node.inputs[0]);
    program_.steps_.push_back(Norm{in, place(node.output), vector_index(op.part), op.epsilon, width / length, length});
    release(node.output, {node.inputs[0]});
  }

  void compile(const Node& node, const L2Norm& op) {
    const std::uint64_t width = width_of_slot(node.inputs[0]), length = op.group == 0 ? width : op.group;
    const Slot x = take_over(node.inputs[0], node.output);
    program_.steps_.push_back(Normalize{x, x, op.epsilon, width / length, length});
  }

  // With all others that read the same value.
  void compile(const Node& node, const Linear&) {
    Products step{slot_of_.at(node.inputs[0]), {}, {}};
    for (std::size_t i = at_; i < graph_.nodes.size() && step.linears.size() < kMostProducts; ++i) {
      const auto* const linear = std::get_if<Linear>(&graph_.nodes[i].operation);
      if (linear == nullptr || graph_.nodes[i].inputs != node.inputs || !needed_.contains(i) || done_.contains(i))
        continue;
      step.linears.push_back(linear_index(linear->part, linear->bias()));
      step.outs.push_back(place(graph_.nodes[i].output));
      done_.insert(i);
      forget_use(node.inputs[0], i);
    }
    program_.steps_.push_back(std::move(step));
    release(node.output, {node.inputs[0]});
  }

  void compile(const Node& node, const Rope& op) {
    const Slot x = take_over(node.inputs[0], node.output);
    program_.steps_.push_back(Rotate{x, tables_.add(op), width_of_slot(node.output) / op.head_dim, op.head_dim,
                                     op.frequencies.size(), op.half_split});
  }

  void compile(const Node& node, const Attention& op) {
    const auto sinks = op.sinks.empty() ? std::nullopt : std::optional(vector_index(op.sinks));
    const Slot q = slot_of_.at(node.inputs[0]);
    if (is_in_state(node.inputs[1])) {
      program_.steps_.push_back(Attend{q, q, q, place(node.output), op, node.state.value(), sinks, false});
      return release(node.output, {node.inputs[0]});
    }
    const Slot k = slot_of_.at(node.inputs[1]), v = slot_of_.at(node.inputs[2]);
    program_.steps_.push_back(Attend{q, k, v, place(node.output), op, node.state.value(), sinks, true});
    release(node.output, {node.inputs[0], node.inputs[1], node.inputs[2]});
  }

  void compile(const Node& node, const LatentAttention& op) {
    const Node& maker = *graph_.producer(node.inputs[2]);
    const ValueId latent = maker.inputs[0];
    const auto in = [&](ValueId value) { return slot_of_.at(value); };
    const Slot queries = take_room(op.heads * op.kept_width()), kept = take_room(op.kept_width());
    program_.steps_.push_back(AttendToLatent{in(node.inputs[0]), in(node.inputs[1]), in(latent), in(node.inputs[3]),
                                             queries, kept, place(node.output), op, program_.latents_.size(),
                                             node.state.value()});
    program_.latents_.push_back({std::get<Linear>(maker.operation).part, {op.heads, op.key_dim, op.value_dim}});
    free_.insert(free_.end(), {queries, kept});
    release(node.output, {node.inputs[0], node.inputs[1], latent, node.inputs[3]});
  }

  void compile(const Node& node, const CausalConvolution& op) {
    static_assert(CausalConvolution::kMostTaps <= kMostTaps);
    const Slot x = slot_of_.at(node.inputs[0]);
    program_.steps_.push_back(Convolve{x, place(node.output), vector_index(op.part), op.taps,
                                       width_of_slot(node.output), node.state.value(), false});
    release(node.output, {node.inputs[0]});
  }

  void compile(const Node& node, const GatedDeltaRule& op) {
    const auto in = [&](std::size_t i) { return slot_of_.at(node.inputs[i]); };
    program_.steps_.push_back(Recur{in(0), in(1), in(2), in(3), in(4), place(node.output), vector_index(op.rate),
                                    vector_index(op.bias), op, node.state.value()});
    release(node.output, {node.inputs[0], node.inputs[1], node.inputs[2], node.inputs[3], node.inputs[4]});
  }

  void compile(const Node& node, const Add&) {
    // Into the term that dies; of two, into the one that was given, which is where the stream lies.
    ValueId into = node.inputs[0], from = node.inputs[1];
    const auto is_in_given = [&](ValueId value) { return slot_of_.at(value) < span_.given.size(); };
    if (dies_here(from) && (!dies_here(into) || (is_in_given(from) && !is_in_given(into)))) std::swap(into, from);
    const Slot sum = take_over(into, node.output);
    program_.steps_.push_back(Accumulate{sum, slot_of_.at(from), width_of_slot(node.output)});
    release(node.output, {from});
  }

  void compile(const Node& node, const Scale& op) {
    const Slot x = take_over(node.inputs[0], node.output);
    program_.steps_.push_back(Multiplied{x, width_of_slot(node.output), op.factor});
  }

  void compile(const Node& node, const Gain& op) {
    const Slot x = take_over(node.inputs[0], node.output);
    program_.steps_.push_back(MultipliedByWeight{x, width_of_slot(node.output), vector_index(op.part)});
  }

  void compile(const Node& node, const PositionScale& op) {
    const Slot x = take_over(node.inputs[0], node.output);
    program_.steps_.push_back(ScaledByPosition{x, width_of_slot(node.output), op});
  }

  void compile(const Node& node, const Slice& op) {
    const Slot from = slot_of_.at(node.inputs[0]);
    const std::uint64_t width = width_of_slot(node.inputs[0]), length = op.group == 0 ? width : op.group;
    program_.steps_.push_back(Copy{from, place(node.output), op.count, op.begin, length, width / length});
    release(node.output, {node.inputs[0]});
  }

  void compile(const Node& node, const SoftCap& op) {
    const Slot x = take_over(node.inputs[0], node.output);
    program_.steps_.push_back(Capped{x, width_of_slot(node.output), op.cap});
  }

  void compile(const Node& node, const Route& op) {
    const Slot logits = slot_of_.at(node.inputs[0]);
    const auto vector_of = [&](const std::string& part) {
      return part.empty() ? std::nullopt : std::optional(vector_index(part));
    };
    program_.steps_.push_back(Choose{logits, place(node.output), graph_.width(node.output), op, vector_of(op.scales),
                                     vector_of(op.correction)});
    release(node.output, {node.inputs[0]});
  }

  // With all others that read the same value.
  void compile(const Node& node, const ExpertLinear&) {
    const bool gathers = graph_.values[node.inputs[0]].size() == 2;
    ExpertProducts step{
        slot_of_.at(node.inputs[0]), gathers, graph_.width(node.inputs[0]), group_of(node.inputs[1]), {}};
    for (std::size_t i = at_; i < graph_.nodes.size() && step.parts.size() < kMostProducts; ++i) {
      const auto* const linear = std::get_if<ExpertLinear>(&graph_.nodes[i].operation);
      if (linear == nullptr || graph_.nodes[i].inputs != node.inputs || !needed_.contains(i) || done_.contains(i))
        continue;
      ExpertProducts::Part part{{}, place(graph_.nodes[i].output), linear->rows};
      for (std::uint64_t e = 0; e < graph_.width(node.inputs[1]); ++e)
        part.linears.push_back(linear_index(expert_part(linear->part, e),
                                            linear->has_bias ? expert_part(linear->bias(), e) : std::string(),
                                            static_cast<std::int64_t>(e)));
      step.parts.push_back(std::move(part));
      done_.insert(i);
      for (const ValueId input : node.inputs) forget_use(input, i);
    }
    program_.steps_.push_back(std::move(step));
    release(node.output, {node.inputs[0], node.inputs[1]});
  }

  void compile(const Node& node, const MixExperts&) {
    const std::size_t group = group_of(node.inputs[1]);
    const Slot in = slot_of_.at(node.inputs[0]);
    program_.steps_.push_back(Mix{in, place(node.output), graph_.width(node.output), group});
    release(node.output, {node.inputs[0], node.inputs[1]});
  }

  void compile(const Node& node, const Silu& op) {
    if (!activates_convolution(node)) activate(node, Activation::silu, op.kName);
  }
  void compile(const Node& node, const Sigmoid& op) { activate(node, Activation::sigmoid, op.kName); }
  void compile(const Node& node, const Gelu& op) { activate(node, Activation::gelu, op.kName); }

  // Leaves an activation to the step before where that is a convolution whose sums nobody else reads.
  bool activates_convolution(const Node& node) {
    const ValueId sums = node.inputs[0];
    auto* const step = program_.steps_.empty() ? nullptr : std::get_if<Convolve>(&program_.steps_.back());
    if (step == nullptr || step->activates || step->out != slot_of_.at(sums) || !dies_here(sums) ||
        graph_.consumers(sums).size() != 1)
      return false;
    step->activates = true;
    take_over(sums, node.output);
    return true;
  }

  // By a sigmoid.
  void compile(const Node& node, const ScaleTokens& op) {
    const auto factor = activated_.find(node.inputs[1]);
    if (factor == activated_.end() || factor->second.first != Activation::sigmoid) refuse(op.kName);
    const Slot gate = slot_of_.at(factor->second.second), x = take_over(node.inputs[0], node.output);
    program_.steps_.push_back(GatedTokens{gate, x, width_of_slot(node.output)});
    release(node.output, {factor->second.second});
  }

  void compile(const Node& node, const SquaredRelu&) {
    const Slot x = take_over(node.inputs[0], node.output);
    program_.steps_.push_back(Squared{x, width_of_slot(node.output)});
  }

  // An activation waits for the multiplication that it is fused with.
  void activate(const Node& node, Activation activation, std::string_view name) {
    const std::vector<const Node*> readers = graph_.consumers(node.output);
    const auto is_fused = [](const Operation& next) {
      return std::holds_alternative<Multiply>(next) || std::holds_alternative<ScaleTokens>(next);
    };
    if (is_kept(node.output) || readers.size() != 1 || !is_fused(readers.front()->operation)) refuse(name);
    activated_[node.output] = {activation, node.inputs[0]};
    held_until_[node.inputs[0]] = last_use_.at(node.output);
    last_use_[node.inputs[0]] = std::max(last_use_.at(node.inputs[0]), last_use_.at(node.output));
  }

  // In the gate's place where that dies.
  Slot place_of_gated(ValueId gate, ValueId output) {
    const Slot from = slot_of_.at(gate);
    const bool in_place = dies_here(gate) && !is_bound(from) && !own_place_.contains(output);
    return in_place ? slot_of_[output] = from : place(output);
  }

  // Into the factor that dies.
  void multiply(const Node& node) {
    ValueId into = node.inputs[0], factor = node.inputs[1];
    if (dies_here(factor) && !dies_here(into)) std::swap(into, factor);
    const Slot product = take_over(into, node.output);
    program_.steps_.push_back(Product{product, slot_of_.at(factor), width_of_slot(node.output)});
    release(node.output, {factor});
  }

  void compile(const Node& node, const Multiply& op) {
    if (!activated_.contains(node.inputs[0]) && !activated_.contains(node.inputs[1])) return multiply(node);
    const bool is_first = activated_.contains(node.inputs[0]);
    const ValueId activated = node.inputs[is_first ? 0 : 1], factor = node.inputs[is_first ? 1 : 0];
    if (!activated_.contains(activated) || activated_.contains(factor)) refuse(op.kName);
    const auto [activation, gate] = activated_.at(activated);
    const Slot from = slot_of_.at(gate), up = slot_of_.at(factor);
    const Slot out = place_of_gated(gate, node.output);
    if (out != from || !gate_products(activation, from, up))
      program_.steps_.push_back(GatedActivation{activation, from, up, out, width_of_slot(node.output)});
    release(node.output, {gate, factor});
  }

  void compile(const Node& node, const ClampedSwiglu& op) {
    const ValueId gate = node.inputs[0], factor = node.inputs[1];
    const Slot from = slot_of_.at(gate), up = slot_of_.at(factor);
    const Slot out = place_of_gated(gate, node.output);
    program_.steps_.push_back(ClampedGate{from, up, out, width_of_slot(node.output), op});
    release(node.output, {gate, factor});
  }

  // Leaves a gated activation to the step before where that makes both products and adds nothing to them.
  bool gate_products(Activation activation, Slot gate, Slot up) {
    const auto gate_step = [&](auto& step, std::size_t count, auto out, auto is_bare) {
      std::optional<std::size_t> gate_at, up_at;
      for (std::size_t i = 0; i < count; ++i) {
        if (out(i) == gate && is_bare(i)) gate_at = i;
        if (out(i) == up && is_bare(i)) up_at = i;
      }
      if (!gate_at || !up_at || gate_at == up_at || step.gated) return false;
      step.gated = GatedProducts{*gate_at, *up_at, activation};
      return true;
    };
    if (program_.steps_.empty()) return false;
    if (auto* const step = std::get_if<Products>(&program_.steps_.back()))
      return gate_step(
          *step, step->outs.size(), [&](std::size_t i) { return step->outs[i]; },
          [&](std::size_t i) { return program_.linears_[step->linears[i]].bias.empty(); });
    if (auto* const step = std::get_if<ExpertProducts>(&program_.steps_.back()))
      return gate_step(
          *step, step->parts.size(), [&](std::size_t i) { return step->parts[i].out; },
          [&](std::size_t i) { return program_.linears_[step->parts[i].linears.front()].bias.empty(); });
    return false;
  }

  // Whatever no line above takes: operations of small nets among them.
  template <class Other>
  void compile(const Node&, const Other& op) {
    refuse(op.kName);
  }

  [[noreturn]] static void refuse(std::string_view name) {
    throw Error(ErrorKind::unsupported, fmt::format("no kernel runs this operation in this place: {}", name));
  }

  const Graph& graph_;
  const ProgramSpan& span_;
  RotaryTables& tables_;
  Program& program_;
  std::size_t at_ = 0;                                    // the node that is compiled
  std::set<std::size_t> needed_, done_;                   // nodes
  std::map<ValueId, std::size_t> last_use_, held_until_;  // held: what an activation that waits will read
  std::map<ValueId, Slot> slot_of_, own_place_;
  std::map<ValueId, std::pair<Activation, ValueId>> activated_;  // by the activation's value: what it is, and of what
  std::map<ValueId, std::size_t> group_of_;
  std::vector<Slot> free_;
};

ProgramSpan span_beside_states(const Graph& graph) {
  ProgramSpan span{.given = inputs_beside_states(graph), .wanted = outputs_beside_states(graph)};
  for (const Crossing& crossing : graph.received)
    if (std::ranges::find(span.given, crossing.value) != span.given.end()) span.kept.push_back(crossing.value);
  return span;
}

Program::Program(const Graph& graph, const ProgramSpan& span, RotaryTables& tables) {
  Compiler(graph, span, tables, *this);
}

}  // namespace nibble
