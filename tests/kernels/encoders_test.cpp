// SPDX-License-Identifier: Apache-2.0
//
// Formats with an instruction set's row loops against the formats themselves, bit for bit: every format, set and rule,
// with and without importance, ordinary and extreme values, misaligned.
#include "kernels/encode/encoders.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "base/random.h"
#include "format/quantized_tensor.h"
#include "format/row_tiles.h"
#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

constexpr std::uint64_t kRows = 10;

// Rows of different natures, each of `cols` values.
std::vector<float> make_rows(std::uint64_t cols) {
  Random random(7);
  std::vector<float> values(kRows * cols);
  const auto row = [&](std::uint64_t r) { return std::span(values).subspan(r * cols, cols); };
  for (float& x : row(0)) x = static_cast<float>(random.normal());
  for (float& x : row(1)) x = static_cast<float>(0.02 * std::pow(random.normal(), 3));
  for (std::size_t i = 0; i < cols; ++i) row(2)[i] = i % 41 == 0 ? 8.0f : static_cast<float>(0.01 * random.normal());
  // Row 3 stays zero; row 4 is zero but for one value, negative zeros among the rest.
  for (std::size_t i = 0; i < cols; ++i) row(4)[i] = i == cols / 3 ? -3.0f : i % 2 == 0 ? -0.0f : 0.0f;
  for (std::size_t i = 0; i < cols; ++i) row(5)[i] = i % 2 == 0 ? 1.0f : -1.0f;       // ties of the peak
  for (float& x : row(6)) x = static_cast<float>(1e-8 * random.normal());             // near the smallest half
  for (float& x : row(7)) x = static_cast<float>(1e37 * std::tanh(random.normal()));  // far beyond any scale
  for (std::size_t i = 0; i < cols; ++i)
    row(8)[i] = static_cast<float>(static_cast<int>(i % 31) - 15) * 0.125f;  // halfway points
  for (float& x : row(9)) x = static_cast<float>(1e-40 * random.normal());   // subnormal
  return values;
}

std::vector<float> make_importance(std::uint64_t cols) {
  Random random(11);
  std::vector<float> importance(cols);
  for (std::size_t i = 0; i < cols; ++i)
    importance[i] = i % 17 == 0 ? 0.0f : static_cast<float>(std::exp(2 * random.normal()));
  return importance;
}

class Encoders : public testing::TestWithParam<std::string> {
 protected:
  const FormatPtr format_ = find_format(GetParam());
  // Blocks twice and a bit more; formats that take any length get an odd one.
  const std::uint64_t cols_ =
      format_->info().row_multiple > 1 ? 3 * std::max<std::uint64_t>(format_->info().row_multiple, 32) : 333;
  const std::vector<float> values_ = make_rows(cols_);

  // The rows' planes, each row in a buffer that begins one byte into an allocation.
  std::vector<std::vector<std::byte>> encode(const FormatPtr& format, const FitOptions& options,
                                             std::span<const float> importance, const TensorGrid* tensor_grid) const {
    const auto specs = format->planes(1, cols_);
    std::vector<std::vector<std::byte>> rows;
    for (std::uint64_t r = 0; r < kRows; ++r) {
      RowPlanes planes{};
      const std::size_t first = rows.size();
      for (const PlaneSpec& spec : specs) rows.emplace_back(static_cast<std::size_t>(spec.bytes) + 1);
      for (std::size_t p = 0; p < specs.size(); ++p) planes[p] = rows[first + p].data() + 1;
      format->encode_row(std::span(values_).subspan(r * cols_, cols_), importance, tensor_grid, r, options, planes);
    }
    return rows;
  }
};

TEST_P(Encoders, WriteTheBytesOfTheFormat) {
  const std::vector<float> importance = make_importance(cols_);
  for (const FitRule rule :
       {FitRule::automatic, FitRule::absmax, FitRule::minmax, FitRule::search, FitRule::percentile}) {
    for (const bool weighted : {false, true}) {
      const FitOptions options{.rule = rule};
      const std::span<const float> weights = weighted ? std::span<const float>(importance) : std::span<const float>{};
      const auto tensor_grid = format_->prepare(values_, kRows, cols_, weights, options);
      const auto expected = encode(format_, options, weights, tensor_grid.get());
      for (const Isa isa : runnable_sets()) {
        const auto found = encode(with_kernels(format_, isa), options, weights, tensor_grid.get());
        ASSERT_EQ(found.size(), expected.size());
        for (std::size_t i = 0; i < found.size(); ++i)
          EXPECT_EQ(found[i], expected[i]) << isa_name(isa) << ", rule " << static_cast<int>(rule) << ", weighted "
                                           << weighted << ", row and plane " << i;
      }
    }
  }
}

