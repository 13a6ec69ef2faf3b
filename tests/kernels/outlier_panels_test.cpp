// SPDX-License-Identifier: Apache-2.0
//
// Products of codes and the outliers beside them: what the definition says, on every set, of any number of tokens.
#include <cmath>
#include <set>

#include "format/encode_tensor.h"
#include "format/outlier_format.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

constexpr std::size_t kCols = 512;

// Rows with as many outliers as a tile has places, some with many, some with none, the first and the last column among
// them.
QuantizedTensor with_outliers(const std::string& weights, std::size_t rows, std::uint64_t seed) {
  const FormatPtr format = find_format(weights + "+outliers:0.5%");
  const auto& own = dynamic_cast<const OutlierFormat&>(*format);
  QuantizedTensor tensor = encode_tensor(format, normal_numbers(rows * kCols, seed), rows, FitRule::absmax);
  Random random(seed);
  for (std::size_t first = 0; first < rows; first += kOutlierRows) {
    const std::size_t count = std::min(kOutlierRows, rows - first);
    std::set<std::pair<std::size_t, std::size_t>> places{{count - 1, 0}, {count - 1, kCols - 1}};
    while (places.size() < own.places(count, kCols))
      places.emplace(random.below(2) == 0 ? 0 : random.below(count), random.below(kCols));
    std::vector<Outlier> outliers;
    for (const auto& [row, col] : places)
      outliers.push_back(
          {static_cast<std::uint16_t>(row), static_cast<std::uint16_t>(col), static_cast<float>(5 * random.normal())});
    own.write(outliers, kCols, tensor.row(first));
  }
  return tensor;
}

// The same codes alone.
QuantizedTensor codes_of(const QuantizedTensor& tensor) {
  QuantizedTensor codes(dynamic_cast<const OutlierFormat&>(*tensor.format).weights(), tensor.rows, tensor.cols);
  for (std::size_t p = 0; p < codes.planes.size(); ++p) codes.planes[p] = tensor.planes[p];
  return codes;
}

// What the outliers add: products that are rounded and summed along a row, from +0.
std::vector<float> added(const QuantizedTensor& tensor, const std::vector<float>& x) {
  const auto& format = dynamic_cast<const OutlierFormat&>(*tensor.format);
  const OutlierLayout layout = format.layout(tensor.cols);
  const QuantizedView view = tensor.view();
  const std::size_t rows = tensor.rows, tokens = x.size() / kCols;
  std::vector<float> y(tokens * rows);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::byte* const tile = format.tile(view.row(row));
    for (std::size_t i = layout.begin(tile, row % kOutlierRows); i < layout.end(tile, row % kOutlierRows); ++i)
      for (std::size_t t = 0; t < tokens; ++t)
        y[t * rows + row] += layout.addend(tile, i) * x[t * kCols + layout.column(tile, i)];
  }
  return y;
}

class OutlierPanels : public testing::TestWithParam<const char*> {};

TEST_P(OutlierPanels, AddToTheProductsOfTheCodes) {
  for (const std::size_t rows : {64, 66, 200}) {
    const QuantizedTensor tensor = with_outliers(GetParam(), rows, 11), codes = codes_of(tensor);
    for (const std::size_t tokens : {1, 2, 16, 37}) {
      const std::vector<float> x = normal_numbers(tokens * kCols, 12), sparse = added(tensor, x);
      for (const Isa isa : runnable_sets()) {
        Machine machine(isa, 3);
        const PackedLinear packed = PackedLinear::pack(tensor.view(), {}, machine),
                           dense = PackedLinear::pack(codes.view(), {}, machine);
        const GuardedBuffer<float> in(x), out(tokens * rows);
        packed.multiply(in.data(), tokens, out.data(), machine);
        std::vector<float> expected(tokens * rows);
        dense.multiply(x.data(), tokens, expected.data(), machine);
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += sparse[i];
        EXPECT_TRUE(same_bits(out.copy(), expected)) << rows << " rows, " << tokens << " tokens, " << isa_name(isa);
        EXPECT_NE(packed.kernel_name().find("and outliers"), std::string::npos) << packed.kernel_name();
      }
    }
  }
}

TEST_P(OutlierPanels, AreResidentInTheirOwnBytesAndDecoded) {
  const QuantizedTensor tensor = with_outliers(GetParam(), 256, 13);
  Machine machine(runnable_sets().back(), 1);
  const PackedLinear packed = PackedLinear::pack(tensor.view(), {}, machine);
  EXPECT_LE(static_cast<double>(packed.resident_bytes()), 1.03 * static_cast<double>(tensor.view().bytes()));
  const std::vector<float> expected = tensor.view().decode();
  std::vector<float> row(kCols);
  for (const std::size_t r : {0, 1, 63, 64, 255}) {
    packed.decode_row(r, row.data());
    EXPECT_TRUE(std::equal(row.begin(), row.end(), expected.begin() + static_cast<std::ptrdiff_t>(r * kCols))) << r;
  }
}

