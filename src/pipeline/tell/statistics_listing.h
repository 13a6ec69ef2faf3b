// SPDX-License-Identifier: Apache-2.0
//
// What a file of statistics or an importance matrix holds, told without the model that it was made for.
//
//   if (is_statistics(path)) for (const StatisticsEntry& e : list_statistics(path).entries) print(e.name, e.median);
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nibble/quantize.h"

namespace nibble {

// A site, or a weight of an importance matrix, of which there is one or one for each expert.
struct StatisticsEntry {
  std::string name;
  std::uint64_t columns = 0, experts = 0;          // experts: 0: of none, or not told (older importance matrices)
  std::uint64_t fewest = 0, median = 0, most = 0;  // vectors; of older importance matrices texts
  bool has_second_moment = false;
};

struct StatisticsListing {
  std::string form;  // "statistics", "importance matrix (GGUF)", "importance matrix (.dat)"
  std::vector<std::string> texts;
  std::uint64_t samples = 0, length = 0;  // as Statistics'
  std::uint64_t bytes = 0;                // of the file
  std::vector<StatisticsEntry> entries;
  std::vector<ExpertTokens> experts;  // of layers that have any, where counts are of tokens
};

// By content; false of what cannot be read, too. Of a .dat file the name has to say it, since its content hardly does.
bool is_statistics(const std::filesystem::path& path);

// Errors: corrupt, unsupported, io.
StatisticsListing list_statistics(const std::filesystem::path& path);

}  // namespace nibble
