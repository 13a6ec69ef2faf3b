// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/quantize_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>

#include "base/progress_meter.h"
#include "net/quantize/adjustments.h"
#include "net/quantize/net_method.h"
#include "net/quantize/ordered_rounding.h"
#include "net/quantize/rounded_net.h"
#include "net/quantize/value_ranges.h"
#include "nibble/error.h"
#include "quantize/condition.h"

namespace nibble {
namespace {

// Every fourth sample judges, where there are enough.
constexpr std::size_t kHeldOut = 4, kMostJudged = 32, kMostCorrecting = 64;

// A rounding of the whole net or a part of it, ready to be measured.
struct Rounding {
  RoundedParts parts;
  ValueGrids grids;
  NetCodes codes;
  NumbersByPart weights;  // and corrected biases
  OutputNoise noise;
  bool has_corrected_biases = false;
  LearnedLayers layers;
};

// One way to prepare a net: equalized or not.
class PreparedNet {
 public:
  PreparedNet(Net net, const SplitSamples& samples, const NetQuantizeOptions& options, Machine& machine)
      : net_(std::move(net)),
        samples_(samples),
        options_(options),
        machine_(machine),
        scheme_(net_, options.runtime),
        meter_(net_, samples.judging, machine),
        seen_(observe_values(net_, scheme_, samples.calibration, machine,
                             [&](ValueId value, const SampleValues& values) {
                               if (samples.holds_out) meter_.see(value, values);
                             })),
        method_(find_net_method(options.method, options.weight_bits)),
        plain_(method_.base) {
    if (plain_.needs() != Needs::nothing) plain_ = find_method(options.weight_bits < 8 ? "mse" : "rtn");
  }
  PreparedNet(const PreparedNet&) = delete;
  PreparedNet& operator=(const PreparedNet&) = delete;

  const Net& net() const { return net_; }
  const RoundingScheme& scheme() const { return scheme_; }
  const NoiseMeter& meter() const { return meter_; }

  Rounding round(RoundedParts parts, const FitOptions& fit) const {
    Rounding made;
    made.grids = fit_grids(seen_, scheme_, parts.values, options_.runtime != NetRuntime::tensorrt, fit);
    round_weights_of(parts, made);
    made.parts = std::move(parts);
    round_biases_of(made);
    made.noise = meter_.measure(made.grids, made.weights);
    return made;
  }

  // Weights by what layers see, where the method looks at that.
  Rounding ordered(Rounding made) const {
    if (method_.base.needs() == Needs::nothing && !method_.learns) return made;
    const std::size_t count = std::min({samples_.calibration.size(), kMostCorrecting, most_samples(net_)});
    ProgressMeter meter(options_.progress, "rounding", layers_to_round(net_, made.codes).size());
    const OrderedRounding how{.method = method_.base,
                              .least = [&](const Node& node) { return least_scales(node, made.parts, made.grids); },
                              .learns = method_.learns ? &options_.learning : nullptr,
                              .judging = samples_.judging,
                              .layer_done = [&] { meter.advance(1); }};
    made.layers = round_in_order(net_, std::span(samples_.calibration).first(count), made.grids, how, made.codes,
                                 made.weights, machine_);
    round_biases_of(made);
    made.noise = meter_.measure(made.grids, made.weights);
    return made;
  }

  // With biases that make up for it, where that is less noise or was asked for.
  Rounding corrected(Rounding made) const {
    if (options_.corrects_biases == false) return made;
    const std::size_t count = std::min({samples_.calibration.size(), kMostCorrecting, most_samples(net_)});
    Rounding other = made;
    correct_biases(net_, std::span(samples_.calibration).first(count), other.grids, other.weights, machine_);
    round_biases_of(other);
    other.noise = meter_.measure(other.grids, other.weights);
    other.has_corrected_biases = true;
    return options_.corrects_biases == true || other.noise.cost() < made.noise.cost() ? other : made;
  }

 private:
  static std::string bias_of(const Node& node) {
    return std::visit(
        []<class Op>(const Op& op) {
          if constexpr (std::is_same_v<Op, Convolution> || std::is_same_v<Op, Linear>) return op.bias();
          return std::string();
        },
        node.operation);
  }

