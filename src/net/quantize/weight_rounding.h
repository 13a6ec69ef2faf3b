// SPDX-License-Identifier: Apache-2.0
//
// Weights of a net in codes, a scale for each channel that they make or one for all, by the formats and methods of
// matrices.
#pragma once

#include <span>

#include "format/quantized_tensor.h"
#include "kernels/machine.h"
#include "net/net.h"
#include "net/weight_codes.h"
#include "quantize/method.h"
#include "quantize/statistics.h"

namespace nibble {

// Rows of a part: numbers that one scale serves.
std::uint64_t rows_of_weight(const Operation& operation, const WeightUse& use);

// What a scale serves.
enum class WeightGrain { channel, tensor };

// How: symmetric codes of so many bits by a method. inputs: what is known of what the rows multiply, in equal runs of
// rows; none: nothing. least: by row, scales may not be smaller; none: they may.
struct WeightRounding {
  unsigned bits = 8;
  WeightGrain grain = WeightGrain::channel;
  Method method = find_method("rtn");
  std::span<const SiteStatistics> inputs = {};
  std::span<const float> least = {};
};

// name: of the weights, for messages. Error(corrupt): numbers that are not finite.
WeightCodes round_weights(std::span<const float> numbers, std::uint64_t rows, const WeightRounding& how,
                          const std::string& name, Machine& machine);

// Of a matrix in symmetric integers, or in ternary or binary numbers, by row: each number over its row's scale. Of rows
// of zeros the scale is 1.
WeightCodes codes_of(const QuantizedTensor& matrix);

// What they stand for.
std::vector<float> numbers_of(const WeightCodes& codes);

}  // namespace nibble