TEST_P(Encoders, FitTheGridsOfTheFormat) {
  const std::size_t span = format_->info().span == 0 ? cols_ : format_->info().span;
  const std::vector<float> importance = make_importance(span);
  const FitOptions options{.rule = FitRule::search};
  const auto tensor_grid = format_->prepare(values_, kRows, cols_, {}, options);
  for (const Isa isa : runnable_sets()) {
    const FormatPtr fast = with_kernels(format_, isa);
    EXPECT_EQ(fast->name(), format_->name());
    for (std::uint64_t r = 0; r < kRows; ++r) {
      std::vector<std::byte> expected(format_->grid_bytes()), found(format_->grid_bytes());
      const auto x = std::span(values_).subspan(r * cols_, span);
      format_->fit(x, importance, tensor_grid.get(), r, options, expected.data());
      fast->fit(x, importance, tensor_grid.get(), r, options, found.data());
      EXPECT_EQ(found, expected) << isa_name(isa) << ", row " << r;
    }
  }
}

TEST_P(Encoders, ReadTheValuesOfTheFormat) {
  const auto tensor_grid = format_->prepare(values_, kRows, cols_, {}, {});
  const std::size_t num_planes = format_->planes(1, cols_).size();
  const auto rows = encode(format_, {}, {}, tensor_grid.get());
  for (const Isa isa : runnable_sets()) {
    const FormatPtr fast = with_kernels(format_, isa);
    for (std::uint64_t r = 0; r < kRows; ++r) {
      ConstRowPlanes planes{};
      for (std::size_t p = 0; p < num_planes; ++p) planes[p] = rows[r * num_planes + p].data() + 1;
      std::vector<float> expected(cols_), found(cols_);
      format_->decode_row(planes, tensor_grid.get(), r, expected);
      fast->decode_row(planes, tensor_grid.get(), r, found);
      for (std::size_t i = 0; i < cols_; ++i)
        ASSERT_EQ(std::bit_cast<std::uint32_t>(found[i]), std::bit_cast<std::uint32_t>(expected[i]))
            << isa_name(isa) << ", row " << r << ", column " << i;
    }
  }
}

// Every format has loops of its own on every set beyond scalar but for these, which copy, or round without a search.
const std::set<std::string> kEncodedPlainly = {"e8p2", "e8p3", "e8p4", "f32", "q1_0", "tq1_0", "tq2_0"};

TEST(FastEncoders, AreThoseOfAllFormatsButTheNamed) {
  for (const Isa isa : runnable_sets()) {
    if (isa == Isa::scalar) continue;
    std::set<std::string> without;
    for (const FormatPtr& format : list_formats())
      if (with_kernels(format, isa) == format) without.insert(format->name());
    EXPECT_EQ(without, kEncodedPlainly) << isa_name(isa);
  }
}

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const FormatPtr& format : list_formats())
    if (find_row_tiles(*format) == nullptr) names.push_back(format->name());
  for (const char* const biased : {"int4:g64:bias", "int3:row:bias", "int8:row:amax"})
    if (std::ranges::find(names, biased) == names.end()) names.emplace_back(biased);
  return names;
}

// Codes of tiles, of which some are short, some targets far beyond what is stored and some weights zero.
TEST(TileCoders, ChooseTheCodesOfTheFormat) {
  for (const char bits : {'1', '2', '3', '4', '5', '6'})
    for (const char* const states : {":l8", ":l12", ":l16"}) {
      const FormatPtr format = find_format(std::string("trellis") + bits + states);
      const std::size_t rows = format->info().row_unit, unit = format->info().unit;
      const auto coder = find_row_tiles(*format)->make_coder();
      for (const std::size_t count : {rows, std::size_t{7}}) {
        auto targets = normal_numbers(rows * unit, count);
        targets[5] = 40;
        std::vector<float> metric(unit * unit), grids(rows, 0.01F);
        for (std::size_t i = 0; i < unit; ++i) metric[i * unit + i] = static_cast<float>(i);
        grids[3] = 0;
        std::vector<Code> expected(rows);
        std::vector<float> expected_values(rows * unit);
        const auto* const grid = reinterpret_cast<const std::byte*>(grids.data());
        ASSERT_EQ(format->grid_bytes(), sizeof(float));
        coder->nearest(grid, sizeof(float), count, targets.data(), metric.data(), expected.data(),
                       expected_values.data());
        for (const Isa isa : runnable_sets()) {
          const FormatPtr fast = with_kernels(format, isa);
          std::vector<Code> found(rows);
          std::vector<float> values(rows * unit);
          find_row_tiles(*fast)->make_coder()->nearest(grid, sizeof(float), count, targets.data(), metric.data(),
                                                       found.data(), values.data());
          EXPECT_EQ(found, expected) << format->name() << ' ' << isa_name(isa);
          EXPECT_TRUE(same_bits(values, expected_values)) << format->name() << ' ' << isa_name(isa);
        }
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, Encoders, testing::ValuesIn(all_names()), [](const auto& instance) {
  std::string name = instance.param;
  for (char& c : name)
    if (c == ':') c = '_';
  return name;
});

}  // namespace
}  // namespace nibble