  // Added to whole sums they are whole numbers, too, but for TensorRT, which adds in f32.
  void round_biases_of(Rounding& made) const {
    if (options_.runtime == NetRuntime::tensorrt) return;
    for (const Node& node : net_.graph.nodes) {
      const std::string bias = bias_of(node);
      if (bias.empty() || !scheme_.is_integer(node, made.parts)) continue;
      const WeightCodes& codes = made.codes.at(bias.substr(0, bias.size() - std::string_view(".bias").size()));
      const float scale = made.grids.at(node.inputs[0]).scale;
      std::vector<float>& numbers = made.weights[bias];
      if (numbers.empty()) numbers.assign(net_.weight(bias).begin(), net_.weight(bias).end());
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        const float step = codes.scales[i] * scale;
        const auto whole =
            static_cast<float>(std::nearbyint(static_cast<double>(numbers[i]) / static_cast<double>(step)));
        numbers[i] = whole * step;
      }
    }
  }

  // Scales are not so small that a runtime could not store the bias as a whole number of 32 bits on their grid.
  std::vector<float> least_scales(const Node& node, const RoundedParts& parts, const ValueGrids& grids) const {
    const std::string bias = bias_of(node);
    if (bias.empty() || !scheme_.is_integer(node, parts)) return {};
    const float scale = grids.at(node.inputs[0]).scale;
    std::vector<float> least;
    for (const float b : net_.weight(bias)) least.push_back(std::abs(b) / (scale * 0x1p30F));
    return least;
  }

  void round_weights_of(const RoundedParts& parts, Rounding& made) const {
    for (const Node& node : net_.graph.nodes)
      for (const WeightUse& use : net_.graph.weights(node)) {
        if (!parts.weights.contains(use.part) || made.codes.contains(use.part)) continue;
        const std::vector<float> least = least_scales(node, parts, made.grids);
        WeightCodes codes = round_weights(
            net_.weight(use.part), rows_of_weight(node.operation, use),
            {.bits = options_.weight_bits, .grain = options_.weight_grain, .method = plain_, .least = least}, use.part,
            machine_);
        made.weights[use.part] = numbers_of(codes);
        made.codes.emplace(use.part, std::move(codes));
      }
  }

  Net net_;
  const SplitSamples& samples_;
  const NetQuantizeOptions& options_;
  Machine& machine_;
  RoundingScheme scheme_;
  NoiseMeter meter_;
  ValueStatistics seen_;
  NetMethod method_;
  Method plain_;  // what is done where nothing is known of inputs
};

std::string name_of(const Net& net, ValueId value) {
  return net.names[value].empty() ? fmt::format("v{}", value) : net.names[value];
}

RoundedParts wanted_parts(const PreparedNet& prepared, const NetQuantizeOptions& options) {
  RoundedParts parts = prepared.scheme().all();
  if (options.weight_bits < 8 || options.is_dynamic) parts.values.clear();
  for (const std::string& pattern : options.exclude) {
    const std::size_t before = parts.values.size() + parts.weights.size();
    std::erase_if(parts.values,
                  [&](ValueId value) { return matches_pattern(pattern, name_of(prepared.net(), value)); });
    std::erase_if(parts.weights, [&](const std::string& part) { return matches_pattern(pattern, part); });
    if (parts.values.size() + parts.weights.size() == before)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{}: nothing that would be rounded has a name like {}", prepared.net().source, pattern),
                  "exclude");
  }
  parts.values = prepared.scheme().useful(parts);
  return parts;
}

// What each rounding costs by itself, the dearest first. Weights in f32 cost size as well, and come later for it.
struct Price {
  LeftOut left_out;
  ValueId value = 0;
};

std::vector<Price> prices_of(const PreparedNet& prepared, const Rounding& rounding, const ProgressCallback& progress) {
  std::vector<Price> prices;
  ProgressMeter meter(progress, "costs", rounding.grids.size() + rounding.codes.size());
  for (const auto& [value, grid] : rounding.grids) {
    const OutputNoise noise = prepared.meter().measure({{value, grid}}, {});
    prices.push_back({{name_of(prepared.net(), value), false, noise.worst}, value});
    meter.advance(1);
  }
  for (const auto& [part, codes] : rounding.codes) {
    const OutputNoise noise = prepared.meter().measure({}, {{part, numbers_of(codes)}});
    prices.push_back({{part, true, noise.worst}, 0});
    meter.advance(1);
  }
  const auto gain = [](const Price& price) { return price.left_out.noise / (price.left_out.is_weight ? 8 : 1); };
  std::ranges::stable_sort(prices, [&](const Price& a, const Price& b) { return gain(a) > gain(b); });
  return prices;
}

// In percent of what the metric counts.
double allowed_drop(const Net& net, const NetQuantizeOptions& options) {
  if (options.max_drop) return *options.max_drop;
  if (options.weight_bits < 8) return std::numeric_limits<double>::infinity();
  if (options.metric == NetMetric::agreement) return 1;
  const bool recurs = std::ranges::any_of(net.graph.nodes, [](const Node& node) {
    return std::holds_alternative<Lstm>(node.operation) || std::holds_alternative<Gru>(node.operation);
  });
  return recurs ? 0.05 : 0.3;
}

