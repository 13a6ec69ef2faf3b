// SPDX-License-Identifier: Apache-2.0
#include "graph/network.h"

#include <algorithm>
#include <set>
#include <utility>

namespace nibble {

DrawnGraph::DrawnGraph(Graph drawn) : graph(std::move(drawn)), sites(sites_of(graph)) {
  for (const Site& site : sites) folds.push_back(fold_of(graph, site));
}

const Site* DrawnGraph::find_site(std::string_view name) const {
  const auto found = std::ranges::find(sites, name, &Site::name);
  return found == sites.end() ? nullptr : &*found;
}

Network::Network(Graph begin, std::vector<Graph> layers, Graph end) : begin_(std::move(begin)), end_(std::move(end)) {
  for (Graph& layer : layers) {
    const auto alike = std::ranges::find_if(layers_, [&](const auto& known) { return known->graph == layer; });
    layers_.push_back(alike != layers_.end() ? *alike : std::make_shared<const DrawnGraph>(std::move(layer)));
  }
  std::set<std::string> passed;
  for (const Crossing& crossing : begin_.graph.passed) passed.insert(name_of(crossing, kBegin));
  std::map<std::string, std::size_t> state_of_keys;
  for (std::int64_t i = 0; i < num_layers(); ++i) {
    const Graph& graph = this->layer(i).graph;
    for (const Crossing& crossing : graph.received)
      require_drawable(passed.contains(name_of(crossing, i)), "receive", "what no drawing before it passes on");
    for (const Crossing& crossing : graph.passed) passed.insert(name_of(crossing, i));
    add_states(i, state_of_keys);
  }
}

std::string Network::name_of(const Crossing& crossing, std::int64_t layer) {
  const std::size_t place = crossing.name.find("{}");
  if (place == std::string::npos || layer == kBegin) return crossing.name;
  return crossing.name.substr(0, place) + std::to_string(layer) + crossing.name.substr(place + 2);
}

// state_of_keys: of keys that were passed on, by name; those of this layer are added.
void Network::add_states(std::int64_t layer, std::map<std::string, std::size_t>& state_of_keys) {
  const Graph& graph = layers_[static_cast<std::size_t>(layer)]->graph;
  std::vector<std::size_t>& places = state_places_.emplace_back();
  for (std::size_t i = 0; i < graph.states.size(); ++i) {
    const auto node = std::ranges::find_if(graph.nodes, [&](const Node& candidate) {
      const bool is_attention = std::holds_alternative<Attention>(candidate.operation) ||
                                std::holds_alternative<LatentAttention>(candidate.operation);
      return is_attention && candidate.state == i;
    });
    const auto crossing = [&](const std::vector<Crossing>& crossings) {
      return std::ranges::find(crossings, node->inputs[1], &Crossing::value);
    };
    if (!graph.states[i].is_received) {
      places.push_back(states_.size());
      states_.push_back(graph.states[i]);
      if (const auto keys = crossing(graph.passed); keys != graph.passed.end())
        state_of_keys.insert_or_assign(name_of(*keys, layer), places.back());
      continue;
    }
    const auto known = state_of_keys.find(name_of(*crossing(graph.received), layer));
    require_drawable(known != state_of_keys.end(), Attention::kName, "keys that no attention before it reads");
    const KeyValueState& kept = states_[known->second];
    require_drawable(kept.kv_heads == graph.states[i].kv_heads && kept.head_dim == graph.states[i].head_dim &&
                         kept.window == graph.states[i].window,
                     Attention::kName, "keys of another shape or window than their state's");
    places.push_back(known->second);
  }
  recurrent_.insert(recurrent_.end(), graph.recurrent.begin(), graph.recurrent.end());
}

std::uint64_t Network::linear_parameters() const {
  std::uint64_t total = 0;
  for (const auto& layer : layers_) total += nibble::linear_parameters(layer->graph);
  return total;
}

}  // namespace nibble
