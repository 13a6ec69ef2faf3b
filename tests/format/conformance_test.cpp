// SPDX-License-Identifier: Apache-2.0
//
// What every format promises, checked for every format on the one list.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <span>

#include "base/random.h"
#include "format/encode_tensor.h"
#include "format/format_printer.h"
#include "format/lattice/lattice_format.h"
#include "format/planar/format.h"
#include "nibble/error.h"

namespace nibble {

namespace {

constexpr FitRule kRules[] = {FitRule::automatic,  FitRule::absmax,  FitRule::minmax,  FitRule::search,
                              FitRule::percentile, FitRule::entropy, FitRule::absmean, FitRule::threshold};

std::vector<float> normal_values(std::size_t count, std::uint64_t seed, double deviation = 0.02) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.normal() * deviation);
  return values;
}

class Conformance : public testing::TestWithParam<FormatPtr> {
 protected:
  const FormatPtr format_ = GetParam();
  const FormatInfo& info_ = format_->info();
  bool is_raw() const { return info_.kind == FormatKind::raw; }
  bool has_tiles() const { return find_row_tiles(*format_) != nullptr; }
  const PlanarSpec* planar() const {
    const auto* format = dynamic_cast<const PlanarFormat*>(format_.get());
    return format == nullptr ? nullptr : &format->spec();
  }

  // A row length the format accepts: its multiple, and for planar groups a short last one.
  std::size_t row_length() const { return info_.row_multiple > 1 ? 2 * info_.row_multiple : 256 + 37; }

  QuantizedTensor encode(std::span<const float> x, std::uint64_t rows, FitRule rule,
                         std::span<const float> importance = {}) const {
    return encode_tensor(format_, x, rows, rule, importance);
  }

  void expect_sound(const QuantizedTensor& tensor) const {
    for (std::uint64_t row = 0; row < tensor.rows; ++row) {
      const auto defect = format_->find_defect(tensor.view().row(row), tensor.cols);
      EXPECT_FALSE(defect.has_value()) << *defect;
    }
  }
};

double squared_error(std::span<const float> x, std::span<const float> y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    sum += (static_cast<double>(x[i]) - static_cast<double>(y[i])) *
           (static_cast<double>(x[i]) - static_cast<double>(y[i]));
  return sum;
}

TEST_P(Conformance, PlanesAddUpToTheBitsPerWeight) {
  const std::uint64_t cols =
      std::lcm<std::uint64_t>(std::max<std::uint64_t>(info_.row_multiple, std::max<std::uint64_t>(info_.span, 1)), 8)
      << 12;
  std::uint64_t bytes = 0;
  const std::uint64_t rows = 3 * info_.row_unit;
  const auto planes = format_->planes(rows, cols);
  ASSERT_FALSE(planes.empty());
  ASSERT_LE(planes.size(), kMaxPlanes);
  for (const PlaneSpec& plane : planes) {
    std::uint64_t elements = 1;
    for (const std::uint64_t extent : plane.shape) elements *= extent;
    EXPECT_EQ(plane.bytes, elements * dtype_size(plane.dtype)) << plane.suffix;
    EXPECT_EQ(plane.row_bytes == 0 ? plane.bytes : rows / plane.row_unit * plane.row_bytes, plane.bytes)
        << plane.suffix;
    bytes += plane.bytes;
  }
  // What a long row does not make negligible must be in the figure: at most 2 kbit a row are left out.
  EXPECT_NEAR(8.0 * static_cast<double>(bytes) / static_cast<double>(rows * cols), info_.bits_per_weight,
              2048.0 / static_cast<double>(cols));
}

TEST_P(Conformance, RefusesRowsThatAreNotMultiples) {
  if (info_.row_multiple == 1) {
    EXPECT_NO_THROW(format_->planes(1, 1));
    return;
  }
  try {
    format_->planes(1, info_.row_multiple + 3);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_EQ(std::string(error.what()), info_.name + " needs rows whose length is a multiple of " +
                                             std::to_string(info_.row_multiple) +
                                             "; this length leaves 3 over: " + std::to_string(info_.row_multiple + 3));
  }
}

TEST_P(Conformance, RefusesSizesThatOverflow) {
  EXPECT_THROW(format_->planes(std::uint64_t{1} << 40, std::uint64_t{1} << 40), Error);
}

TEST_P(Conformance, ZerosDecodeToZeros) {
  const std::vector<float> zeros(2 * row_length(), 0.0f);
  for (const FitRule rule : kRules) {
    const QuantizedTensor tensor = encode(zeros, 2, rule);
    for (const float value : tensor.view().decode()) ASSERT_EQ(value, 0.0f);
    expect_sound(tensor);
  }
}

