// SPDX-License-Identifier: Apache-2.0
//
// Products with 8-bit activations on grids of runs, with wide columns and without, of a token, or of a whole Linear,
// symmetric and not: against integers exactly, against their definition in double precision, and among sets.
#include "format/activation_format.h"

#include <cmath>

#include "format/random_tiles.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/integer_form.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

QuantizedTensor quantize(const std::string& name, std::uint64_t rows, std::uint64_t cols,
                         const std::vector<float>& values) {
  if (trellis_shape(*find_format(name)) != nullptr) return random_tiles(find_format(name), rows, cols, values.size());
  QuantizedTensor tensor(find_format(name), rows, cols);
  FitOptions options;
  options.rule = FitRule::absmax;
  for (std::uint64_t r = 0; r < rows; ++r)
    tensor.format->encode_row(
        std::span(values).subspan(static_cast<std::size_t>(r * cols), static_cast<std::size_t>(cols)), {}, nullptr, r,
        options, tensor.row(r));
  return tensor;
}

std::vector<float> product(const QuantizedView& view, Isa isa, ActivationFormat format, const ActivationGrid& grid,
                           const std::vector<float>& x, std::size_t tokens, std::size_t threads) {
  Machine machine(isa, threads);
  const PackedLinear packed = PackedLinear::pack(
      view, {.activations = ActivationMode::int8, .activation_format = format, .activation_grid = grid}, machine);
  EXPECT_NE(packed.kernel_name().find("int8"), std::string::npos) << packed.kernel_name();
  const GuardedBuffer<float> in(x), out(tokens * static_cast<std::size_t>(view.rows));
  packed.multiply(in.data(), tokens, out.data(), machine);
  return out.copy();
}

// Whole numbers that each format stores as they are, with scale 1: its smallest and largest in every 32 columns. All
// others at random, or, with `extremes`, those two alone.
struct WholeFormat {
  const char* name;
  int low, high;
  float stored_low;  // what is asked for to get `low`: symmetric grids reach half a step beyond their largest number
};
constexpr WholeFormat kWholeFormats[] = {
    {"int8:row", -127, 127, -127},      {"int8:row:asym", -128, 127, -128}, {"int8:g128", -127, 127, -127},
    {"int8:g32:asym", -128, 127, -128}, {"int4:row", -8, 7, -7.5f},         {"int4:g32", -8, 7, -7.5f},
    {"int4:g128:asym", -8, 7, -8},      {"int4:row:asym", -15, 0, -15},     {"int2:g64:asym", -1, 2, -1},
    {"int3:g32", -4, 3, -3.5f},         {"int5:row:asym", -16, 15, -16},    {"q4_0", -8, 7, -8},
};

std::vector<float> whole_weights(const WholeFormat& format, std::size_t rows, std::size_t cols, bool extremes) {
  Random random(cols * 7 + 1);
  std::vector<float> w(rows * cols);
  for (std::size_t i = 0; i < w.size(); ++i) {
    const std::size_t column = i % cols;
    const int number =
        format.low + static_cast<int>(random.below(static_cast<std::uint64_t>(format.high - format.low + 1)));
    const bool lowest = column % 32 == 0 || (extremes && column % 2 == 0);
    const bool highest = column % 32 == 1 || (extremes && column % 2 == 1);
    w[i] = lowest || (!highest && number == format.low) ? format.stored_low
           : highest                                    ? static_cast<float>(format.high)
                                                        : static_cast<float>(number);
  }
  return w;
}

std::vector<std::size_t> row_lengths(const std::string& name) {
  return name == "q4_0" ? std::vector<std::size_t>{32, 256, 288, 512}
                        : std::vector<std::size_t>{2, 31, 64, 100, 130, 172, 256, 300, 512};
}

