// SPDX-License-Identifier: Apache-2.0
//
// What calibration saw of the inputs of a model's Linears. One set of numbers serves all Linears that read the same
// activation (a site). Plain data: safe to read from many threads. The second moment, the mean of x x^T, is what papers
// call the Hessian (of the layer's squared error, up to a factor); its diagonal is an importance matrix (imatrix).
//
//   const SiteStatistics* site = statistics.find({3, "attention_in"});
//   if (site != nullptr && site->has_second_moment()) ...
#pragma once

#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

// Magnitudes on a logarithmic scale, eight bins an octave: bin 0 holds all below 2^-20 (zeros, too), the last all from
// 2^12 on.
inline constexpr std::size_t kHistogramBins = 256;
inline std::size_t histogram_bin(float x) {
  const std::uint32_t octave_eighth = (std::bit_cast<std::uint32_t>(x) & 0x7fffffffu) >> 20;
  constexpr std::uint32_t kFirst = (127 - 20) * 8;
  return octave_eighth < kFirst                    ? 0
         : octave_eighth - kFirst < kHistogramBins ? octave_eighth - kFirst
                                                   : kHistogramBins - 1;
}
// The smallest magnitude that falls into the bin (0 for bin 0); kHistogramBins is allowed and ends the last one.
float histogram_edge(std::size_t bin);

// Which inputs: those of a layer's site, or of one of its experts, which are the rows that tokens sent to it have
// there.
struct SiteKey {
  std::int64_t layer = -1;   // -1: of the whole model
  std::string site;          // "attention_in", "head_in"
  std::int64_t expert = -1;  // -1: of all

  auto operator<=>(const SiteKey&) const = default;
  std::string name() const;  // "layers.3.attention_in", "layers.3.experts_in.7", "head_in"
};

struct SiteStatistics : SiteKey {
  std::uint64_t count = 0;               // vectors seen
  std::vector<float> mean_square;        // [width]: mean of x^2
  std::vector<float> absmax;             // [width]; empty when imported
  std::vector<float> second_moment;      // [width * width]: mean of x x^T; empty unless it was asked for
  std::vector<std::uint64_t> histogram;  // [kHistogramBins] of all elements' magnitudes; empty when imported
  std::vector<std::uint64_t> negatives;  // the part of it whose elements are below 0; empty where that is not known
  float lowest = 0, highest = 0;         // of all elements and 0, where it is

  std::size_t width() const { return mean_square.size(); }
  bool has_second_moment() const { return !second_moment.empty(); }
  bool has_signs() const { return !negatives.empty(); }
};

// The same of columns in another order: column c is what column order[c] was.
SiteStatistics reordered(const SiteStatistics& site, const std::vector<std::uint32_t>& order);

struct Statistics {
  std::vector<std::string> texts;         // names of the files, without directories
  std::uint64_t samples = 0, length = 0;  // windows and their tokens
  std::vector<SiteStatistics> sites;

  const SiteStatistics* find(const SiteKey& key) const;  // null: nothing is known
};

}  // namespace nibble
