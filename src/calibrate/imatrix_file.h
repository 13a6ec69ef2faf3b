// SPDX-License-Identifier: Apache-2.0
//
// llama.cpp's importance matrices: mean squares of the inputs by weight name. Both its forms are read, GGUF
// ("general.type" = "imatrix") and the older .dat, and told apart by their content: names say anything. The extension
// decides which one is written (.dat, else GGUF).
//
//   Statistics s = read_imatrix("imatrix.gguf", ModelTensors(config));
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/arch/architecture.h"
#include "quantize/statistics.h"

namespace nibble {

// What a file of statistics is, by its first bytes. Errors: those of reading it; unsupported when it is none of these
// (names it).
enum class StatisticsForm { own, gguf_imatrix, dat_imatrix };
StatisticsForm statistics_form(const std::filesystem::path& path);

// True for names under which an importance matrix is written: .gguf, .dat, .imatrix, in any case.
bool is_imatrix_name(const std::filesystem::path& path);

// What a file says of one weight's inputs, or of each one of a stack.
struct ImatrixEntry {
  std::vector<float> mean_square;     // of each column, one matrix's after the other's
  std::vector<std::uint64_t> counts;  // vectors, of each matrix; one for all in files that tell no more
};
struct Imatrix {
  std::vector<std::string> texts;
  std::uint64_t samples = 0, length = 0;                     // as Statistics'
  std::map<std::string, ImatrixEntry, std::less<>> entries;  // by weight
};

// Errors: corrupt, unsupported (a GGUF file that is no imatrix).
Imatrix read_imatrix_entries(const std::filesystem::path& path);

// Each site takes the numbers of the first of its Linears that the file names; each of its experts those of its place
// in the stack. Of statistics that are written experts that nothing is known of have a count of 0. Errors: those of
// read_imatrix_entries, unusable_input (made for another model: says which weight and both
// widths; or names none of its weights).
Statistics read_imatrix(const std::filesystem::path& path, const ModelTensors& tensors);

void write_imatrix(const Statistics& statistics, const ModelTensors& tensors, const std::filesystem::path& path);

// The weights that read a site's inputs, or an expert's: all that share these numbers.
std::vector<const ModelTensor*> tensors_of_site(const ModelTensors& tensors, const SiteKey& key);

}  // namespace nibble
