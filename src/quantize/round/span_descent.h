// SPDX-License-Identifier: Apache-2.0
//
// Block coordinate descent on the loss tr(E H E^T) of a band of rows, a span at a time, from codes that exist already.
// With G = E H and the other spans unchanged, the loss of span s is a H_ss a^T + constant for a = t - stored, where t =
// stored + G_s H_ss^-1 is the best that real numbers could do: grid and codes are chosen anew for t, by feedback within
// the span, and kept where they lower it. Never above the loss it starts from. Internal to round/.
#pragma once

#include <span>
#include <vector>

#include "kernels/machine.h"
#include "quantize/round/feedback_factor.h"
#include "quantize/round/span_codes.h"

namespace nibble {

class SpanDescent {
 public:
  SpanDescent(std::span<const float> second_moment, std::size_t cols, const Format& format, double damping,
              Machine& machine);

  void run(const RoundBand& band, SpanCodes& codes, int sweeps, Machine& machine) const;

 private:
  // A span's own part of the moment.
  struct Span {
    std::size_t first = 0, cols = 0;
    std::vector<float> moment, inverse;  // H_ss (damped) and its inverse
    std::vector<float> factor;           // N within the span, [cols, cols]
    std::vector<float> metrics;          // of its units
    std::vector<float> weights;          // R_jj^2: what an error costs when those after it can still make it good
  };
  struct Work;
  void descend_row(const Span& span, std::size_t s, const RoundBand& band, SpanCodes& codes, std::size_t row,
                   float* gradient, float* errors, Work& work) const;
  double round_span(const Span& span, const SpanCodes& codes, std::size_t row, const std::byte* grid, Work& work) const;

  const Format& format_;
  std::size_t cols_, unit_, span_;
  std::vector<Span> spans_;
  std::vector<float> columns_;  // H (damped) by blocks of a span's columns: [cols, span_cols] each
};

}  // namespace nibble
