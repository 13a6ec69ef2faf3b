// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/convert_net_file.h"

#include <algorithm>

#include "base/random.h"
#include "net/weight_codes.h"

namespace nibble {
namespace {

// Whole numbers where they are asked for, which may be places: zeros.
NetSample random_sample(const Net& net) {
  Random random(1);
  NetSample sample;
  for (const NetPort& input : net.inputs) {
    std::vector<float>& numbers = sample.emplace_back(numbers_of(net.graph.values[input.value]), 0.0F);
    if (!is_floating(input.type)) continue;
    for (float& number : numbers) number = static_cast<float>(random.normal());
  }
  return sample;
}

bool has_codes(const Net& net) {
  return std::ranges::any_of(net.graph.nodes,
                             [](const Node& node) { return std::holds_alternative<Quantize>(node.operation); });
}

// In decibels 90; between codes sums that lie near halves go either way, and on through the net.
double allowed_noise(const Net& net) { return has_codes(net) ? 1e-2 : 1e-9; }

}  // namespace

std::vector<WrittenNet> convert_net_file(const std::filesystem::path& path, NetOptions options,
                                         std::span<const NetOutput> outputs, Machine& machine) {
  options.simplifies = true;
  const Net net = open_net(path, options);
  const auto stands = [&](const NetOutput& output) {
    return output.container == NetContainer::c && net.container == "TFLite";
  };
  for (const NetOutput& output : outputs)
    if (!stands(output)) require_writable(net, output);
  const NetCodes codes = weight_codes_of(net);
  std::vector<WrittenNet> written;
  for (const NetOutput& output : outputs) {
    if (stands(output)) {
      require_replaceable(output);
      written.push_back(spell_lite_in_c(path, output));
      continue;
    }
    written.push_back(spell_net(net, codes, output));
    if (output.path.empty()) written.back().files.front().first = path;  // as messages call it
    require_same_when_read(written.back(), net, random_sample(net), allowed_noise(net), machine);
  }
  for (const WrittenNet& one : written)
    if (!one.output.path.empty()) commit(one);
  return written;
}

}  // namespace nibble