// Codes and weights are whole numbers and their products' sums below 2^24, so that every step in f32 is exact: results
// equal the integers'.
TEST(ActivationFormats, EqualIntegerProductsExactly) {
  for (const WholeFormat& whole : kWholeFormats)
    for (const std::size_t cols : row_lengths(whole.name))
      for (const bool extremes : {false, true}) {
        const std::size_t rows = 70, tokens = 7;
        const QuantizedTensor tensor = quantize(whole.name, rows, cols, whole_weights(whole, rows, cols, extremes));
        const auto w = tensor.view().decode();
        for (std::size_t i = 0; i < w.size(); ++i)
          ASSERT_EQ(w[i], std::nearbyint(w[i])) << whole.name << ", cols " << cols;
        for (const int zero : {0, 5, -128, 127}) {
          const ActivationFormat format{ActivationGrain::tensor, zero != 0};
          Random random(3);
          std::vector<float> x(tokens * cols);
          std::vector<std::int64_t> codes(x.size());
          for (std::size_t i = 0; i < x.size(); ++i) {
            codes[i] = extremes ? (i / cols % 3 == 0   ? -128
                                   : i / cols % 3 == 1 ? 127
                                   : i % 2 == 0        ? -128
                                                       : 127)
                                : static_cast<std::int64_t>(random.below(256)) - 128;
            // Beyond the ends of the range are the ends.
            x[i] = static_cast<float>(codes[i] - zero) + (codes[i] == 127 ? 1e30f * static_cast<float>(i % 2) : 0.25f);
          }
          std::vector<float> expected(tokens * rows);
          for (std::size_t t = 0; t < tokens; ++t)
            for (std::size_t r = 0; r < rows; ++r) {
              std::int64_t sum = 0;
              for (std::size_t k = 0; k < cols; ++k)
                sum += (codes[t * cols + k] - zero) * static_cast<std::int64_t>(w[r * cols + k]);
              ASSERT_LT(std::abs(sum), 1 << 24);
              expected[t * rows + r] = static_cast<float>(sum);
            }
          for (const Isa isa : runnable_sets())
            for (const std::size_t count : {std::size_t{1}, std::size_t{3}, tokens}) {
              const auto y = product(tensor.view(), isa, format, {1, zero},
                                     {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(count * cols)}, count, 2);
              for (std::size_t i = 0; i < y.size(); ++i)
                ASSERT_EQ(y[i], expected[i]) << whole.name << ", " << isa_name(isa) << ", cols " << cols << ", zero "
                                             << zero << ", element " << i;
            }
        }
      }
}

// Whole rows are summed as integers, however large: one rounding, to f32. Longer ones are summed in f32.
TEST(ActivationFormats, SumsOfWholeRowsAreRoundedOnce) {
  for (const std::size_t cols : {kMostSummedColumns, kMostSummedColumns + 1}) {
    const std::size_t rows = 3, tokens = 8;
    std::vector<float> w(rows * cols), x(tokens * cols);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = i % 5 == 4 ? -126 : 127;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 7 == 6 ? -125 : 127;
    const QuantizedTensor tensor = quantize("int8:row", rows, cols, w);
    std::vector<float> expected(tokens * rows);
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t r = 0; r < rows; ++r) {
        std::int64_t sum = 0;
        for (std::size_t k = 0; k < cols; ++k)
          sum += static_cast<std::int64_t>(x[t * cols + k]) * static_cast<std::int64_t>(w[r * cols + k]);
        ASSERT_GT(sum, std::int64_t{1} << 24);
        expected[t * rows + r] = static_cast<float>(sum);
      }
    for (const Isa isa : runnable_sets())
      for (const std::size_t count : {std::size_t{1}, tokens}) {
        const auto y = product(tensor.view(), isa, {ActivationGrain::tensor, false}, {1, 0},
                               {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(count * cols)}, count, 1);
        for (std::size_t i = 0; i < y.size(); ++i)
          if (cols == kMostSummedColumns)
            EXPECT_EQ(y[i], expected[i]) << isa_name(isa) << ", element " << i;
          else
            EXPECT_NEAR(y[i], expected[i], expected[i] * static_cast<double>(cols) / 128 * 0x1p-24)
                << isa_name(isa) << ", element " << i;
      }
  }
}

std::vector<std::string> formats() {
  std::vector<std::string> names = {
      "int8:row", "int8:row:asym", "int8:g128", "int4:g32", "int4:g128:asym", "int3:g64", "ternary:row", "nf4:g64",
      "q8_0",     "q4_0",          "q4_k",      "q6_k",     "iq2_xs",         "iq4_xs",   "q2_k",        "q3_k",
      "q5_k",     "q5_1",          "q1_0",      "nvfp4",    "tq2_0",          "int7:row", "iq1_s",       "iq1_m",
      "iq2_xxs",  "iq2_s",         "iq3_xxs",   "iq3_s",    "e8p2",           "e8p3",     "e8p4"};
  for (const char bits : {'1', '2', '3', '4', '5', '6'})
    for (const char* const states : {":l8", ":l12", ":l16"}) names.push_back(std::string("trellis") + bits + states);
  return names;
}
std::vector<ActivationFormat> all_formats() {
  std::vector<ActivationFormat> formats = activation_formats();
  for (const WideColumns wide : {WideColumns::few, WideColumns::many})
    formats.push_back({ActivationGrain::run, false, wide, 128});  // not spelled
  return formats;
}
constexpr ActivationGrid kGrid{0.0173f, -37};

