// SPDX-License-Identifier: Apache-2.0
//
// What numbers can be stored as, and a matrix of one's own in any of it.
//
//   nibble::EncodedMatrix m = nibble::encode_matrix(weights, rows, cols, {.format = "q4_k"});
//   std::vector<float> stored = nibble::decode_matrix(m);
//   std::cout << nibble::round_trip_error(weights, stored).relative << '\n';
//
// Functions may be called from many threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/model.h"

namespace nibble {

enum class FormatGroup { raw, block, planar, mix };

struct FormatDescription {
  std::string name;         // what quantize() takes
  std::string description;  // one line
  FormatGroup group = FormatGroup::raw;
  double bits_per_weight = 0;      // grids counted; 0 for mixes, whose bits depend on the model
  std::uint64_t row_multiple = 1;  // a row's length must be a multiple of this
};

// Every format and every mix, in the order in which help shows them. Planar families have more members than are listed:
// any group size ("int4:g64"), symmetric or not (":asym").
std::vector<FormatDescription> list_format_descriptions();

// One stored array of a matrix. Block and raw formats have one without a name; planar formats have "codes", then
// "scales" (or, where points are learned, "table"), and where needed "zeros" or "biases", "base" (of a row's scales),
// "nested" and "offset" (of doubly quantized ones).
struct EncodedPlane {
  std::string name;
  std::string type;                  // of the elements, as safetensors spells it: "U8", "F16"
  std::vector<std::uint64_t> shape;  // of a block format: [rows, bytes in a row]
  std::vector<std::byte> bytes;
};

// [rows, cols], with the bytes that a file of this format would hold.
struct EncodedMatrix {
  std::string format;
  std::uint64_t rows = 0, cols = 0;
  std::vector<EncodedPlane> planes;

  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const EncodedPlane& plane : planes) sum += plane.bytes.size();
    return sum;
  }
};

struct EncodeMatrixRequest {
  std::string format{};                 // one of list_format_descriptions(), but no mix
  std::string method = "rtn";           // one of list_method_descriptions() that asks for no second moments
  std::string fit{};                    // how grids are chosen: "search", "percentile:99.9"; empty: the method's own
  std::span<const float> importance{};  // [cols], the mean squares of the inputs; empty: all columns weigh the same
  MachineOptions machine{};
};

// weights: [rows * cols], row-major. The same bytes for any number of threads. Errors: invalid_argument (a name, a
// size, a method that asks for more), unsupported (a row length or a magnitude that the format cannot hold), corrupt (a
// weight that is NaN or infinite).
EncodedMatrix encode_matrix(std::span<const float> weights, std::uint64_t rows, std::uint64_t cols,
                            const EncodeMatrixRequest& request);

// [rows * cols]. Planes go by their names, in any order; types and shapes may be left empty. Errors: invalid_argument
// (an unknown format, no rows or no columns, a plane of another name, type or shape than the format's), corrupt (planes
// of another number or size, or bytes that no writer stores).
std::vector<float> decode_matrix(const EncodedMatrix& matrix);

struct RoundTripError {
  double relative = 0;  // the sum of squared differences over the sum of squares
  double rms = 0;       // the root of the mean squared difference
  double largest = 0;   // difference
};
// Both of one size, else Error(invalid_argument).
RoundTripError round_trip_error(std::span<const float> weights, std::span<const float> stored);

}  // namespace nibble
