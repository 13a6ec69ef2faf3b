// SPDX-License-Identifier: Apache-2.0
//
// Integer products of every format that has one, against a plain evaluation of their definition in double precision,
// and among sets.
#include <cmath>
#include <set>

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
  const Format& format = *tensor.format;
  FitOptions options;
  options.rule = FitRule::absmax;  // the quickest; products do not care how well weights are fitted
  const auto grid = format.prepare(values, rows, cols, {}, options);
  if (grid) format.pack_tensor(grid.get(), tensor.row(0));
  for (std::uint64_t r = 0; r < rows; ++r)
    format.encode_row(std::span(values).subspan(static_cast<std::size_t>(r * cols), static_cast<std::size_t>(cols)), {},
                      grid.get(), r, options, tensor.row(r));
  ConstRowPlanes planes{};
  for (std::size_t i = 0; i < tensor.planes.size(); ++i) planes[i] = tensor.planes[i].data();
  tensor.tensor_grid = format.unpack_tensor(planes, rows, cols);
  return tensor;
}

std::vector<std::string> integer_formats() {
  // Biases of other types, and of whole rows, and all trellises, besides those of the list.
  std::vector<std::string> names = {"int4:g32:bias:f32", "int8:row:bias", "int3:row:bias:bf16", "int1:g64:bias"};
  for (const char bits : {'1', '2', '3', '4', '5', '6'})
    for (const char* const states : {":l8", ":l12", ":l16"}) names.push_back(std::string("trellis") + bits + states);
  for (const FormatPtr& format : list_formats())
    if (integer_form(*format, 256) && trellis_shape(*format) == nullptr) names.push_back(format->name());
  return names;
}

// Row lengths: whole blocks, short last blocks, short last groups where the format allows them.
std::vector<std::uint64_t> row_lengths(const std::string& name) {
  const std::size_t multiple = find_format(name)->info().row_multiple;
  if (multiple == 1) return {1, 31, 64, 100, 172, 256, 300, 517, 768};
  if (multiple == kTrellisCols) return {4, 128, 256, 292, 300, 896};
  return multiple == 256 ? std::vector<std::uint64_t>{256, 768}
                         : std::vector<std::uint64_t>{multiple, 128, 256, 896 / multiple * multiple};
}

struct Outcome {
  std::vector<float> y;
  std::string kernel;
};

Outcome product(const QuantizedView& view, Isa isa, const std::vector<float>& x, std::size_t tokens,
                std::size_t threads) {
  Machine machine(isa, threads);
  const PackedLinear packed = PackedLinear::pack(
      view, {.activation_format = {.grain = ActivationGrain::run, .wide = WideColumns::none}}, machine);
  const GuardedBuffer<float> in(x), out(tokens * static_cast<std::size_t>(view.rows));
  packed.multiply(in.data(), tokens, out.data(), machine);
  return {out.copy(), packed.kernel_name()};
}

// Activations as the definition has them: int8 with a scale of amax / 127 for every 128 columns of a token. (None of
// these is wide: activation_format_test.cpp.)
std::vector<double> rounded_activations(const std::vector<float>& x, std::size_t cols) {
  std::vector<double> out(x.size());
  for (std::size_t start = 0; start < x.size();) {
    const std::size_t in_row = start % cols, n = std::min<std::size_t>(128, cols - in_row);
    float top = 0;
    for (std::size_t i = 0; i < n; ++i) top = std::max(top, std::fabs(x[start + i]));
    for (std::size_t i = 0; i < n; ++i)
      out[start + i] = top == 0 ? 0 : std::nearbyint(x[start + i] * (127.0f / top)) * static_cast<double>(top / 127.0f);
    start += n;
  }
  return out;
}

// Every quantized format is multiplied in integers but for these, whose points are floating-point numbers of more than
// four bits or were learned. A format that loses its integer form would otherwise lose its tests with it.
const std::set<std::string> kMultipliedInF32 = {
    "fp8:block128x128", "fp8:row",           "fp8_e5m2:row", "fp8:g32:e8m0", "fp8_e5m2:g32:e8m0",
    "fp6:g32:e8m0",     "fp6_e3m2:g32:e8m0", "table4:row",   "table3:row",   "table2:g256"};