class ActivationFormatsOf : public ::testing::TestWithParam<std::string> {};

// What a token's activations stand for after rounding; its largest possible code times the scale.
struct Rounded {
  std::vector<double> x;
  double largest = 0;
};
// A run: columns beyond `limit` have codes of 15 bits, whose largest decides the scale only where it must.
void round_run(std::span<const float> x, WideColumns wide, Rounded& result) {
  double top = 0;
  for (const float value : x) top = std::max(top, std::fabs(static_cast<double>(value)));
  double limit = top, mean = top;
  const double times = wide == WideColumns::few ? 8 : 4;
  for (int round = 0; round < 3 && wide != WideColumns::none && wide != WideColumns::all; ++round) {
    double sum = 0;
    for (const float value : x) sum += std::min(std::fabs(static_cast<double>(value)), limit);
    mean = sum / static_cast<double>(x.size());
    if (times * mean >= limit) break;
    limit = times * mean;
  }
  if (wide == WideColumns::some && top < 5.5 * mean) limit = top;
  if (wide == WideColumns::all) limit = 0;
  limit = std::max(limit, top / 128);
  for (const float value : x)
    result.x.push_back(std::nearbyint(static_cast<double>(value) * 127 / limit) * limit / 127);
  result.largest = std::max(result.largest, wide == WideColumns::none ? top : 128 * limit);
}

Rounded rounded(std::span<const float> x, ActivationFormat format) {
  Rounded result;
  if (format.grain == ActivationGrain::run) {
    for (std::size_t start = 0; start < x.size(); start += format.run)
      round_run(x.subspan(start, std::min<std::size_t>(format.run, x.size() - start)), format.wide, result);
    return result;
  }
  double low = 0, high = 0;
  for (const float value : x) {
    low = std::min(low, static_cast<double>(value));
    high = std::max(high, static_cast<double>(value));
  }
  double scale = static_cast<double>(kGrid.scale), zero = format.is_asymmetric ? kGrid.zero : 0;
  if (!format.is_static()) {
    scale = format.is_asymmetric ? (high - low) / 255 : std::max(-low, high) / 127;
    zero = format.is_asymmetric ? std::nearbyint(-128 - low / scale) : 0;
  }
  for (const float value : x)
    result.x.push_back(scale *
                       (std::clamp(std::nearbyint(static_cast<double>(value) / scale) + zero, -128.0, 127.0) - zero));
  result.largest = scale * 255;
  return result;
}

// Numbers of which some are far larger than the rest: a few columns of every token, and a few of each alone.
std::vector<float> numbers_with_outliers(std::size_t tokens, std::size_t cols, std::uint64_t seed) {
  std::vector<float> x = normal_numbers(tokens * cols, seed, 0.7);
  Random random(seed + 1);
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t c = 3; c < cols; c += 97) x[t * cols + c] *= 40;
    if (t % 3 != 0) x[t * cols + random.below(cols)] *= t % 3 == 1 ? 9.0f : -700.0f;  // beyond what wide codes reach
  }
  return x;
}

