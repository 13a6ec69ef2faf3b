// SPDX-License-Identifier: Apache-2.0
#include "quantize/weight_peak.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace nibble {
namespace {

constexpr std::uint64_t kCols = 96;

QuantizedTensor matrix_in(const char* format, const std::vector<float>& values) {
  QuantizedTensor tensor(find_format(format), values.size() / kCols, kCols);
  for (std::uint64_t r = 0; r < tensor.rows; ++r)
    tensor.format->encode_row(std::span(values).subspan(r * kCols, kCols), {}, nullptr, r, {}, tensor.row(r));
  return tensor;
}

std::vector<float> some_values(std::uint64_t rows) {
  std::vector<float> values(rows * kCols);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(static_cast<int>(i * 7919 % 2003) - 1001) * 1e-3f;
  return values;
}

TEST(WeightPeak, IsTheFirstOfTheLargestMagnitudesInAnyFormat) {
  for (const char* format : {"f32", "f16", "bf16", "q8_0"})
    for (const std::uint64_t rows : {1, 3, 1500}) {  // the last is more than one piece
      std::vector<float> values = some_values(rows);
      const std::uint64_t last = rows * kCols - 1;
      for (const std::uint64_t at : {std::uint64_t{0}, rows * kCols / 2, last}) {
        std::vector<float> with = values;
        with[at] = -12.5f;
        with[last] = at == last ? -12.5f : 12.5f;  // of two alike the first counts
        const QuantizedTensor matrix = matrix_in(format, with);
        const std::vector<float> stored = matrix.view().decode();
        std::uint64_t expected = 0;
        for (std::uint64_t i = 0; i < stored.size(); ++i)
          if (std::fabs(stored[i]) > std::fabs(stored[expected])) expected = i;
        const WeightPeak peak = peak_of(matrix.view());
        EXPECT_EQ(peak.row * kCols + peak.column, expected) << format << " " << rows << " " << at;
        EXPECT_EQ(peak.magnitude, std::fabs(stored[expected]));
        EXPECT_TRUE(peak.is_finite);
      }
    }
}

TEST(WeightPeak, DoesNotDependOnHowTheBytesAreCut) {
  const QuantizedTensor matrix = matrix_in("bf16", some_values(40));
  const auto bytes = std::span<const std::byte>(matrix.planes[0]);
  const WeightPeak whole = peak_of(matrix.view());
  for (const std::size_t piece : {2u, 34u, 4096u}) {
    PeakSearch search(DType::bf16, kCols);
    for (std::size_t begin = 0; begin < bytes.size(); begin += piece)
      search.add(bytes.subspan(begin, std::min(piece, bytes.size() - begin)));
    EXPECT_EQ(search.peak().row, whole.row) << piece;
    EXPECT_EQ(search.peak().column, whole.column) << piece;
    EXPECT_EQ(search.peak().magnitude, whole.magnitude) << piece;
  }
}

TEST(WeightPeak, SeesWhatIsNoNumber) {
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    QuantizedTensor matrix = matrix_in("f32", some_values(4));
    std::memcpy(matrix.planes[0].data() + 200 * sizeof bad, &bad, sizeof bad);
    EXPECT_FALSE(peak_of(matrix.view()).is_finite) << bad;
  }
  for (const auto& [format, bits] :
       {std::pair("f16", std::uint16_t{0xfc00}), std::pair("bf16", std::uint16_t{0x7fc0})}) {
    QuantizedTensor matrix = matrix_in(format, some_values(4));
    std::memcpy(matrix.planes[0].data() + 200 * sizeof bits, &bits, sizeof bits);
    EXPECT_FALSE(peak_of(matrix.view()).is_finite) << format;
  }
}

TEST(WeightPeak, NothingButZerosHasAPeakOfZero) {
  const WeightPeak peak = peak_of(QuantizedTensor(find_format("f16"), 2, kCols).view());
  EXPECT_EQ(peak.magnitude, 0.0f);
  EXPECT_TRUE(peak.is_finite);
}

}  // namespace
}  // namespace nibble
