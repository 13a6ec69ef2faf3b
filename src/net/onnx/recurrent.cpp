// SPDX-License-Identifier: Apache-2.0
//
// LSTM and GRU, whose several outputs are slices of the one value that the operation makes.
#include <algorithm>

#include "net/onnx/node_view.h"

namespace nibble {
namespace {

RecurrentDirections directions_of(NodeView& n) {
  const std::string said = n.text("direction", "forward");
  if (said == "forward") return RecurrentDirections::forward;
  if (said == "reverse") return RecurrentDirections::reverse;
  if (said == "bidirectional") return RecurrentDirections::both;
  n.damaged("a direction that is none: " + said);
}

std::vector<GateFunction> functions_of(NodeView& n, std::vector<std::string> otherwise, std::uint64_t directions) {
  const auto* const said = n.node().find<std::vector<std::string>>("activations");
  std::vector<std::string> names;
  if (said != nullptr) {
    names = *said;
    if (names.size() != otherwise.size() * directions) n.damaged("another number of functions");
  } else {
    for (std::uint64_t d = 0; d < directions; ++d) names.insert(names.end(), otherwise.begin(), otherwise.end());
  }
  // Numbers are for those functions that ask for one, in order.
  const std::vector<float> a = n.floats("activation_alpha").value_or(std::vector<float>{});
  const std::vector<float> b = n.floats("activation_beta").value_or(std::vector<float>{});
  std::vector<GateFunction> functions;
  std::size_t next_a = 0, next_b = 0;
  for (const std::string& name : names) {
    GateFunction& function = functions.emplace_back();
    if (!find_gate_function(name, function)) n.refuse("a function that is not known: " + name);
    if (function.a != 0 && next_a < a.size()) function.a = a[next_a++];
    const bool takes_b = function.kind == GateFunction::Kind::hard_sigmoid ||
                         function.kind == GateFunction::Kind::affine ||
                         function.kind == GateFunction::Kind::scaled_tanh;
    if (takes_b && next_b < b.size()) function.b = b[next_b++];
  }
  return functions;
}

// x and a first state with steps in front, whichever way the file has them.
struct Cell {
  NetValue x;
  std::uint64_t hidden, directions, batch;
  bool is_batch_first;
};

template <class Op>
Cell read_cell(NodeView& n, Op& op, std::uint64_t gates, std::vector<std::string> functions) {
  NetPen& pen = n.pen();
  Cell cell{n.in(0), 0, 0, 0, n.flag("layout")};
  if (cell.x.rank() != 3) n.damaged("an input that is not [steps, batch, inputs]");
  if (cell.is_batch_first) cell.x = pen.transpose(cell.x, {1, 0, 2});
  op.directions = directions_of(n);
  cell.directions = num_directions(op.directions);
  cell.batch = cell.x.extent(1);
  const NetValue& r = n.constant(2);
  if (r.rank() != 3) n.damaged("recurrent weights that are not [directions, gates, hidden]");
  op.hidden = cell.hidden = r.extent(2);
  const Extents w_shape = {cell.directions, gates * cell.hidden, cell.x.extent(2)};
  const Extents r_shape = {cell.directions, gates * cell.hidden, cell.hidden};
  if (cell.hidden == 0 || cell.hidden > kMostNumbers / gates || n.constant(1).extents() != w_shape ||
      r.extents() != r_shape)
    n.damaged("weights of another shape");
  const std::int64_t said = n.whole("hidden_size", static_cast<std::int64_t>(cell.hidden), 1);
  if (static_cast<std::uint64_t>(said) != cell.hidden) n.damaged("a hidden_size that is not its weights'");
  if (n.has(4)) {
    if (!n.in(4).is_constant()) n.refuse("lengths of sequences that are known only when the net runs");
    for (const std::int64_t length : n.whole_numbers(4))
      if (static_cast<std::uint64_t>(length) != cell.x.extent(0)) n.refuse("sequences of different lengths");
  }
  op.functions = functions_of(n, std::move(functions), cell.directions);
  op.clip = n.number("clip", 0);
  op.part = pen.part(n.part_name(1), n.numbers(1));
  pen.put(op.part + ".recurrent", n.numbers(2));
  op.has_bias = n.has(3);
  if (op.has_bias) {
    if (n.constant(3).extents() != Extents{cell.directions, 2 * gates * cell.hidden})
      n.damaged("a bias of another shape");
    pen.put(op.part + ".bias", n.numbers(3));
  }
  return cell;
}

NetValue first_state(NodeView& n, std::size_t input, const Cell& cell) {
  if (!n.has(input)) {
    const Extents extents = {cell.directions, cell.batch, cell.hidden};
    return n.pen().numbers(std::vector<float>(nibble::numbers_of(std::span(extents)), 0.0F), extents);
  }
  return cell.is_batch_first ? n.pen().transpose(n.in(input), {1, 0, 2}) : n.in(input);
}

// y [steps, directions, batch, n] of the numbers from `begin` on: all steps, or the last one of each direction.
NetValue all_steps(NodeView& n, const NetValue& y, const Cell& cell) {
  const NetValue part = n.pen().slice(y, 3, 0, cell.hidden);
  return cell.is_batch_first ? n.pen().transpose(part, {2, 0, 1, 3}) : part;
}

NetValue last_step(NodeView& n, const NetValue& y, const Cell& cell, RecurrentDirections directions,
                   std::uint64_t begin) {
  NetPen& pen = n.pen();
  const NetValue part = pen.slice(y, 3, begin, cell.hidden);
  const std::uint64_t steps = cell.x.extent(0);
  if (steps == 0) n.damaged("no steps");
  std::vector<NetValue> ends;
  for (std::uint64_t d = 0; d < cell.directions; ++d) {
    const bool is_reverse = directions == RecurrentDirections::reverse || d == 1;
    ends.push_back(pen.slice(pen.slice(part, 0, is_reverse ? 0 : steps - 1, 1), 1, d, 1));
  }
  NetValue joined = ends.size() == 1 ? ends[0] : pen.apply(Concat{1}, ends);
  joined = pen.reshape(joined, Extents{cell.directions, cell.batch, cell.hidden});
  return cell.is_batch_first ? pen.transpose(joined, {1, 0, 2}) : joined;
}

void lstm(NodeView& n) {
  Lstm op;
  const Cell cell = read_cell(n, op, 4, {"Sigmoid", "Tanh", "Tanh"});
  op.couples_gates = n.flag("input_forget");
  op.has_peepholes = n.has(7);
  if (op.has_peepholes) {
    if (n.constant(7).extents() != Extents{cell.directions, 3 * cell.hidden}) n.damaged("peepholes of another shape");
    n.pen().put(op.part + ".peepholes", n.numbers(7));
  }
  const NetValue y = n.pen().apply(op, {cell.x, first_state(n, 5, cell), first_state(n, 6, cell)});
  if (n.wants(0)) n.out(all_steps(n, y, cell), 0);
  if (n.wants(1)) n.out(last_step(n, y, cell, op.directions, 0), 1);
  if (n.wants(2)) n.out(last_step(n, y, cell, op.directions, cell.hidden), 2);
}

void gru(NodeView& n) {
  Gru op;
  const Cell cell = read_cell(n, op, 3, {"Sigmoid", "Tanh"});
  op.resets_behind = n.flag("linear_before_reset");
  const NetValue y = n.pen().apply(op, {cell.x, first_state(n, 5, cell)});
  if (n.wants(0)) n.out(all_steps(n, y, cell), 0);
  if (n.wants(1)) n.out(last_step(n, y, cell, op.directions, 0), 1);
}

constexpr OnnxConverter kConverters[] = {{"GRU", gru}, {"LSTM", lstm}};

}  // namespace

std::span<const OnnxConverter> recurrent_converters() { return kConverters; }

}  // namespace nibble
