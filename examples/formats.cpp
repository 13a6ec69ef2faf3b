// SPDX-License-Identifier: Apache-2.0
//
// nibble/formats.h: numbers of your own in any format, and what that takes of them. No model is needed.
//
//   formats
#include <nibble/formats.h>

#include <cmath>
#include <iomanip>
#include <iostream>

int main() {
  // A matrix of 64 rows and 256 columns, row after row. Any numbers will do; those of networks look like waves' sums.
  const std::uint64_t rows = 64, cols = 256;
  std::vector<float> weights(rows * cols);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double x = static_cast<double>(i);
    weights[i] = static_cast<float>(0.02 * (std::sin(x * 12.9898) + std::sin(x * 78.233) + std::sin(x * 37.719)));
  }

  double last = 1;
  for (const char* const format : {"int2:g32", "q3_k", "q4_0", "q4_k", "int4:g32", "q6_k", "q8_0", "f16"}) {
    const nibble::EncodedMatrix encoded = nibble::encode_matrix(weights, rows, cols, {.format = format});
    const nibble::RoundTripError error = nibble::round_trip_error(weights, nibble::decode_matrix(encoded));
    std::cout << std::setw(8) << format << std::setw(8) << encoded.bytes() << " bytes in " << encoded.planes.size()
              << " arrays, relative squared error " << error.relative << '\n';
    last = error.relative;
  }

  // Columns that matter more may be told apart: the mean squares of what they are multiplied with.
  std::vector<float> importance(cols, 1.0f);
  for (std::size_t i = 0; i < cols; i += 16) importance[i] = 100.0f;
  nibble::EncodeMatrixRequest request;
  request.format = "q4_k";
  request.method = "imatrix";
  request.importance = importance;
  std::cout << nibble::encode_matrix(weights, rows, cols, request).bytes() << " bytes with importance\n";
  std::cout << nibble::list_format_descriptions().size() << " formats and mixes are listed\n";
  return last < 1e-6 ? 0 : 1;
}
