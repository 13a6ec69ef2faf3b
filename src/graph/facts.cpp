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
    return slice == nullptr || std::ranges::any_of(channels, [&](std::uint64_t c) {
             return c >= slice->begin && c - slice->begin < slice->count;
           });
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
      if (times_read(graph, passage.absorber) != 1) return std::nullopt;
      return FoldSite{passage.absorber, std::holds_alternative<RmsNorm>(node->operation), {}, std::move(channels)};
    }
    if (auto found = follow(graph, node->inputs[passage.input], 1, std::move(channels))) return found;
  }
  return std::nullopt;
}

// The site of the router that sends tokens to an operation's experts.
Site& site_of_router(const Graph& graph, const Node& experts, std::vector<Site>& sites) {
  const Node* const route = graph.producer(experts.inputs[1]);
  require_drawable(route != nullptr && std::holds_alternative<Route>(route->operation), ExpertLinear::kName,
                   "a routing that is not one");
  const auto site = std::ranges::find_if(
      sites, [&](const Site& s) { return std::ranges::find(s.outputs, route->inputs[0]) != s.outputs.end(); });
  require_drawable(site != sites.end(), Route::kName, "logits that no Linear makes");
  return *site;
}

}  // namespace

std::vector<Site> sites_of(const Graph& graph) {
  std::vector<Site> sites;
  for (const Node& node : graph.nodes) {
    const auto* const linear = std::get_if<Linear>(&node.operation);
    if (linear == nullptr) continue;
    auto site = std::ranges::find(sites, node.inputs[0], &Site::input);
    const bool is_new = site == sites.end();
    const auto same_name = std::ranges::find(sites, linear->site, &Site::name);
    require_drawable(is_new ? same_name == sites.end() : site->name == linear->site, Linear::kName,
                     "a site's name stands for one value");
    if (is_new)
      site = sites.insert(sites.end(),
                          {.name = linear->site, .input = node.inputs[0], .width = graph.width(node.inputs[0])});
    site->parts.push_back(linear->part);
    site->outputs.push_back(node.output);
  }
  for (const Node& node : graph.nodes) {
    if (!std::holds_alternative<ExpertLinear>(node.operation)) continue;
    Site& site = site_of_router(graph, node, sites);
    for (const WeightUse& use : graph.weights(node)) site.expert_parts.push_back(use.part);
  }
  for (Site& site : sites) site.added = find_sum(graph, site);
  return sites;
}

std::optional<FoldSite> fold_of(const Graph& graph, const Site& site) {
  const auto is_looked_up = [](const Node* node) {
    const auto* const linear = std::get_if<Linear>(&node->operation);
    return linear != nullptr && linear->role == TensorRole::embedding;
  };
  if (std::ranges::any_of(graph.consumers(site.input), is_looked_up)) return std::nullopt;
  std::vector<std::uint32_t> channel_of(site.width);
  std::iota(channel_of.begin(), channel_of.end(), 0u);
  std::optional<FoldSite> fold = follow(graph, site.input, site.parts.size(), std::move(channel_of));
  if (fold) fold->consumers = site.parts;
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

std::uint64_t linear_parameters(const Graph& graph) {
  std::uint64_t total = 0;
  for (const WeightUse& use : graph.weights())
    if (use.role == TensorRole::linear) total += use.shape[0] * use.shape[1];
  return total;
}

}  // namespace nibble
