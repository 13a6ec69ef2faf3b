// SPDX-License-Identifier: Apache-2.0
//
// How near decisions are to being others: by how much the largest number of each row (along the last dimension) leads
// the next one, or how far the only number of a row is from a threshold.
//
// A few samples that decide alike say little of others: where 25 of 25 do, a tenth of what was not seen may not. How
// far noise moves leads is known from few samples, though, and leads in f32 of all. Where leads lie evenly next to 0,
// normal noise of deviation s changes as many as lie within the integral of its tail, s / sqrt(2 pi); so of rows that
// lead by less than kNear * s it changes a share of kChangingOfNear; where most rows do, at least that.
//
//   DecisionLeads leads(width, threshold);
//   leads.add(values);
//   const std::uint64_t near = leads.below(kNear * leads.deviation(made, values));
#pragma once

#include <cstdint>
#include <vector>

#include "net/quantize/sample_walk.h"

namespace nibble {

inline constexpr double kNear = 4, kChangingOfNear = 0.3989422804014327 / kNear;

class DecisionLeads {
 public:
  DecisionLeads() = default;
  // width: numbers of a row; threshold: of rows of one.
  DecisionLeads(std::uint64_t width, float threshold) : width_(width), threshold_(threshold) {}

  // Rows in f32.
  void add(const SampleValues& values);
  std::uint64_t count() const { return leads_.size(); }
  std::uint64_t below(double lead) const;
  // Of what noise adds to leads over each of a row's other numbers; 0: nothing.
  double deviation(const SampleValues& made, const SampleValues& should) const;

 private:
  std::uint64_t width_ = 0;  // 0: nothing is decided
  float threshold_ = 0;
  std::vector<float> leads_;
};

}  // namespace nibble
