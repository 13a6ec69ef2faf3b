// SPDX-License-Identifier: Apache-2.0
//
// Which formats of a container may hold the same numbers as a given one, and whether they do. Internal to pipeline/.
//
//   for (const FormatPtr& place : places_in(container, *find_format("int4:g128"))) ...
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "format/format.h"
#include "pipeline/export/container.h"

namespace nibble {

// From the smallest on, the format itself first where it is not refused. is_refused: whether the container cannot hold
// the matrices that are meant in a format.
std::vector<FormatPtr> places_in(const Container& container, const FormatPtr& own,
                                 const std::function<bool(const FormatPtr&)>& is_refused);

// How a container takes the numbers of a format.
struct Exactness {
  std::string format, container;
  std::string place{};     // the format there; empty: no format of it holds them
  std::string obstacle{};  // why not
};

// By trying: a matrix of random numbers in the format is held against the places that a matrix of this shape has in the
// container. Deterministic, a few milliseconds.
Exactness find_place(const Container& container, const FormatPtr& own, TensorRole role, const std::string& name,
                     std::uint64_t rows, std::uint64_t cols);

// Of every container and the formats of the documentation's table, of one matrix [256, 256].
std::vector<Exactness> measure_exactness();

// docs/exactness.md's table, a row a format, a column a container.
std::string exactness_markdown(const std::vector<Exactness>& all);

}  // namespace nibble
