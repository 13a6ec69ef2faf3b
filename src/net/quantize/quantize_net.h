// SPDX-License-Identifier: Apache-2.0
//
// Static quantization of a small net: weights in codes by channel, values between products on grids of 8 bits that
// samples have shown, biases in f32. What is written is what was judged: the arithmetic of the rounded net is that of
// its operations with the rounding between them.
//
// Every rounding is guarded. The outputs are compared with those in f32 on samples that were held out; while they
// differ by more than is allowed, the rounding that costs most by itself is left out, and named.
//
//   NetQuantization made = quantize_net(net, samples, {}, machine);
//   write(serialize_onnx(spell_onnx(made.net, made.codes)));
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/machine.h"
#include "net/quantize/learned_layers.h"
#include "net/quantize/noise_meter.h"
#include "net/quantize/rounding_scheme.h"
#include "net/quantize/weight_rounding.h"
#include "net/weight_codes.h"
#include "nibble/progress.h"
#include "quantize/fit/fit_rule.h"

namespace nibble {

// sqnr: a drop of N is noise of N percent of an output's power, of the worst output. agreement: N percent of the rows
// of the first output decide otherwise, of those that are judged and of those that were not seen, as far as all samples
// show how near rows are to that (decision_leads.h).
enum class NetMetric { sqnr, agreement };

struct NetQuantizeOptions {
  unsigned weight_bits = 8;  // fewer: weights alone, which no runtime multiplies with codes of values
  WeightGrain weight_grain = WeightGrain::channel;
  // Of weights (net/quantize/net_method.h); one that looks at inputs sees those that rounded layers make.
  std::string method = "rtn";
  AdaptiveRoundingOptions learning = {};  // of one that learns
  NetRuntime runtime = NetRuntime::any;
  // Values have no grids: what matrices multiply is rounded when the net runs. Other weights in codes are multiplied in
  // f32. What is judged then is the rounding of weights.
  bool is_dynamic = false;
  std::optional<FitOptions> fit = std::nullopt;  // of values; none: the best of several is taken
  std::optional<bool> equalizes = std::nullopt;  // none: where it helps
  std::optional<bool> corrects_biases = std::nullopt;
  NetMetric metric = NetMetric::sqnr;
  // Percent. None: of weights in fewer than 8 bits all that they cost; else 1 of agreement, and of noise 0.3, and
  // 0.05 of nets with cells that recur, whose noise adds up from step to step.
  std::optional<double> max_drop = std::nullopt;
  std::vector<std::string> exclude = {};  // values and parts, by name ('*': any text), that stay in f32
  ProgressCallback progress = {};         // stages: ranges, rounding, costs, guard
};

struct RoundedOperation {
  enum class Arithmetic { integer, stored, floating };  // stored: weights in codes, products in f32
  std::string name, operation;
  Arithmetic arithmetic = Arithmetic::integer;
  std::uint64_t parameters = 0;
  double noise = 0;  // of what it makes, the activation behind it included, as the whole net is rounded
};

// A rounding that was left out for what it would have cost by itself.
struct LeftOut {
  std::string name;
  bool is_weight = false;
  double noise = 0;  // of the worst output
};

struct NetQuantization {
  Net net;
  NetCodes codes;
  std::vector<RoundedOperation> operations;  // products, in order
  std::vector<LeftOut> left_out;
  std::string fit;
  bool is_equalized = false, has_corrected_biases = false, holds_out = false;
  std::size_t calibrated = 0, judged = 0;  // samples
  std::size_t num_grids = 0;
  unsigned weight_bits = 8;
  WeightGrain weight_grain = WeightGrain::channel;
  LearnedLayers layers;          // of a method that learns
  OutputNoise everything, made;  // as it would be without the guard, and as it is
  std::vector<std::string> outputs;
};

struct SplitSamples {
  std::vector<NetSample> calibration, judging;
  bool holds_out = false;  // whether those that judge are not among the others
};

// Which of the samples show ranges, and which judge: every fourth where there are enough, else all do both.
SplitSamples split_samples(const Net& net, std::span<const NetSample> samples);

// Error(unusable_input): no samples, samples that are all alike; Error(unsupported): a net without products;
// Error(cancelled).
NetQuantization quantize_net(const Net& net, std::span<const NetSample> samples, const NetQuantizeOptions& options,
                             Machine& machine);

}  // namespace nibble