TEST_P(Conformance, AllZeroGroupsAmongOthersDecodeToZeros) {
  if (info_.span == 0 || is_raw()) return;  // the row is the group
  std::vector<float> x = normal_values(3 * info_.span, 1);
  // Formats with inner groups share more than the group; zeros must come out whole spans at a time.
  std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(info_.span), info_.span, 0.0f);
  for (const FitRule rule : kRules) {
    const auto y = encode(x, 1, rule).view().decode();
    for (std::size_t i = info_.span; i < 2 * info_.span; ++i) ASSERT_EQ(y[i], 0.0f);
  }
}

TEST_P(Conformance, ErrorStaysWithinAQuarterOfTheSignalPerBit) {
  // The error of b-bit numbers falls by about 6 dB a bit; 1.25 * 2^-(b - 1) of the deviation leaves room for every
  // format here.
  const auto x = normal_values(4 * row_length(), 2);
  const double bits = std::min(planar() != nullptr ? planar()->bits : info_.bits_per_weight, 8.0);
  const double bound = std::max(1.25 * std::exp2(1 - bits), 2e-3);
  const bool is_float =
      planar() != nullptr && planar()->points >= PlanarPoints::fp6_e2m3 && planar()->points <= PlanarPoints::fp8_e5m2;
  const double effective = is_float ? 0.08 : bound;  // floats keep relative precision: half a step of two mantissa bits
  const auto y = encode(x, 4, FitRule::automatic).view().decode();
  EXPECT_LT(std::sqrt(squared_error(x, y) / squared_error(x, std::vector<float>(x.size(), 0.0f))), effective);
}

TEST_P(Conformance, SearchIsNotWorseThanPlainRounding) {
  const auto x = normal_values(4 * row_length(), 3);
  const auto importance = [&] {
    auto weights = normal_values(row_length(), 4, 1.0);
    for (float& weight : weights) weight = std::exp(2 * weight);
    return weights;
  }();
  const double plain = squared_error(x, encode(x, 4, FitRule::absmax).view().decode());
  const double searched = squared_error(x, encode(x, 4, FitRule::search).view().decode());
  EXPECT_LE(searched, plain * (1 + 1e-6));
  const auto weighted = [&](const std::vector<float>& y) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      sum += static_cast<double>(importance[i % importance.size()]) * std::pow(static_cast<double>(x[i] - y[i]), 2);
    return sum;
  };
  EXPECT_LE(weighted(encode(x, 4, FitRule::search, importance).view().decode()),
            weighted(encode(x, 4, FitRule::absmax, importance).view().decode()) * (1 + 1e-6));
}

TEST_P(Conformance, HugeAndTinyValuesStayFiniteAndSound) {
  for (const double deviation : {1e-42, 1e-30, 1e-9, 1e-6, 1e5, 1e9, 1e30, 1e37}) {
    auto x = normal_values(2 * row_length(), 5, deviation);
    x[7] = deviation > 1e36 ? std::numeric_limits<float>::max() : x[7];
    for (const FitRule rule : kRules) {
      const QuantizedTensor tensor = encode(x, 2, rule);
      for (const float value : tensor.view().decode())
        ASSERT_TRUE(std::isfinite(value)) << "deviation " << deviation << ", rule " << static_cast<int>(rule);
      expect_sound(tensor);
    }
  }
}

TEST_P(Conformance, OneLargeValueKeepsItsSign) {
  for (const float peak : {3.0f, -3.0f}) {
    auto x = normal_values(row_length(), 6, 1e-3);
    x[5] = peak;
    const auto y = encode(x, 1, FitRule::absmax).view().decode();
    EXPECT_GT(y[5] * peak, 0) << y[5];
  }
}

TEST_P(Conformance, ImportanceOfZerosIsTaken) {
  const auto x = normal_values(2 * row_length(), 7);
  const std::vector<float> importance(row_length(), 0.0f);
  for (const FitRule rule : {FitRule::automatic, FitRule::search}) {
    const QuantizedTensor tensor = encode(x, 2, rule, importance);
    for (const float value : tensor.view().decode()) ASSERT_TRUE(std::isfinite(value));
    expect_sound(tensor);
  }
}

