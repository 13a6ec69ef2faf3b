// SPDX-License-Identifier: Apache-2.0
#include "graph/network.h"

#include <algorithm>
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
}

std::uint64_t Network::linear_parameters() const {
  std::uint64_t total = 0;
  for (const auto& layer : layers_) total += nibble::linear_parameters(layer->graph);
  return total;
}

}  // namespace nibble