TEST(IntegerForms, AreThoseOfAllFormatsButTheNamed) {
  std::set<std::string> without;
  for (const FormatPtr& format : list_formats())
    if (format->info().kind != FormatKind::raw && !integer_form(*format, 256)) without.insert(format->name());
  EXPECT_EQ(without, kMultipliedInF32);
}

class IntegerFormats : public ::testing::TestWithParam<std::string> {};

// The kernel's arithmetic is exact but for the f32 roundings of scales (1), of each group (2 and, with offsets, 2 more)
// and of each run of 128 columns: relative to the sum of |x| (|scale u| + |offset|) at most (number of groups + 6) *
// 2^-24. Tables that are not integers move every weight by up to half a step of the largest point / 127.
TEST_P(IntegerFormats, AgreesWithItsDefinition) {
  for (std::uint64_t cols : row_lengths(GetParam())) {
    const std::size_t rows = 67, tokens = 3, width = static_cast<std::size_t>(cols);
    const QuantizedTensor tensor = quantize(GetParam(), rows, cols, normal_numbers(rows * width, cols));
    const auto w = tensor.view().decode();
    const auto x = normal_numbers(tokens * width, cols + 1);
    const auto exact_x = rounded_activations(x, width);
    const Outcome run = product(tensor.view(), Isa::scalar, x, tokens, 1);
    ASSERT_NE(run.kernel.find("int8"), std::string::npos) << run.kernel;
    const auto form = integer_form(*tensor.format, cols);
    for (std::size_t r = 0; r < rows; ++r) {
      float largest = 0;
      for (std::size_t k = 0; k < width; ++k) largest = std::max(largest, std::fabs(w[r * width + k]));
      const bool exact_points = !form->shape.has_table || form->shape.factor == 1.0f || form->shape.factor == 0.5f;
      const double moved =
          exact_points
              ? 0
              : 0.5 / 127 * 2 * static_cast<double>(largest);  // the group's scale is at most twice its largest value
      for (std::size_t t = 0; t < tokens; ++t) {
        double sum = 0, magnitude = 0, norm = 0;
        for (std::size_t k = 0; k < width; ++k) {
          const double xk = exact_x[t * width + k];
          sum += xk * static_cast<double>(w[r * width + k]);
          magnitude += std::fabs(xk) * 2 * 16 *
                       static_cast<double>(largest);  // offsets and codes are at most 16 times their difference
          norm += std::fabs(xk);
        }
        const double bound = magnitude * (static_cast<double>(width) / 16 + 6) * 0x1p-24 + norm * moved;
        ASSERT_NEAR(run.y[t * rows + r], sum, bound) << "cols " << cols << ", token " << t << ", row " << r;
      }
    }
  }
}

TEST_P(IntegerFormats, SameBitsOnAllSetsForAnyBatchAndThreads) {
  for (std::uint64_t cols : row_lengths(GetParam())) {
    const std::size_t rows = 130, most = 33,
                      width = static_cast<std::size_t>(cols);  // more than few: panels may hold other operands
    const QuantizedTensor tensor = quantize(GetParam(), rows, cols, normal_numbers(rows * width, cols));
    const auto x = normal_numbers(most * width, 3);
    const auto reference = product(tensor.view(), Isa::scalar, x, most, 1).y;
    for (Isa isa : runnable_sets())
      for (std::size_t tokens : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 13u, 14u, 33u}) {
        const auto y = product(tensor.view(), isa, {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(tokens * width)},
                               tokens, tokens % 3 + 1)
                           .y;
        EXPECT_TRUE(same_bits(y, {reference.begin(), reference.begin() + static_cast<std::ptrdiff_t>(tokens * rows)}))
            << isa_name(isa) << ", cols " << cols << ", tokens " << tokens;
      }
  }
}