// What may be expected to change where samples were not seen, and a standard deviation of the count that says so, lest
// the bound is met by chance.
double change_of_others(const OutputNoise& noise) {
  if (noise.leads == 0) return 0;
  const auto near = static_cast<double>(noise.near);
  return kChangingOfNear * (near + std::sqrt(near)) / static_cast<double>(noise.leads);
}

bool holds(const OutputNoise& noise, NetMetric metric, double drop) {
  if (metric == NetMetric::sqnr) return 100 * noise.worst <= drop;
  return 100 * std::max(1 - noise.agreement(), change_of_others(noise)) <= drop;
}

// Leaves out what costs most until the outputs are as near as is asked for.
Rounding guarded(const PreparedNet& prepared, Rounding rounding, const FitOptions& fit,
                 const NetQuantizeOptions& options, std::vector<LeftOut>& left_out) {
  const double drop = allowed_drop(prepared.net(), options);
  if (holds(rounding.noise, options.metric, drop)) return rounding;
  const std::vector<Price> prices = prices_of(prepared, rounding, options.progress);
  ProgressMeter meter(options.progress, "guard", prices.size());
  const double allowed = options.metric == NetMetric::sqnr ? drop / 100 : 0;
  std::size_t next = 0;
  RoundedParts parts = rounding.parts;
  const auto is_in = [&](const Price& price) {
    return price.left_out.is_weight ? parts.weights.contains(price.left_out.name) : parts.values.contains(price.value);
  };
  while (next < prices.size() && !holds(rounding.noise, options.metric, drop)) {
    // Noises add up, but for a factor that is known from what was measured last.
    double expected = 0;
    for (const Price& price : prices)
      if (is_in(price)) expected += price.left_out.noise;
    const double factor = expected > 0 && std::isfinite(expected) ? rounding.noise.worst / expected : 1;
    do {
      const Price& price = prices[next++];
      if (!is_in(price)) continue;
      expected -= price.left_out.noise;
      left_out.push_back(price.left_out);
      if (price.left_out.is_weight)
        parts.weights.erase(price.left_out.name);
      else
        parts.values.erase(price.value);
    } while (next < prices.size() && !(expected * factor <= allowed) && allowed > 0);
    parts.values = prepared.scheme().useful(parts);
    rounding = prepared.corrected(prepared.ordered(prepared.round(parts, fit)));
    meter.report(next);
  }
  return rounding;
}

void describe(const PreparedNet& prepared, const Rounding& rounding, NetQuantization& made) {
  const Net& net = prepared.net();
  std::vector<double> by_value(net.graph.values.size(), -1);
  prepared.meter().measure(rounding.grids, rounding.weights, by_value);
  for (const Node& node : net.graph.nodes) {
    if (!RoundingScheme::is_product(node)) continue;
    RoundedOperation& one = made.operations.emplace_back();
    const ValueId end = prepared.scheme().end_of(node);
    one.name = name_of(net, end);
    one.operation = operation_name(node.operation);
    bool is_stored = false;
    for (const WeightUse& use : net.graph.weights(node)) {
      one.parameters += net.weight(use.part).size();
      is_stored = is_stored || rounding.codes.contains(use.part);
    }
    one.arithmetic = prepared.scheme().is_integer(node, rounding.parts) ? RoundedOperation::Arithmetic::integer
                     : is_stored                                        ? RoundedOperation::Arithmetic::stored
                                                                        : RoundedOperation::Arithmetic::floating;
    one.noise = std::max(0.0, by_value[end]);
  }
}

void judge(const Net& net, std::span<const NetSample> samples) {
  if (samples.empty())
    throw Error(ErrorKind::unusable_input, fmt::format("{}: there are no samples to calibrate with", net.source));
  const bool has_products = std::ranges::any_of(net.graph.nodes, RoundingScheme::is_product);
  const bool has_codes = std::ranges::any_of(
      net.graph.nodes, [](const Node& node) { return std::holds_alternative<Quantize>(node.operation); });
  if (has_codes)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: is quantized already; give the net that it was made from", net.source));
  if (!has_products)
    throw Error(
        ErrorKind::unsupported,
        fmt::format("{}: has neither convolutions nor matrix products, so there is nothing to quantize", net.source));
  bool differs = net.inputs.empty() || samples[0][0].empty();
  for (const NetSample& sample : samples)
    for (const std::vector<float>& numbers : sample)
      differs = differs || std::ranges::any_of(numbers, [&](float x) { return x != samples[0][0][0]; });
  if (!differs)
    throw Error(ErrorKind::unusable_input,
                fmt::format("{}: all numbers of all samples are the same, {}; give samples as the net will see them",
                            net.source, samples[0][0][0]));
}