// More than kernels take at once: of rounds, in which more than eight rows take part, and of the others behind them.
TEST(OutlierPanelsOfMany, AddBatchByBatch) {
  constexpr std::size_t kFull = 4, kOfFull = 330, kSome = 16, kRounds = 20;
  static_assert(kSome > 8 && kRounds > 16 && kFull * (kOfFull - kRounds) > 1024);
  const std::size_t rows = kOutlierRows;
  const FormatPtr format = find_format("int4:g128+outliers:5%");
  QuantizedTensor tensor = encode_tensor(format, normal_numbers(rows * kCols, 41), rows, FitRule::absmax);
  Random random(41);
  std::vector<Outlier> outliers;
  for (std::size_t row = 0; row < kSome; ++row)
    for (std::size_t i = 0; i < (row < kFull ? kOfFull : kRounds); ++i)
      outliers.push_back({static_cast<std::uint16_t>(row), static_cast<std::uint16_t>(row + i),
                          static_cast<float>(5 * random.normal())});
  dynamic_cast<const OutlierFormat&>(*format).write(outliers, kCols, tensor.row(0));
  const QuantizedTensor codes = codes_of(tensor);
  for (const std::size_t tokens : {1, 2, 17}) {
    const std::vector<float> x = normal_numbers(tokens * kCols, 42), sparse = added(tensor, x);
    for (const Isa isa : runnable_sets()) {
      Machine machine(isa, 1);
      const PackedLinear packed = PackedLinear::pack(tensor.view(), {}, machine),
                         dense = PackedLinear::pack(codes.view(), {}, machine);
      std::vector<float> made(tokens * rows), expected(tokens * rows);
      packed.multiply(x.data(), tokens, made.data(), machine);
      dense.multiply(x.data(), tokens, expected.data(), machine);
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += sparse[i];
      EXPECT_TRUE(same_bits(made, expected)) << tokens << " tokens, " << isa_name(isa);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, OutlierPanels,
                         testing::Values("int3:g128", "int2:g64:half", "int4:g32:asym", "ternary:row", "nf4:g64",
                                         "fp8:row"));

// Products that read the same inputs, some with outliers and some without, and in f32 from whole rows.
TEST(OutlierPanelsTogether, ShareInputsWithOthers) {
  const std::size_t rows = 130, tokens = 5;
  const QuantizedTensor a = with_outliers("int4:g128", rows, 21), b = with_outliers("int3:g128", rows, 22),
                        c = codes_of(a);
  const std::vector<float> x = normal_numbers(tokens * kCols, 23);
  for (const ActivationMode mode : {ActivationMode::automatic, ActivationMode::f32})
    for (const std::size_t count : {std::size_t{1}, tokens}) {
      Machine machine(runnable_sets().back(), 2);
      std::vector<PackedLinear> packed;
      std::vector<std::vector<float>> alone(3, std::vector<float>(count * rows)), together = alone;
      std::vector<LinearProduct> products;
      for (const QuantizedTensor* const tensor : {&a, &b, &c})
        packed.push_back(PackedLinear::pack(tensor->view(), {mode}, machine));
      for (std::size_t i = 0; i < 3; ++i) {
        packed[i].multiply(x.data(), count, alone[i].data(), machine);
        products.push_back({&packed[i], together[i].data()});
      }
      multiply_all(products, x.data(), count, machine);
      for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(together[i], alone[i])) << i;
    }
}

// What is prepared for outliers of several tokens lies where no other weights' own begins, rotated or not.
TEST(OutlierPanelsTogether, ShareRotatedInputsWithOthers) {
  const std::size_t rows = 130, tokens = 37;
  auto parts = std::make_shared<TensorParts>();
  parts->input_transform.size = 512;
  for (const std::string format : {"fp8:g128", "int4:g128"}) {
    QuantizedTensor a = with_outliers(format, rows, 31), b = with_outliers(format, rows, 32);
    QuantizedTensor c = codes_of(a);
    a.parts = b.parts = c.parts = parts;
    const QuantizedTensor plain = codes_of(b), beside = with_outliers(format, rows, 33);
    const std::vector<const QuantizedTensor*> all = {&c, &a, &plain, &beside, &b};
    const std::vector<float> x = normal_numbers(tokens * kCols, 34);
    for (const std::size_t count : {std::size_t{1}, tokens}) {
      Machine machine(runnable_sets().back(), 3);
      std::vector<PackedLinear> packed;
      std::vector<std::vector<float>> alone(all.size(), std::vector<float>(count * rows)), together = alone;
      std::vector<LinearProduct> products;
      for (const QuantizedTensor* const tensor : all) packed.push_back(PackedLinear::pack(tensor->view(), {}, machine));
      for (std::size_t i = 0; i < all.size(); ++i) {
        packed[i].multiply(x.data(), count, alone[i].data(), machine);
        products.push_back({&packed[i], together[i].data()});
      }
      multiply_all(products, x.data(), count, machine);
      for (std::size_t i = 0; i < all.size(); ++i)
        EXPECT_TRUE(same_bits(together[i], alone[i])) << format << ", " << i << " of " << count << " tokens";
    }
  }
}

}  // namespace
}  // namespace nibble
