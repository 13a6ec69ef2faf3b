// SPDX-License-Identifier: Apache-2.0
//
// How a format stores given numbers, step by step: the range, the grid it leads to, each number's code, what the code
// decodes to, and the error. Works for every format through its interface; formats on evenly spaced points also get
// their arithmetic, with the numbers put in. Everything here is a value; nothing is shared.
//
//   Explanation e = explain_format({.format = find_format("int8:tensor:asym"), .numbers = {3.0f, 0.0f, -2.5f}});
//   e.numbers[0].code;      // 127
//   e.numbers[0].decoded;   // 3.00
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/format.h"

namespace nibble {

struct ExplainRequest {
  FormatPtr format;
  FitOptions fit{};
  std::vector<float> numbers{};  // finite; none: a few of the range are taken
  std::optional<std::pair<float, float>> range =
      {};  // low, high of the values that the grid is for; none: of the numbers
};

// One step towards the grid: "scale", "(3 - -2.5) / 255", 0.0215686.
struct ExplainedStep {
  std::string name;
  std::string formula;  // may be empty
  std::string value;
};

struct ExplainedNumber {
  float given = 0;
  std::int64_t code = 0;  // as the format numbers its codes: int8 from -128, uint8 from 0
  float decoded = 0;
  double error = 0;  // decoded - given
  std::string how;   // the arithmetic; may be empty
};

// Points that are evenly spaced: value = scale * (code - zero), or scale * code + offset where no code decodes to 0.
struct EvenPoints {
  double scale = 0, offset = 0;
  std::optional<std::int64_t> zero;
  std::int64_t lowest = 0, highest = 0;  // codes
};

// The two ways in which textbooks number the codes of asymmetric integers, and what comes of mixing them.
struct ZeroPoints {
  std::int64_t of_signed = 0, of_unsigned = 0;
  std::int64_t lowest_signed = 0, highest_signed = 0, highest_unsigned = 0;
  float example = 0;    // a number ...
  double mixed_up = 0;  // ... and what it decodes to when its signed code is cut from the unsigned zero point
};

struct Explanation {
  std::string format, description;
  double bits_per_weight = 0;
  std::size_t span = 0;     // numbers that share a grid: 0 for a whole row or tensor
  std::size_t unit = 1;     // numbers coded together
  float low = 0, high = 0;  // the range, 0 included
  std::string fitted_on;    // which numbers the grid was chosen for
  std::vector<ExplainedStep> steps;
  std::string rule;           // "q = clamp(round(x / scale) + zero, -128, 127), x ~ scale * (q - zero)"; may be empty
  std::vector<float> points;  // what can be stored here, ascending; only where there are at most 16 codes
  std::vector<ExplainedNumber> numbers;
  std::optional<ZeroPoints> zero_points;
};

// Error(invalid_argument): numbers that are not finite, a range whose ends are in the wrong order, more numbers than
// share a grid.
Explanation explain_format(const ExplainRequest& request);

}  // namespace nibble
