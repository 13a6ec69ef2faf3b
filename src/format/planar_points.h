// SPDX-License-Identifier: Apache-2.0
//
// Points that are not integers: fixed tables of values by code.
//
//   NF4            Dettmers et al. 2023 (QLoRA), the constants of bitsandbytes
//   FP4            bitsandbytes' own 4-bit float, by bit pattern, normalised to 1
//   E2M1 .. E5M2   OCP Microscaling Formats 1.0 and OFP8 1.0
#pragma once

#include <cstdint>
#include <vector>

#include "format/format.h"
#include "format/planar_spec.h"

namespace nibble {

class PointTable {
 public:
  // value_of[code]; NaN marks a reserved code, which is never chosen.
  explicit PointTable(std::vector<float> value_of);

  float value(Code code) const { return value_of_[code]; }
  std::size_t size() const { return value_of_.size(); }
  bool is_reserved(Code code) const;
  float max() const { return sorted_.back(); }  // the largest magnitude too: every table here is as wide below zero, or narrower
  // The code of the value nearest to x; ties go to the even code.
  Code nearest(float x) const;

 private:
  std::vector<float> value_of_;
  std::vector<float> sorted_;     // distinct values, ascending
  std::vector<float> middles_;    // between neighbours
  std::vector<Code> code_of_;     // of sorted_
};

// Null for integers, ternary, binary and learned tables.
const PointTable* point_table(PlanarPoints points);

}  // namespace nibble
