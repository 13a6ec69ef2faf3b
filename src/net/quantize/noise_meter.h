// SPDX-License-Identifier: Apache-2.0
//
// How far rounded values and weights move a net's outputs from those in f32, on samples that are kept for it: what a
// rounding changes is computed anew, the rest is remembered. One caller at a time.
//
//   NoiseMeter meter(net, samples, machine);
//   const OutputNoise noise = meter.measure(grids, weights);
#pragma once

#include <span>
#include <vector>

#include "net/quantize/decision_leads.h"
#include "net/quantize/sample_walk.h"

namespace nibble {

// noise: the power of the difference over the power of what it should be, by output; the largest of them is `worst`.
struct OutputNoise {
  std::vector<double> noise;
  double worst = 0;
  // The same before a last softmax or sigmoid, behind which samples that are easy to decide do not count.
  double deciding = 0;
  // Rows of the first output (along its last dimension) whose largest number lies in the same place; of outputs of one
  // number a row, on the same side of 1/2.
  std::uint64_t rows = 0, same = 0;
  // Rows of all samples in f32, and those that lead by less than kNear times what noise adds to leads.
  std::uint64_t leads = 0, near = 0;

  // What choices between roundings go by: few samples, seen both ways.
  double cost() const { return worst * deciding; }
  double agreement() const { return rows == 0 ? 1 : static_cast<double>(same) / static_cast<double>(rows); }
  // The share of decisions that is to be expected to change where samples were not seen; 0: nothing is known of it.
  double changing() const {
    return leads == 0 ? 0 : kChangingOfNear * static_cast<double>(near) / static_cast<double>(leads);
  }
};

// In decibels; 0 noise: infinite.
double decibels_of(double noise);
// The power of what differs over the power of what it should be.
double noise_of(const SampleValues& made, const SampleValues& should);

class NoiseMeter {
 public:
  // net: outlives this.
  NoiseMeter(const Net& net, std::span<const NetSample> samples, Machine& machine);

  // A value of other samples in f32, whose decisions may change, too; passed over where it does not decide.
  void see(ValueId value, const SampleValues& values);
  OutputNoise measure(const ValueGrids& grids, const NumbersByPart& weights) const;
  // The same, and of every value the noise that it has then; negative: it is not changed.
  OutputNoise measure(const ValueGrids& grids, const NumbersByPart& weights, std::vector<double>& by_value) const;
  std::size_t num_samples() const { return count_; }

 private:
  const Net& net_;
  Machine& machine_;
  std::size_t count_;
  std::vector<SampleValues> values_;  // in f32
  std::vector<ValueId> deciding_;     // by output
  DecisionLeads leads_;               // of the first
};

// How many samples a meter may keep within the memory that it may take.
std::size_t most_samples(const Net& net);

}  // namespace nibble