// Codes of the unit interface and bytes are two views of the same thing.
TEST_P(Conformance, PackAndUnpackAreInverse) {
  if (has_tiles()) return;  // TilesAndCodesAreInverse
  const std::size_t cols = row_length();
  const auto x = normal_values(2 * cols, 8);
  const QuantizedTensor tensor = encode(x, 2, FitRule::absmax);
  QuantizedTensor copy(format_, 2, cols);
  const auto unpacked_grid = format_->unpack_tensor(tensor.view().row(0), 2, cols);
  format_->pack_tensor(unpacked_grid.get(), copy.row(0));
  const std::size_t span = info_.span == 0 ? cols : info_.span;
  std::vector<std::byte> grid(format_->grid_bytes());
  std::vector<Code> codes(span);
  std::vector<float> value(info_.unit);
  const auto decoded = tensor.view().decode();
  for (std::uint64_t row = 0; row < 2; ++row) {
    for (std::size_t begin = 0; begin < cols; begin += span) {
      const std::size_t columns = std::min(span, cols - begin);
      format_->unpack(tensor.view().row(row), begin / span, columns, unpacked_grid.get(), row, grid.data(),
                      codes.data());
      for (std::size_t i = 0; i < columns; i += info_.unit) {
        ASSERT_LT(codes[i / info_.unit], format_->num_codes());
        format_->value(grid.data(), i, codes[i / info_.unit], value.data());
        for (std::size_t j = 0; j < info_.unit; ++j) ASSERT_EQ(value[j], decoded[row * cols + begin + i + j]);
        // The nearest point to a point is that point.
        const Code again = format_->nearest(grid.data(), i, value.data(), nullptr);
        std::vector<float> back(info_.unit);
        format_->value(grid.data(), i, again, back.data());
        for (std::size_t j = 0; j < info_.unit; ++j) ASSERT_EQ(back[j], value[j]) << "column " << begin + i + j;
      }
      format_->pack(grid.data(), codes.data(), begin / span, columns, copy.row(row));
    }
  }
  EXPECT_EQ(copy.planes, tensor.planes);
}

// The same where codes mean something only beside those of other rows; of such a row alone nothing can be asked.
TEST_P(Conformance, TilesAndCodesAreInverse) {
  if (!has_tiles()) return;
  const std::size_t rows = info_.row_unit + 3, cols = row_length(), units = cols / info_.unit,
                    stride = format_->grid_bytes();
  const QuantizedTensor tensor = encode(normal_values(rows * cols, 8), rows, FitRule::absmax);
  QuantizedTensor copy(format_, rows, cols);
  std::vector<std::byte> grids(rows * stride);
  std::vector<Code> codes(2 * info_.row_unit * units);
  for (std::uint64_t row = 0; row < 2 * info_.row_unit; ++row)  // the bits of rows that are not there, too
    format_->unpack(tensor.view().row(row < rows ? row : info_.row_unit), 0, cols, nullptr, row,
                    &grids[std::min<std::size_t>(row, rows - 1) * stride], &codes[row * units]);
  for (std::size_t row = 0; row < rows; ++row)
    format_->unpack(tensor.view().row(row), 0, cols, nullptr, row, &grids[row * stride], &codes[row * units]);
  for (const Code code : codes) ASSERT_LT(code, format_->num_codes());
  for (std::size_t first = 0; first < rows; first += info_.row_unit)
    find_row_tiles(*format_)->pack(&grids[first * stride], stride, std::min(info_.row_unit, rows - first),
                                   &codes[first * units], units, cols, copy.row(first));
  EXPECT_EQ(copy.planes, tensor.planes);
  Code code = 0;
  std::vector<float> value(info_.unit);
  EXPECT_THROW(format_->nearest(grids.data(), 0, value.data(), nullptr), Error);
  EXPECT_THROW(format_->value(grids.data(), 0, code, value.data()), Error);
  EXPECT_THROW(format_->pack(grids.data(), &code, 0, info_.unit, copy.row(0)), Error);
}

TEST_P(Conformance, WritingASpanLeavesTheOthersAlone) {
  const std::size_t cols = row_length();
  const std::size_t span = info_.span == 0 ? cols : info_.span;
  if (span >= cols) return;
  const QuantizedTensor first = encode(normal_values(cols, 9), 1, FitRule::absmax);
  QuantizedTensor second = first;
  std::vector<std::byte> grid(format_->grid_bytes());
  std::vector<Code> codes(span);
  // Span 0 is overwritten with the codes of span 1 and then with its own again.
  const auto copy_span = [&](std::size_t from, std::size_t to) {
    format_->unpack(first.view().row(0), from, std::min(span, cols - from * span), first.tensor_grid.get(), 0,
                    grid.data(), codes.data());
    format_->pack(grid.data(), codes.data(), to, std::min(span, cols - to * span), second.row(0));
  };
  copy_span(1, 0);
  const auto changed = second.view().decode(), original = first.view().decode();
  for (std::size_t i = span; i < cols; ++i) ASSERT_EQ(changed[i], original[i]);
  copy_span(0, 0);
  EXPECT_EQ(second.planes, first.planes);
}

