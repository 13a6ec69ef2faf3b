// SPDX-License-Identifier: Apache-2.0
//
// Statistics as a safetensors file. __metadata__ has "format" = "nibble.statistics", "version" = "1", "texts" (a JSON
// array of names), "samples", "length". Per site S ("layers.3.attention_in", "head_in"), and
// of a site of experts per expert ("layers.3.experts_in.7"), n columns wide:
//
//   S.count          I64 [1]       vectors seen
//   S.mean_square    F32 [n]       mean of x^2
//   S.absmax         F32 [n]       largest |x|; left out when not known
//   S.histogram      I64 [256]     magnitudes, eight bins an octave from 2^-20; left out when not known
//   S.negatives      I64 [256]     the part of the histogram below 0, and
//   S.range          F32 [2]       the smallest and the largest of all elements and 0; both left out when not known
//   S.second_moment  F32 [n, n]    mean of x x^T; only where it was collected
#pragma once

#include <filesystem>
#include <string>

#include "quantize/statistics.h"

namespace nibble {

void write_statistics(const Statistics& statistics, const std::filesystem::path& path);

// Of a safetensors file: whether it holds statistics. Errors: those of reading its header.
bool is_statistics_file(const std::filesystem::path& path);

// Error(corrupt) names file and tensor; Error(unsupported) for a safetensors file that holds no statistics.
Statistics read_statistics(const std::filesystem::path& path);

}  // namespace nibble
