// SPDX-License-Identifier: Apache-2.0
#include "net/weight_codes.h"

#include <algorithm>

#include "net/engine/codes.h"

namespace nibble {

NetCodes weight_codes_of(const Net& net) {
  NetCodes codes;
  std::vector<bool> is_dequantized(net.graph.values.size(), false);
  const auto add = [&](const std::string& part, std::uint64_t rows) {
    auto found = net_engine::coded_weights(net.weight(part), static_cast<std::size_t>(rows));
    if (!found || std::ranges::find(found->codes, std::int8_t{-128}) != found->codes.end()) return;
    codes.emplace(part, WeightCodes{8, rows, std::move(found->codes), std::move(found->scales)});
  };
  for (const Node& node : net.graph.nodes) {
    is_dequantized[node.output] = std::holds_alternative<Dequantize>(node.operation);
    if (node.inputs.empty() || !is_dequantized[node.inputs[0]]) continue;
    if (const auto* const convolution = std::get_if<Convolution>(&node.operation))
      add(convolution->part, convolution->outputs);
    if (const auto* const linear = std::get_if<Linear>(&node.operation)) add(linear->part, linear->rows);
  }
  return codes;
}

}  // namespace nibble
