// SPDX-License-Identifier: Apache-2.0
//
// A decoder as its family draws it: tokens become a stream, layers change it, its end becomes logits. Layers that are
// alike share one drawing. Immutable, safe to share between threads.
//
//   const DrawnGraph& layer = network.layer(3);
//   for (const Site& site : layer.sites) observe(site);
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "graph/facts.h"
#include "graph/graph.h"

namespace nibble {

// A drawing and what follows from it.
struct DrawnGraph {
  explicit DrawnGraph(Graph drawn);
  // Null: there is no such site.
  const Site* find_site(std::string_view name) const;

  Graph graph;
  std::vector<Site> sites;                     // in the order in which text meets them
  std::vector<std::optional<FoldSite>> folds;  // by site
};

class Network {
 public:
  // begin: -> the stream [tokens, hidden]; each of layers: the stream -> the stream; end: the stream -> logits [tokens,
  // vocabulary].
  Network(Graph begin, std::vector<Graph> layers, Graph end);

  const DrawnGraph& begin() const noexcept { return begin_; }
  const DrawnGraph& end() const noexcept { return end_; }
  std::int64_t num_layers() const noexcept { return static_cast<std::int64_t>(layers_.size()); }
  const DrawnGraph& layer(std::int64_t index) const { return *layers_[static_cast<std::size_t>(index)]; }

  std::uint64_t linear_parameters() const;        // of all layers, the head not counted

 private:
  DrawnGraph begin_, end_;
  std::vector<std::shared_ptr<const DrawnGraph>> layers_;
};

}  // namespace nibble