TEST_P(IntegerFormats, DecodesRowsAsTheFormatDoes) {
  for (std::uint64_t cols : row_lengths(GetParam())) {
    const std::size_t rows = 65, width = static_cast<std::size_t>(cols);
    const QuantizedTensor tensor = quantize(GetParam(), rows, cols, normal_numbers(rows * width, cols, 0.02));
    for (Isa isa : runnable_sets()) {
      Machine machine(isa, 1);
      const PackedLinear packed = PackedLinear::pack(tensor.view(), {ActivationMode::automatic}, machine);
      std::vector<float> row(width), expected(width);
      for (std::uint64_t r = 0; r < rows; ++r) {
        packed.decode_row(r, row.data());
        tensor.view().decode_row(r, expected);
        ASSERT_TRUE(same_bits(row, expected)) << isa_name(isa) << ", cols " << cols << ", row " << r;
      }
    }
  }
}

// However its products are formed. The one exception: decoding base 3 would take more time than it saves to read.
TEST(ResidentBytes, AreWithin3PercentOfTheFileForEveryFormat) {
  Machine machine(Isa::scalar, 1);
  for (const FormatPtr& format : list_formats()) {
    const QuantizedTensor tensor = quantize(format->name(), 64, 2048, normal_numbers(64 * 2048, 1));
    const PackedLinear packed =
        PackedLinear::pack(tensor.view(), {ActivationMode::automatic}, with_set(machine, Isa::scalar));
    const double ratio = static_cast<double>(packed.resident_bytes()) / static_cast<double>(tensor.view().bytes());
    // Scales that rows share are kept for every row; rows of trellises share codes alone.
    const bool has_shared_scales = format->info().row_unit > 1 && trellis_shape(*format) == nullptr;
    const double most = format->name() == "tq1_0" ? 1.23 : has_shared_scales ? 1.08 : 1.03;
    EXPECT_LE(ratio, most) << packed.kernel_name();
  }
}

// Codes at both ends, activations at both ends: what overflows 16-bit sums would show here.
TEST_P(IntegerFormats, SurvivesLargestMagnitudes) {
  const std::size_t rows = 64, cols = 512;
  std::vector<float> w(rows * cols), x(2 * cols);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = i / cols % 2 == 0 ? 1.0f : -1.0f;
  w[cols] = 1.0f;  // row 1 has both signs, so that asymmetric grids are wide
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = i < cols ? 1.0f : -1.0f;
  const FormatPtr format = find_format(GetParam());
  const QuantizedTensor tensor =
      trellis_shape(*format) != nullptr ? extreme_tiles(format, rows, cols) : quantize(GetParam(), rows, cols, w);
  const auto stored = tensor.view().decode();
  const auto reference = product(tensor.view(), Isa::scalar, x, 2, 1).y;
  for (std::size_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (std::size_t k = 0; k < cols; ++k) sum += static_cast<double>(stored[r * cols + k]);
    EXPECT_NEAR(reference[r], sum, std::fabs(sum) * 1e-2 + 1e-3)
        << r;  // tables that are not integers may be off by half of 1 / 127
  }
  for (Isa isa : runnable_sets())
    EXPECT_TRUE(same_bits(product(tensor.view(), isa, x, 2, 1).y, reference)) << isa_name(isa);
}

TEST_P(IntegerFormats, ZeroActivationsGiveZeros) {
  const QuantizedTensor tensor = quantize(GetParam(), 64, 256, normal_numbers(64 * 256, 1));
  for (Isa isa : runnable_sets())
    for (float y : product(tensor.view(), isa, std::vector<float>(256, 0.0f), 1, 1).y)
      EXPECT_EQ(y, 0.0f) << isa_name(isa);
}

INSTANTIATE_TEST_SUITE_P(All, IntegerFormats, ::testing::ValuesIn(integer_formats()), [](const auto& param_info) {
  std::string name = param_info.param;
  for (char& c : name)
    if (c == ':') c = '_';
  return name;
});

}  // namespace
}  // namespace nibble
