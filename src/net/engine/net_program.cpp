// SPDX-License-Identifier: Apache-2.0
#include "net/engine/net_program.h"

#include <algorithm>
#include <set>

#include "net/engine/codes.h"
#include "net/engine/gelu_fusion.h"
#include "net/engine/program_builder.h"
#include "net/simplify.h"

namespace nibble {
namespace {

using net_engine::Run;
using net_engine::View;

bool has_codes(const Net& net) {
  return std::ranges::any_of(net.graph.nodes,
                             [](const Node& node) { return std::holds_alternative<Quantize>(node.operation); });
}

// Scales of codes are no scales that may go into weights.
Net prepared(Net net) {
  if (has_codes(net))
    net_engine::bring_codes_together(net);
  else
    simplify(net);
  net_engine::find_gelus(net);
  return net;
}

}  // namespace

struct NetProgram::Parts {
  Parts(Net given, Machine& with)
      : net(prepared(std::move(given))), machine(with), program(net_engine::build_program(net)) {
    std::vector<net_engine::PlannedBuffer> plans;
    for (const auto& buffer : program.buffers)
      if (buffer.given == nullptr) plans.push_back(buffer.plan);
    bytes = net_engine::plan_buffers(plans);
    std::byte* const memory = values.reserve(std::max<std::size_t>(bytes, 1));
    std::fill_n(memory, bytes, std::byte{0});
    std::size_t planned = 0;
    for (const auto& buffer : program.buffers)
      places.push_back(buffer.given != nullptr
                           ? const_cast<std::byte*>(reinterpret_cast<const std::byte*>(buffer.given))
                           : memory + plans[planned++].offset);
    drop_packed_weights();
  }

  // What products have packed is not read again.
  void drop_packed_weights() {
    std::set<std::string> packed, read;
    for (const Node& node : net.graph.nodes) {
      const bool is_packed =
          std::holds_alternative<Convolution>(node.operation) || std::holds_alternative<Linear>(node.operation);
      for (const WeightUse& use : net.graph.weights(node)) (is_packed ? packed : read).insert(use.part);
    }
    for (const std::string& part : packed)
      if (!read.contains(part)) net.weights.erase(part);
  }

  Net net;
  Machine& machine;
  net_engine::BuiltProgram program;
  KernelScratch values;
  std::size_t bytes = 0;
  std::vector<std::byte*> places;
};

NetProgram::NetProgram(Net net, Machine& machine) : parts_(std::make_unique<Parts>(std::move(net), machine)) {}
NetProgram::~NetProgram() = default;
NetProgram::NetProgram(NetProgram&&) noexcept = default;
NetProgram& NetProgram::operator=(NetProgram&&) noexcept = default;

std::span<float> NetProgram::input(std::size_t index) {
  const View& view = parts_->program.inputs[index];
  return {reinterpret_cast<float*>(parts_->places[view.buffer]) + view.offset,
          static_cast<std::size_t>(numbers_of(view.extents))};
}

std::span<const float> NetProgram::output(std::size_t index) const {
  const View& view = parts_->program.outputs[index];
  return {reinterpret_cast<const float*>(parts_->places[view.buffer]) + view.offset,
          static_cast<std::size_t>(numbers_of(view.extents))};
}

void NetProgram::run() {
  const Run run{parts_->places.data(), parts_->machine, convolution_loops(parts_->machine.isa)};
  for (const auto& step : parts_->program.steps) step->run(run);
}

std::size_t NetProgram::value_bytes() const { return parts_->bytes; }

std::vector<std::pair<std::string_view, std::size_t>> NetProgram::steps() const {
  std::vector<std::pair<std::string_view, std::size_t>> counts;
  for (const auto& step : parts_->program.steps) {
    const auto known = std::ranges::find(counts, step->name(), &std::pair<std::string_view, std::size_t>::first);
    if (known == counts.end())
      counts.emplace_back(step->name(), 1);
    else
      ++known->second;
  }
  return counts;
}

}  // namespace nibble
