// SPDX-License-Identifier: Apache-2.0
//
// The grids of ggml's IQ types: the points of 4 or 8 coordinates that their codes can name, in the order of their
// indices. Constants of the file format (ggml-common.h). Each coordinate is one of a few levels; a number holds the
// levels of a point, coordinate j at bits 2 j (8 coordinates, 3 levels) or 3 j (4 coordinates, 8 levels). Levels are
// magnitudes, except in the IQ1 grid.
#pragma once

#include <array>
#include <cstdint>

namespace nibble {

inline constexpr float kIq2Levels[] = {8, 25, 43};
inline constexpr float kIq3XxsLevels[] = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr float kIq3SLevels[] = {1, 3, 5, 7, 9, 11, 13, 15};
inline constexpr float kIq1Levels[] = {-1, 0, 1};

extern const std::array<std::uint16_t, 256> kIq2XxsGrid;
extern const std::array<std::uint16_t, 512> kIq2XsGrid;
extern const std::array<std::uint16_t, 1024> kIq2SGrid;
extern const std::array<std::uint16_t, 256> kIq3XxsGrid;
extern const std::array<std::uint16_t, 512> kIq3SGrid;
extern const std::array<std::uint16_t, 2048> kIq1SGrid;

}  // namespace nibble