// The bound of integer_product_test.cpp, plus a step of an activation where f32 and double round a number to different
// sides: a quarter of the columns would be far too many.
TEST_P(ActivationFormatsOf, AgreeWithTheirDefinition) {
  for (const std::size_t cols : {256u, 768u}) {
    const std::size_t rows = 65, tokens = 3;
    const QuantizedTensor tensor = quantize(GetParam(), rows, cols, normal_numbers(rows * cols, cols));
    const auto w = tensor.view().decode();
    const auto form = integer_form(*tensor.format, cols);
    const auto x = numbers_with_outliers(tokens, cols, 5);
    float largest = 0;
    for (const float value : w) largest = std::max(largest, std::fabs(value));
    const bool exact_points = !form->shape.has_table || form->shape.factor == 1.0f || form->shape.factor == 0.5f;
    for (const ActivationFormat format : all_formats()) {
      const auto y = product(tensor.view(), Isa::scalar, format, kGrid, x, tokens, 1);
      for (std::size_t t = 0; t < tokens; ++t) {
        const Rounded exact = rounded(std::span(x).subspan(t * cols, cols), format);
        double norm = 0;
        for (const double value : exact.x) norm += std::fabs(value);
        const double terms = static_cast<double>(cols) / 16 + 8;
        const double bound =
            (norm + exact.largest * static_cast<double>(cols)) * 32 * static_cast<double>(largest) * terms * 0x1p-24 +
            exact.largest / 255 * static_cast<double>(largest) +
            (exact_points ? 0 : (norm + exact.largest) / 127 * static_cast<double>(largest));
        for (std::size_t r = 0; r < rows; ++r) {
          double sum = 0;
          for (std::size_t k = 0; k < cols; ++k) sum += exact.x[k] * static_cast<double>(w[r * cols + k]);
          ASSERT_NEAR(y[t * rows + r], sum, bound)
              << activation_format_name(format) << ", cols " << cols << ", token " << t << ", row " << r;
        }
      }
    }
  }
}