TEST_P(Conformance, NearestIsNearestOnTheFittedGrid) {
  if (info_.unit != 1 || is_raw()) return;
  const std::size_t cols = row_length();
  const auto x = normal_values(cols, 10);
  const std::size_t span = info_.span == 0 ? cols : info_.span;
  const FitOptions options{.rule = FitRule::absmax};
  const auto tensor_grid = format_->prepare(x, 1, cols, {}, options);
  std::vector<std::byte> grid(format_->grid_bytes());
  format_->fit(std::span(x).first(span), {}, tensor_grid.get(), 0, options, grid.data());
  for (std::size_t i = 0; i < span; ++i) {
    float chosen, other;
    format_->value(grid.data(), i, format_->nearest(grid.data(), i, &x[i], nullptr), &chosen);
    for (Code code = 0; code < format_->num_codes(); ++code) {
      format_->value(grid.data(), i, code, &other);
      if (!std::isfinite(other)) continue;  // a reserved code
      // The widest symmetric byte leaves -128 unused.
      if (planar() != nullptr && planar()->bits == 8 && planar()->points == PlanarPoints::integer &&
          !planar()->is_asymmetric && !planar()->has_bias && code == 0)
        continue;
      ASSERT_LE(std::fabs(chosen - x[i]), std::fabs(other - x[i]) * (1 + 1e-5f) + 1e-9f)
          << "column " << i << ", code " << code;
    }
  }
}

TEST_P(Conformance, DecodedValuesEncodeToThemselves) {
  if (has_tiles() || is_lattice(*format_)) return;  // their scales follow a row's deviation, not the decoded row's
  const auto x = normal_values(2 * row_length(), 11);
  const auto once = encode(x, 2, FitRule::absmax).view().decode();
  // Narrow symmetric integers put the peak between two codes, so only a search finds their grid again.
  const bool is_between = planar() != nullptr && planar()->points == PlanarPoints::integer &&
                          !planar()->is_asymmetric && !planar()->has_bias && planar()->bits < 8;
  const auto twice = encode(once, 2, is_between ? FitRule::search : FitRule::absmax).view().decode();
  const double signal = squared_error(x, std::vector<float>(x.size(), 0.0f));
  RecordProperty("drift", std::to_string(std::sqrt(squared_error(once, twice) / signal)));
  // Plain rules find their own grid again, but for scales that rounding moved to a neighbour.
  EXPECT_LE(squared_error(once, twice), 0.05 * squared_error(x, once) + 1e-12 * signal);
}

TEST_P(Conformance, ViewsJudgeTheSizesOfTheirPlanes) {
  const QuantizedTensor tensor = encode(normal_values(2 * row_length(), 12), 2, FitRule::absmax);
  auto planes = tensor.view().planes;
  EXPECT_EQ(make_view(format_, 2, row_length(), planes, "w").decode(), tensor.view().decode());
  planes[0] = planes[0].first(planes[0].size() - 1);
  EXPECT_THROW(make_view(format_, 2, row_length(), planes, "w"), Error);
  planes.pop_back();
  EXPECT_THROW(make_view(format_, 2, row_length(), planes, "w"), Error);
}

TEST_P(Conformance, AnyBytesDecodeOrAreDefects) {
  Random random(13);
  const std::size_t cols = row_length();
  for (int round = 0; round < 200; ++round) {
    QuantizedTensor tensor(format_, 1, cols);
    for (auto& plane : tensor.planes)
      for (std::byte& byte : plane) byte = round == 0 ? std::byte{255} : static_cast<std::byte>(random.below(256));
    const auto decoded = make_view(format_, 1, cols, tensor.view().planes, "w").decode();
    if (format_->find_defect(tensor.view().row(0), cols)) continue;
    if (planar() != nullptr || info_.name == "mxfp4") continue;  // f32 scales may overflow honestly
    for (const float value : decoded) ASSERT_TRUE(std::isfinite(value));
  }
}

std::string test_name(const testing::TestParamInfo<FormatPtr>& info) {
  std::string name = info.param->name();
  std::replace(name.begin(), name.end(), ':', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Formats, Conformance, testing::ValuesIn(list_formats()), test_name);

}  // namespace
}  // namespace nibble
