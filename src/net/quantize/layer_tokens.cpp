// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/layer_tokens.h"

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "net/quantize/sample_products.h"

namespace nibble {
namespace {

// Of one image, by group.
void see_windows(const Convolution& op, const Dimensions& shape, const TokenLayout& layout,
                 std::span<const float> image, std::size_t first, const SeeTokens& body) {
  std::vector<float> columns, rows(layout.places * layout.cols);
  gather_windows(op, shape, image, columns);
  for (std::size_t group = 0; group < layout.groups; ++group) {
    const float* const from = columns.data() + group * layout.cols * layout.places;
    for (std::size_t col = 0; col < layout.cols; ++col)
      for (std::size_t place = 0; place < layout.places; ++place)
        rows[place * layout.cols + col] = from[col * layout.places + place];
    body(group, first, rows);
  }
}

// The first numbers of a random order of 0 .. count - 1.
std::vector<std::uint32_t> random_order(std::size_t count, std::size_t wanted, std::uint64_t seed) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  Random random(seed);
  for (std::size_t i = 0; i < wanted; ++i) std::swap(order[i], order[i + random.below(count - i)]);
  order.resize(wanted);
  return order;
}

}  // namespace

TokenLayout token_layout(const Net& net, const Node& node) {
  const Dimensions& x = net.graph.values[node.inputs[0]];
  if (const auto* const linear = std::get_if<Linear>(&node.operation))
    return {1, linear->rows, width_of(x), rows_of(x), 0};
  const auto& op = std::get<Convolution>(node.operation);
  const std::size_t places = numbers_of(net.graph.values[node.output]) / (x[0].extent * op.outputs);
  return {op.groups, op.outputs / op.groups, x[1].extent / op.groups * op.window.num_taps(), x[0].extent * places,
          places};
}

void for_each_group(const Net& net, const Node& node, std::span<const float> sample, const SeeTokens& body) {
  const auto* const op = std::get_if<Convolution>(&node.operation);
  if (op == nullptr) return body(0, 0, sample);
  const Dimensions& shape = net.graph.values[node.inputs[0]];
  const TokenLayout layout = token_layout(net, node);
  const std::size_t image = sample.size() / shape[0].extent;
  for (std::size_t i = 0; i < shape[0].extent; ++i)
    see_windows(*op, shape, layout, sample.subspan(i * image, image), i * layout.places, body);
}

LayerTokens draw_tokens(const Net& net, const Node& node, std::span<const std::vector<float>> x,
                        std::span<const std::vector<float>> y, std::size_t most, std::uint64_t seed) {
  const TokenLayout layout = token_layout(net, node);
  const std::size_t all = x.size() * layout.tokens, count = std::min(all, most);
  // What is drawn, in the order of samples, and where it goes.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> drawn;
  for (const std::uint32_t token : random_order(all, count, seed))
    drawn.emplace_back(token, static_cast<std::uint32_t>(drawn.size()));
  std::ranges::sort(drawn);
  LayerTokens made;
  made.x.assign(layout.groups, std::vector<float>(count * layout.cols));
  made.y.assign(layout.groups, std::vector<float>(count * layout.rows));
  for (std::size_t sample = 0; sample < x.size(); ++sample) {
    const auto in_sample = [&](std::size_t token) {  // the first that is drawn from this token on
      return std::ranges::lower_bound(drawn, sample * layout.tokens + token, {},
                                      [](const auto& one) { return std::size_t{one.first}; });
    };
    for_each_group(net, node, x[sample], [&](std::size_t group, std::size_t first, std::span<const float> tokens) {
      const auto end = in_sample(first + tokens.size() / layout.cols);
      for (auto one = in_sample(first); one != end; ++one)
        std::ranges::copy(tokens.subspan((one->first - sample * layout.tokens - first) * layout.cols, layout.cols),
                          made.x[group].begin() + static_cast<std::ptrdiff_t>(one->second * layout.cols));
    });
    const std::size_t rows = layout.groups * layout.rows;
    const auto end = in_sample(layout.tokens);
    for (auto one = in_sample(0); one != end; ++one)
      for (std::size_t row = 0; row < rows; ++row) {
        const std::size_t token = one->first - sample * layout.tokens;
        const std::size_t at = layout.places == 0
                                   ? token * rows + row
                                   : (token / layout.places * rows + row) * layout.places + token % layout.places;
        made.y[row / layout.rows][one->second * layout.rows + row % layout.rows] = y[sample][at];
      }
  }
  return made;
}

}  // namespace nibble
