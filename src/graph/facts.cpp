// SPDX-License-Identifier: Apache-2.0
#include "graph/facts.h"

#include <algorithm>
#include <numeric>

namespace nibble {
namespace {

// What the one Linear of a site is added to, where nothing else is done with its outputs.
std::optional<Site::Sum> find_sum(const Graph& graph, const Site& site) {
  if (site.parts.size() != 1) return std::nullopt;
  const std::vector<const Node*> readers = graph.consumers(site.outputs.front());
  if (readers.size() != 1 || !std::holds_alternative<Add>(readers.front()->operation)) return std::nullopt;
  if (std::ranges::find(graph.outputs, site.outputs.front()) != graph.outputs.end()) return std::nullopt;
  const std::vector<ValueId>& terms = readers.front()->inputs;
  const ValueId other = terms[0] == site.outputs.front() ? terms[1] : terms[0];
  if (other == site.outputs.front()) return std::nullopt;
  return Site::Sum{other, readers.front()->output};
}

std::ptrdiff_t times_read(const Graph& graph, std::string_view part) {
  return std::ranges::count_if(graph.nodes, [&](const Node& node) {
    return std::ranges::any_of(graph.weights(node), [&](const WeightUse& use) { return use.part == part; });
  });
}

// How often some channels of a value are read.
std::size_t times_read(const Graph& graph, ValueId value, const std::vector<std::uint32_t>& channels) {
  const auto reads = [&](const Node* node) {
    const auto* const slice = std::get_if<Slice>(&node->operation);
    return slice == nullptr || std::ranges::any_of(channels, [&](std::uint64_t c) { return slice->takes(c); });
  };
  return static_cast<std::size_t>(std::ranges::count_if(graph.consumers(value), reads));
}

// The weight that takes factors of `value`, followed back from output channel to absorber; empty: there is none.
std::optional<FoldSite> follow(const Graph& graph, ValueId value, std::size_t readers,
                               std::vector<std::uint32_t> channel_of) {
  const Node* const node = graph.producer(value);
  if (node == nullptr || times_read(graph, value, channel_of) != readers) return std::nullopt;
  if (std::ranges::find(graph.outputs, value) != graph.outputs.end()) return std::nullopt;
  const std::vector<Dimensions> shapes = graph.input_shapes(*node);
  for (const ScalePassage& passage :
       std::visit([&](const auto& op) { return op.scale_passages(shapes); }, node->operation)) {
    std::vector<std::uint32_t> channels = channel_of;
    if (!passage.channel_of.empty())
      for (std::uint32_t& channel : channels) channel = passage.channel_of[channel];
    if (!passage.absorber.empty()) {
      if (times_read(graph, passage.is_by_expert ? expert_part(passage.absorber, 0) : passage.absorber) != 1)
        return std::nullopt;
      return FoldSite{passage.absorber,
                      std::holds_alternative<RmsNorm>(node->operation),
                      {},
                      std::move(channels),
                      passage.is_by_expert};
    }
    if (auto found = follow(graph, node->inputs[passage.input], 1, std::move(channels))) return found;
  }
  return std::nullopt;
}

// What site an operation's matrices are of, by name; none: they are no Linear's.
const std::string* site_name(const Node& node) {
  if (const auto* const linear = std::get_if<Linear>(&node.operation)) return &linear->site;
  if (const auto* const linear = std::get_if<ExpertLinear>(&node.operation)) return &linear->site;
  return nullptr;
}

Site make_site(const Graph& graph, const Node& node) {
  Site site{.name = *site_name(node), .input = node.inputs[0], .width = graph.width(node.inputs[0])};
  if (!std::holds_alternative<ExpertLinear>(node.operation)) return site;
  const Node* const producer = graph.producer(node.inputs[1]);
  const auto* const route = producer == nullptr ? nullptr : std::get_if<Route>(&producer->operation);
  require_drawable(route != nullptr, ExpertLinear::kName, "a routing that is not one");
  site.experts = graph.width(node.inputs[1]);
  site.used = route->used;
  site.routing = node.inputs[1];
  site.has_own_inputs = graph.values[node.inputs[0]].size() > 2;
  return site;
}

// From the parts of all experts' matrices of one kind after another to one expert after another.
void sort_by_expert(Site& site) {
  if (site.experts == 0) return;
  const std::size_t kinds = site.outputs.size();
  std::vector<std::string> sorted;
  for (std::uint64_t e = 0; e < site.experts; ++e)
    for (std::size_t kind = 0; kind < kinds; ++kind) sorted.push_back(std::move(site.parts[kind * site.experts + e]));
  site.parts = std::move(sorted);
}

// The Linears, experts' too, that read a value: how many operations, and their parts.
std::size_t add_readers(const Graph& graph, ValueId value, std::vector<std::string>& parts) {
  std::size_t readers = 0;
  for (const Node* const node : graph.consumers(value)) {
    if (site_name(*node) == nullptr || node->inputs[0] != value) continue;
    ++readers;
    if (const auto* const linear = std::get_if<Linear>(&node->operation))
      parts.push_back(linear->part);
    else
      for (const WeightUse& use : graph.weights(*node))
        if (use.role != TensorRole::bias) parts.push_back(use.part);
  }
  return readers;
}

bool are_read_by_experts(const Graph& graph, ValueId value) {
  return std::ranges::any_of(graph.consumers(value), [&](const Node* node) {
    return std::holds_alternative<ExpertLinear>(node->operation) && node->inputs[0] == value;
  });
}

}  // namespace

std::span<const std::string> Site::parts_of(std::int64_t expert) const {
  if (expert < 0) return parts;
  return std::span(parts).subspan(static_cast<std::size_t>(expert) * outputs.size(), outputs.size());
}

bool belongs_to(const Node& node, const Site& site) {
  const std::string* const name = site_name(node);
  return name != nullptr && *name == site.name && node.inputs[0] == site.input;
}

FoldSite fold_of_expert(const FoldSite& fold, const Site& site, std::int64_t expert) {
  FoldSite result = fold;
  const std::span<const std::string> parts = site.parts_of(expert);
  result.producer = expert_part(fold.producer, static_cast<std::uint64_t>(expert));
  result.consumers.assign(parts.begin(), parts.end());
  return result;
}

std::vector<Site> sites_of(const Graph& graph) {
  std::vector<Site> sites;
  for (const Node& node : graph.nodes) {
    const std::string* const name = site_name(node);
    if (name == nullptr) continue;
    const bool is_of_experts = std::holds_alternative<ExpertLinear>(node.operation);
    auto site = std::ranges::find_if(sites, [&](const Site& known) {
      return known.input == node.inputs[0] && (known.experts != 0) == is_of_experts &&
             (!is_of_experts || known.routing == node.inputs[1]);
    });
    const bool is_new = site == sites.end();
    const auto same_name = std::ranges::find(sites, *name, &Site::name);
    require_drawable(is_new ? same_name == sites.end() : site->name == *name, Linear::kName,
                     "a site's name stands for one value");
    if (is_new) site = sites.insert(sites.end(), make_site(graph, node));
    for (const WeightUse& use : graph.weights(node))
      if (use.role != TensorRole::bias) site->parts.push_back(use.part);
    site->outputs.push_back(node.output);
  }
  for (Site& site : sites) {
    sort_by_expert(site);
    site.added = find_sum(graph, site);
  }
  return sites;
}

std::optional<FoldSite> fold_of(const Graph& graph, const Site& site) {
  const auto is_looked_up = [](const Node* node) {
    const auto* const linear = std::get_if<Linear>(&node->operation);
    return linear != nullptr && linear->role == TensorRole::embedding;
  };
  if (std::ranges::any_of(graph.consumers(site.input), is_looked_up)) return std::nullopt;
  if (site.experts == 0 && are_read_by_experts(graph, site.input)) return std::nullopt;
  std::vector<std::uint32_t> channel_of(site.width);
  std::iota(channel_of.begin(), channel_of.end(), 0u);
  std::vector<std::string> consumers;
  const std::size_t readers = add_readers(graph, site.input, consumers);
  std::optional<FoldSite> fold = follow(graph, site.input, readers, std::move(channel_of));
  // Scales of each expert's own meet weights of each expert's own.
  if (fold && fold->is_by_expert != site.has_own_inputs) return std::nullopt;
  if (fold) fold->consumers = std::move(consumers);
  return fold;
}

std::uint64_t rotated_heads(const Graph& graph, std::string_view part) {
  for (const Node& node : graph.nodes) {
    const auto* const linear = std::get_if<Linear>(&node.operation);
    if (linear == nullptr || (part != linear->part && part != linear->bias())) continue;
    for (std::vector<const Node*> readers = graph.consumers(node.output); readers.size() == 1;
         readers = graph.consumers(readers.front()->output)) {
      if (const auto* const rope = std::get_if<Rope>(&readers.front()->operation)) return linear->rows / rope->head_dim;
      if (!std::holds_alternative<RmsNorm>(readers.front()->operation)) return 0;
    }
  }
  return 0;
}

namespace {

// Without those that cross and are keys or values of an attention.
std::vector<ValueId> beside_states(const Graph& graph, const std::vector<ValueId>& values,
                                   const std::vector<Crossing>& crossings) {
  std::vector<ValueId> found;
  for (const ValueId value : values) {
    const bool crosses = std::ranges::find(crossings, value, &Crossing::value) != crossings.end();
    const bool is_in_state = std::ranges::any_of(graph.nodes, [&](const Node& node) {
      return std::holds_alternative<Attention>(node.operation) && (node.inputs[1] == value || node.inputs[2] == value);
    });
    if (!crosses || !is_in_state) found.push_back(value);
  }
  return found;
}

}  // namespace

std::vector<ValueId> inputs_beside_states(const Graph& graph) {
  return beside_states(graph, graph.inputs, graph.received);
}

std::vector<ValueId> outputs_beside_states(const Graph& graph) {
  return beside_states(graph, graph.outputs, graph.passed);
}

std::uint64_t linear_parameters(const Graph& graph) {
  std::uint64_t total = 0;
  for (const WeightUse& use : graph.weights())
    if (use.role == TensorRole::linear) total += use.shape[0] * use.shape[1];
  return total;
}

}  // namespace nibble
