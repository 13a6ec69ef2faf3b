// SPDX-License-Identifier: Apache-2.0
//
// One process of several that make a quantization's pieces, each some of them: which are its own follows from the plan
// and from its number alone, so that none needs to know of another. Pure.
//
//   const JobPart part = parse_job_part("2/8");
//   const PartShare share(plan, options, part);
//   if (share.owns(index, rows)) ...
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quantize/quantize_linear.h"

namespace nibble {

struct QuantizePlan;
struct QuantizeModelOptions;

struct JobPart {
  std::uint64_t number = 1, count = 1;  // number: from 1 to count
  bool operator==(const JobPart&) const = default;
};

// "2/8": the second of eight. Error(invalid_argument) says how it is spelled; at most 65,536 parts.
JobPart parse_job_part(std::string_view spelling);
std::string job_part_text(const JobPart& part);  // "2/8"

// A run of the plan's rows, tensor after tensor, as long as any other part's by what rounding them takes. Matrices that
// are rounded by what is known of their inputs stay whole, for what their rows share is worked out once.
class PartShare {
 public:
  PartShare(const QuantizePlan& plan, const QuantizeModelOptions& options, const JobPart& part);

  bool owns(std::size_t tensor, RowRange rows) const;
  // Whether any rows of the tensor may be its own.
  bool touches(std::size_t tensor) const;

 private:
  struct Place {
    std::uint64_t begin = 0, row = 0, end = 0;  // of all work: before the tensor, of a row, behind it
    bool is_whole = false;
  };
  std::uint64_t owner(std::uint64_t at) const;  // from 0

  JobPart part_;
  std::vector<Place> places_;
  std::uint64_t total_ = 0;
};

}  // namespace nibble