TEST_P(ActivationFormatsOf, SameBitsOnAllSetsForAnyBatchAndThreads) {
  const std::size_t multiple =
      find_format(GetParam())->info().row_multiple;  // short last blocks and runs where the format allows them
  for (const std::size_t cols : {std::size_t{768}, 300 % multiple == 0 ? std::size_t{300}
                                                   : multiple == 256   ? multiple
                                                                       : 3 * multiple}) {
    const std::size_t rows = 70, most = 40;  // more than few: panels may hold other operands
    const QuantizedTensor tensor = quantize(GetParam(), rows, cols, normal_numbers(rows * cols, cols));
    const auto x = numbers_with_outliers(most, cols, 3);
    for (const ActivationFormat format : all_formats()) {
      const auto reference = product(tensor.view(), Isa::scalar, format, kGrid, x, most, 1);
      for (const Isa isa : runnable_sets())
        for (const std::size_t tokens : {1u, 2u, 9u, 40u}) {
          const auto y =
              product(tensor.view(), isa, format, kGrid,
                      {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(tokens * cols)}, tokens, tokens % 3 + 1);
          EXPECT_TRUE(same_bits(y, {reference.begin(), reference.begin() + static_cast<std::ptrdiff_t>(tokens * rows)}))
              << isa_name(isa) << ", " << activation_format_name(format) << ", tokens " << tokens;
        }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ActivationFormatsOf, ::testing::ValuesIn(formats()), [](const auto& param_info) {
  std::string name = param_info.param;
  for (char& c : name)
    if (c == ':') c = '_';
  return name;
});

// Linears that read one input share its codes only where they want the same grid.
TEST(ActivationFormats, LinearsWithOtherGridsGetCodesOfTheirOwn) {
  const std::size_t rows = 64, cols = 256;
  Machine machine(Isa::scalar, 1);
  const QuantizedTensor tensor = quantize("int8:row", rows, cols, normal_numbers(rows * cols, 1));
  const auto x = normal_numbers(cols, 2);
  const ActivationFormat format{ActivationGrain::tensor, true};
  const auto pack = [&](const ActivationGrid& grid) {
    return PackedLinear::pack(tensor.view(), {.activation_format = format, .activation_grid = grid},
                              with_set(machine, runnable_sets().back()));
  };
  const PackedLinear a = pack({0.02f, 3}), b = pack({0.03f, 3}), c = pack({0.02f, 4}), d = pack({0.02f, 3});
  std::vector<float> together(4 * rows), alone(4 * rows);
  const PackedLinear* const all[] = {&a, &b, &c, &d};
  std::vector<LinearProduct> products;
  for (std::size_t i = 0; i < 4; ++i) {
    products.push_back({all[i], &together[i * rows]});
    all[i]->multiply(x.data(), 1, &alone[i * rows], machine);
  }
  multiply_all(products, x.data(), 1, machine);
  EXPECT_TRUE(same_bits(together, alone));
}

// One column a thousand times the rest: with wide columns the rest keeps its 7 bits.
TEST(ActivationFormats, WideColumnsDoNotCoarsenTheRest) {
  const std::size_t rows = 64, cols = 256;
  const QuantizedTensor tensor = quantize("int8:row", rows, cols, normal_numbers(rows * cols, 1));
  const auto w = tensor.view().decode();
  auto x = normal_numbers(cols, 2);
  x[77] = 100;
  const auto error = [&](ActivationFormat format) {
    const auto y = product(tensor.view(), runnable_sets().back(), format, {}, x, 1, 1);
    double sum = 0;
    for (std::size_t r = 0; r < rows; ++r) {
      double exact = 0;
      for (std::size_t k = 0; k < cols; ++k) exact += static_cast<double>(x[k]) * static_cast<double>(w[r * cols + k]);
      sum += (y[r] - exact) * (y[r] - exact);
    }
    return sum;
  };
  // The scale falls from 100 / 127 to about 4 * 0.8 / 127 in one of two runs, and what rounding adds with its square:
  // the other run is left.
  EXPECT_LT(error(kDefaultActivations), error({ActivationGrain::run}) / 100);
  // Then 100 / 16256 in that one.
  EXPECT_LT(error({ActivationGrain::run, false, WideColumns::all, 128}), error(kDefaultActivations) / 4);
}

// A token's result does not depend on the tokens that share its step, though they be wide where it is not.
TEST(ActivationFormats, WideNeighboursChangeNothing) {
  const std::size_t rows = 64, cols = 512;
  for (const char* name : {"q8_0", "q4_k", "q2_k", "iq2_xs", "int4:g128", "trellis2:l8", "trellis3:l12"}) {
    const QuantizedTensor tensor = quantize(name, rows, cols, normal_numbers(rows * cols, 1));
    auto x = normal_numbers(2 * cols, 2);
    for (std::size_t c = 5; c < cols; c += 50) x[cols + c] *= 100;
    for (const Isa isa : runnable_sets()) {
      const auto alone = product(tensor.view(), isa, kDefaultActivations, {},
                                 {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(cols)}, 1, 1);
      auto together = product(tensor.view(), isa, kDefaultActivations, {}, x, 2, 1);
      together.resize(rows);
      EXPECT_TRUE(same_bits(together, alone)) << name << ", " << isa_name(isa);
    }
  }
}

// Alone in its run and so small that the inverse of a wide scale would be infinite: zero, as all that small is.
TEST(ActivationFormats, TheSmallestNumbersAreZeros) {
  const QuantizedTensor tensor = quantize("int4:g128:asym", 64, 256, normal_numbers(64 * 256, 1));
  std::vector<float> x(256, 0.0f);
  x[9] = 2e-35f;
  for (const Isa isa : runnable_sets())
    for (const ActivationFormat format :
         {kDefaultActivations, ActivationFormat{ActivationGrain::run, false, WideColumns::all, 128}})
      for (const float y : product(tensor.view(), isa, format, {}, x, 1, 1)) EXPECT_EQ(y, 0.0f) << isa_name(isa);
}

// Sums of 128 products with wide codes need more than f32's 24 bits: panels of products would round them otherwise than
// groups.
TEST(ActivationFormats, ManyTokensAreMultipliedAsOneIs) {
  const std::size_t rows = 64, cols = 256, tokens = 33;
  std::vector<float> w(rows * cols), x(tokens * cols);
  Random random(4);
  for (float& value : w) value = 3.0f - 0.5f * static_cast<float>(random.below(2));
  for (float& value : x) value = 0.5f + static_cast<float>(random.below(1000)) / 2000;
  const QuantizedTensor tensor = quantize("q2_k", rows, cols, w);
  for (const ActivationFormat format : all_formats())
    for (const Isa isa : runnable_sets()) {
      auto together = product(tensor.view(), isa, format, kGrid, x, tokens, 1);
      together.resize(rows);
      const auto alone =
          product(tensor.view(), isa, format, kGrid, {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(cols)}, 1, 1);
      EXPECT_TRUE(same_bits(together, alone)) << activation_format_name(format) << ", " << isa_name(isa);
    }
}

TEST(ActivationFormats, ZeroActivationsGiveZeros) {
  const QuantizedTensor tensor = quantize("int8:row:asym", 64, 256, normal_numbers(64 * 256, 1));
  for (const Isa isa : runnable_sets())
    for (const ActivationFormat format :
         {ActivationFormat{ActivationGrain::token, false}, ActivationFormat{ActivationGrain::token, true}})
      for (const float y : product(tensor.view(), isa, format, {}, std::vector<float>(256, 0.0f), 1, 1))
        EXPECT_EQ(y, 0.0f) << isa_name(isa);
}

}  // namespace
}  // namespace nibble