// Those matrices that no other kind of product reads as well.
void round_when_run(NetQuantization& made) {
  std::size_t place = 0;
  for (const Node& node : made.net.graph.nodes) {
    if (!RoundingScheme::is_product(node)) continue;
    RoundedOperation& told = made.operations[place++];
    const auto* const linear = std::get_if<Linear>(&node.operation);
    const auto codes = linear == nullptr ? made.codes.end() : made.codes.find(linear->part);
    if (codes == made.codes.end()) continue;
    codes->second.is_dynamic = true;
    told.arithmetic = RoundedOperation::Arithmetic::integer;
  }
}

std::vector<FitOptions> fits_to_try(const NetQuantizeOptions& options) {
  if (options.fit) return {*options.fit};
  return {find_fit("search"), find_fit("minmax"), find_fit("percentile:99.99")};
}

}  // namespace

SplitSamples split_samples(const Net& net, std::span<const NetSample> samples) {
  SplitSamples made;
  made.holds_out = samples.size() >= kHeldOut;
  const std::size_t most = std::min(kMostJudged, most_samples(net));
  const std::size_t wanted = std::min(most, made.holds_out ? samples.size() / kHeldOut : samples.size());
  // Spread over all of them.
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const bool judges = (i + 1) * wanted / samples.size() > i * wanted / samples.size();
    if (judges) made.judging.push_back(samples[i]);
    if (!judges || !made.holds_out) made.calibration.push_back(samples[i]);
  }
  return made;
}

NetQuantization quantize_net(const Net& net, std::span<const NetSample> samples, const NetQuantizeOptions& options,
                             Machine& machine) {
  judge(net, samples);
  const SplitSamples parts = split_samples(net, samples);
  std::vector<std::unique_ptr<PreparedNet>> prepared;
  Net plain = net;
  if (options.corrects_biases != false) give_biases(plain);
  if (options.equalizes != false) {
    Net equal = plain;
    if (equalize(equal) > 0 || options.equalizes == true)
      prepared.push_back(std::make_unique<PreparedNet>(std::move(equal), parts, options, machine));
  }
  if (options.equalizes != true)
    prepared.push_back(std::make_unique<PreparedNet>(std::move(plain), parts, options, machine));

  const PreparedNet* best = nullptr;
  std::optional<Rounding> rounding;
  FitOptions best_fit;
  const std::vector<FitOptions> fits = fits_to_try(options);
  ProgressMeter meter(options.progress, "ranges", prepared.size() * fits.size());
  for (const auto& one : prepared)
    for (const FitOptions& fit : fits) {
      Rounding made = one->round(wanted_parts(*one, options), fit);
      meter.advance(1);
      // On a tie the plain net, which comes last.
      if (rounding && made.noise.cost() > rounding->noise.cost()) continue;
      rounding = std::move(made);
      best = one.get();
      best_fit = fit;
    }
  rounding = best->corrected(best->ordered(std::move(*rounding)));

  NetQuantization made;
  made.everything = rounding->noise;
  *rounding = guarded(*best, std::move(*rounding), best_fit, options, made.left_out);
  made.net = draw_rounding(best->net(), rounding->grids, rounding->weights, options.runtime);
  drop_zero_biases(made.net);
  made.fit = fit_spelling(best_fit);
  made.is_equalized = prepared.size() > 1 ? best == prepared[0].get() : options.equalizes == true;
  // Who compares values by name is not to take them for what they were.
  if (made.is_equalized)
    for (const ValueId value : equalized_values(best->net()))
      if (!made.net.names[value].empty()) made.net.names[value] += "/equalized";
  made.has_corrected_biases = rounding->has_corrected_biases;
  made.holds_out = parts.holds_out;
  made.calibrated = parts.calibration.size();
  made.judged = parts.judging.size();
  made.weight_bits = options.weight_bits;
  made.weight_grain = options.weight_grain;
  made.num_grids = rounding->grids.size();
  made.layers = rounding->layers;
  made.made = rounding->noise;
  for (const NetPort& output : net.outputs) made.outputs.push_back(output.name);
  describe(*best, *rounding, made);
  made.codes = std::move(rounding->codes);
  if (options.is_dynamic) round_when_run(made);
  return made;
}

}  // namespace nibble
