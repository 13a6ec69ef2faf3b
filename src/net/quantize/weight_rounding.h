// SPDX-License-Identifier: Apache-2.0
//
// Weights of a net in codes, a scale for each channel that they make, by the formats and methods of matrices.
#pragma once

#include <span>

#include "kernels/machine.h"
#include "net/net.h"
#include "net/weight_codes.h"

namespace nibble {

// Rows of a part: numbers that one scale serves.
std::uint64_t rows_of_weight(const Operation& operation, const WeightUse& use);

// Symmetric codes of so many bits by the plain rule of such formats. least: by row, scales may not be smaller; empty:
// they may. name: of the weights, for messages. Error(corrupt): numbers that are not finite.
WeightCodes round_weights(std::span<const float> numbers, std::uint64_t rows, unsigned bits,
                          std::span<const float> least, const std::string& name, Machine& machine);

// What they stand for.
std::vector<float> numbers_of(const WeightCodes& codes);

}  // namespace nibble
