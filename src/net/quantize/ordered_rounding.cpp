// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/ordered_rounding.h"

#include <algorithm>

#include "kernels/dense/dense.h"
#include "net/quantize/sample_products.h"
#include "net/quantize/weight_rounding.h"

namespace nibble {
namespace {

// Of rows that lie in a matrix [tokens, all] from column `first` on: sums of products of `n` columns.
class MomentSum {
 public:
  explicit MomentSum(std::size_t n) : n_(n), sums_(n * n, 0.0) {}

  void add(std::span<const float> rows, Machine& machine) {
    syrk(rows.data(), rows.size() / n_, n_, sums_.data(), machine);
    count_ += rows.size() / n_;
  }

  SiteStatistics take(ThreadPool& pool) {
    mirror_lower(sums_.data(), n_, pool);
    SiteStatistics site;
    site.count = count_;
    const double count = static_cast<double>(std::max<std::uint64_t>(1, count_));
    for (const double sum : sums_) site.second_moment.push_back(static_cast<float>(sum / count));
    for (std::size_t i = 0; i < n_; ++i) site.mean_square.push_back(site.second_moment[i * n_ + i]);
    return site;
  }

 private:
  std::size_t n_;
  std::uint64_t count_ = 0;
  std::vector<double> sums_;
};

// By group of a layer's inputs.
std::vector<SiteStatistics> moments_of(const Node& node, const Dimensions& shape, const SampleValues& x,
                                       Machine& machine) {
  std::vector<SiteStatistics> sites;
  if (std::holds_alternative<Linear>(node.operation)) {
    MomentSum sum(width_of(shape));
    for (const std::vector<float>& sample : x) sum.add(sample, machine);
    sites.push_back(sum.take(machine.pool));
    return sites;
  }
  const auto& op = std::get<Convolution>(node.operation);
  const std::size_t cols = shape[1].extent / op.groups * op.window.num_taps();
  std::vector<MomentSum> sums(op.groups, MomentSum(cols));
  std::vector<float> columns, rows;
  for (const std::vector<float>& sample : x) {
    gather_windows(op, shape, sample, columns);
    const std::size_t places = columns.size() / (cols * op.groups);
    rows.resize(places * cols);
    for (std::size_t group = 0; group < op.groups; ++group) {
      const float* const from = columns.data() + group * cols * places;
      for (std::size_t col = 0; col < cols; ++col)
        for (std::size_t place = 0; place < places; ++place) rows[place * cols + col] = from[col * places + place];
      sums[group].add(rows, machine);
    }
  }
  for (MomentSum& sum : sums) sites.push_back(sum.take(machine.pool));
  return sites;
}

}  // namespace

void round_in_order(const Net& net, std::span<const NetSample> samples, const ValueGrids& grids, const Method& method,
                    const LeastScales& least, NetCodes& codes, NumbersByPart& weights, Machine& machine) {
  std::map<std::string, std::size_t> uses;
  for (const Node& node : net.graph.nodes)
    for (const WeightUse& use : net.graph.weights(node)) ++uses[use.part];
  const auto round = [&](const Node& node, const SampleValues& x) {
    const std::string part = net.graph.weights(node)[0].part;
    const auto known = codes.find(part);
    if (known == codes.end() || uses.at(part) != 1) return;
    const std::vector<SiteStatistics> sites = moments_of(node, net.graph.values[node.inputs[0]], x, machine);
    const std::vector<float> least_scales = least(node);
    known->second = round_weights(net.weight(part), known->second.rows,
                                  {known->second.bits, method, sites, least_scales}, part, machine);
    weights[part] = numbers_of(known->second);
  };
  const auto see = [&](ValueId value, SampleValues& made) {
    if (const auto grid = grids.find(value); grid != grids.end())
      for (std::vector<float>& sample : made) round_to_grid(grid->second, sample);
    for (const Node* const reader : net.graph.consumers(value))
      if (std::holds_alternative<Linear>(reader->operation) || std::holds_alternative<Convolution>(reader->operation))
        round(*reader, made);
  };
  walk_samples(net, samples, machine, {.see = see, .instead = &weights});
}

}  // namespace nibble
