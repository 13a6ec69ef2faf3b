// SPDX-License-Identifier: Apache-2.0
//
// Every format, multiplied in f32 from its own rows.
#include <array>
#include <cmath>

#include "format/encode_tensor.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/linear.h"
#include "nibble/error.h"

namespace nibble {
namespace {

TEST(DecodedRows, EveryFormatGivesTheProductOfItsDecodedRows) {
  for (const FormatPtr& format : list_formats()) {
    if (format->info().kind == FormatKind::raw) continue;
    const std::size_t rows = 66, cols = 512, tokens = 3;
    const QuantizedTensor tensor = encode_tensor(format, normal_numbers(rows * cols, 11), rows, FitRule::absmax);
    const auto w = tensor.view().decode();
    const auto x = normal_numbers(tokens * cols, 12);
    std::vector<float> reference;
    for (Isa isa : runnable_sets()) {
      Machine machine(isa, 2);
      const PackedLinear packed = PackedLinear::pack(tensor.view(), {ActivationMode::f32}, machine);
      EXPECT_EQ(packed.resident_bytes(), tensor.view().bytes());
      const GuardedBuffer<float> in(x), out(tokens * rows);
      packed.multiply(in.data(), tokens, out.data(), machine);
      if (isa == Isa::scalar) reference = out.copy();
      EXPECT_TRUE(same_bits(out.copy(), reference)) << format->name() << ' ' << isa_name(isa);
    }
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t r = 0; r < rows; ++r) {
        float sum = 0;  // the definition itself
        for (std::size_t k = 0; k < cols; ++k) sum = std::fma(x[t * cols + k], w[r * cols + k], sum);
        ASSERT_EQ(reference[t * rows + r], sum) << format->name() << ", token " << t << ", row " << r;
      }
  }
}

// Weights of which two of four are zeros give the products of the same numbers with codes for zeros.
TEST(DecodedRows, SparseWeightsAreMultipliedDense) {
  const std::size_t rows = 66, cols = 512, tokens = 3;
  const auto x = normal_numbers(tokens * cols, 16);
  for (const char* name :
       {"int4:g64+sparse:2:4", "f16+sparse:2:4", "int2:g64:half+sparse:2:4", "int4:g64+sparse:50%"}) {
    const FormatPtr format = find_format(name);
    const QuantizedTensor tensor = encode_tensor(format, normal_numbers(rows * cols, 15), rows, FitRule::absmax);
    const auto w = tensor.view().decode();
    for (const Isa isa : runnable_sets()) {
      Machine machine(isa, 2);
      const PackedLinear packed = PackedLinear::pack(tensor.view(), {ActivationMode::f32}, machine);
      std::vector<float> y(tokens * rows);
      packed.multiply(x.data(), tokens, y.data(), machine);
      for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t r = 0; r < rows; ++r) {
          float sum = 0;
          for (std::size_t k = 0; k < cols; ++k) sum = std::fma(x[t * cols + k], w[r * cols + k], sum);
          ASSERT_EQ(y[t * rows + r], sum) << name << ", token " << t << ", row " << r;
        }
    }
  }
}

// Parts are applied row by row; what mixes rows is refused by name.
TEST(DecodedRows, TensorsWithPartsGiveTheProductOfTheirDecodedRows) {
  const std::size_t rows = 66, cols = 512, tokens = 2;
  const auto values = normal_numbers(rows * cols, 13);
  for (const char* name : {"int4:g128", "q4_0"}) {
    const FormatPtr format = find_format(name);
    QuantizedTensor tensor(format, rows, cols);
    for (std::size_t r = 0; r < rows; ++r)
      format->encode_row(std::span(values).subspan(r * cols, cols), {}, nullptr, r, {}, tensor.row(r));
    TensorParts parts;
    for (std::uint32_t c = 0; c < cols; ++c) parts.input_order.push_back(c * 5 % cols);
    parts.outliers.row_ends.assign(rows, 1);
    parts.outliers.columns = {17};
    parts.outliers.values = {50};
    parts.tensor_scale = 1.5f;
    tensor.parts = std::make_shared<TensorParts>(parts);
    const auto w = tensor.view().decode();
    const auto x = normal_numbers(tokens * cols, 14);
    for (const ActivationMode mode : {ActivationMode::automatic, ActivationMode::f32}) {
      Machine machine(runnable_sets().back(), 2);
      const PackedLinear packed = PackedLinear::pack(tensor.view(), {mode}, machine);
      std::vector<float> y(tokens * rows), row(cols);
      packed.multiply(x.data(), tokens, y.data(), machine);
      for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t r = 0; r < rows; ++r) {
          float sum = 0;
          for (std::size_t k = 0; k < cols; ++k) sum = std::fma(x[t * cols + k], w[r * cols + k], sum);
          ASSERT_EQ(y[t * rows + r], sum) << name << ", token " << t << ", row " << r;
        }
      packed.decode_row(3, row.data());
      EXPECT_TRUE(std::equal(row.begin(), row.end(), w.begin() + 3 * cols));
    }
    parts.output_transform = {2, {}};
    tensor.parts = std::make_shared<TensorParts>(parts);
    Machine machine(runnable_sets().back(), 1);
    try {
      PackedLinear::pack(tensor.view(), {}, machine);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()), std::string("a tensor in ") + name +
                                               " has what a product that decodes row by row cannot have: output "
                                               "transform");
    }
  }
}

// A scale of the whole tensor takes no format out of its integer form.
TEST(DecodedRows, ATensorScaleIsMultipliedBehindTheProduct) {
  const std::size_t rows = 130, cols = 256, tokens = 5;
  const auto values = normal_numbers(rows * cols, 15), x = normal_numbers(tokens * cols, 16);
  const FormatPtr format = find_format("nvfp4");
  QuantizedTensor tensor(format, rows, cols);
  for (std::size_t r = 0; r < rows; ++r)
    format->encode_row(std::span(values).subspan(r * cols, cols), {}, nullptr, r, {}, tensor.row(r));
  for (const Isa isa : runnable_sets()) {
    Machine machine(isa, 2);
    tensor.parts = nullptr;
    const PackedLinear plain = PackedLinear::pack(tensor.view(), {}, machine);
    TensorParts parts;
    parts.tensor_scale = 0.3f;
    tensor.parts = std::make_shared<TensorParts>(parts);
    const PackedLinear scaled = PackedLinear::pack(tensor.view(), {}, machine);
    EXPECT_EQ(scaled.kernel_name(), plain.kernel_name() + " and a tensor scale");
    EXPECT_EQ(scaled.arithmetic(), Arithmetic::int8);
    EXPECT_EQ(scaled.resident_bytes(), plain.resident_bytes() + 4);
    std::vector<float> y(tokens * rows), expected(tokens * rows), row(cols);
    plain.multiply(x.data(), tokens, expected.data(), machine);
    for (float& value : expected) value *= 0.3f;
    scaled.multiply(x.data(), tokens, y.data(), machine);
    EXPECT_EQ(y, expected);
    scaled.decode_row(129, row.data());
    const std::vector<float> decoded = tensor.view().decode();
    EXPECT_TRUE(std::equal(row.begin(), row.end(), decoded.begin() + 129 * cols));
  }
}

// An input order takes no format out of its integer form either: inputs are put into it, alone and beside a tensor
// scale. Products that share inputs share what is made of them only where their orders are equal.
TEST(DecodedRows, AnInputOrderIsThatOfTheInputs) {
  const std::size_t rows = 130, cols = 512, most = 37;
  const auto values = normal_numbers(rows * cols, 17), x = normal_numbers(most * cols, 18);
  for (const char* const name : {"int4:g128", "int4:g32:asym", "q8_0", "trellis2:l8"}) {
    QuantizedTensor tensor = encode_tensor(find_format(name), values, rows);
    TensorParts parts, others;
    for (std::uint32_t c = 0; c < cols; ++c) {
      parts.input_order.push_back(c * 5 % cols);
      others.input_order.push_back(c * 7 % cols);
    }
    others.tensor_scale = 0.3f;
    std::vector<float> reference;
    for (const Isa isa : runnable_sets()) {
      Machine machine(isa, 2);
      const auto pack = [&](const TensorParts* with) {
        QuantizedTensor whole = tensor;
        if (with != nullptr) whole.parts = std::make_shared<TensorParts>(*with);
        return PackedLinear::pack(whole.view(), {}, machine);
      };
      const PackedLinear plain = pack(nullptr), ordered = pack(&parts), twin = pack(&parts), other = pack(&others);
      EXPECT_EQ(ordered.kernel_name(), plain.kernel_name() + " and an input order");
      EXPECT_EQ(other.kernel_name(), plain.kernel_name() + " and a tensor scale and an input order");
      EXPECT_EQ(ordered.arithmetic(), Arithmetic::int8);
      EXPECT_EQ(ordered.resident_bytes(), plain.resident_bytes() + cols * 4);
      std::vector<float> once;
      for (const std::size_t tokens : {most, std::size_t{1}}) {
        const auto expected = [&](const TensorParts& order, float scale) {
          std::vector<float> moved(tokens * cols), y(tokens * rows);
          for (std::size_t t = 0; t < tokens; ++t)
            for (std::size_t c = 0; c < cols; ++c) moved[t * cols + c] = x[t * cols + order.input_order[c]];
          plain.multiply(moved.data(), tokens, y.data(), machine);
          for (float& value : y) value *= scale;
          return y;
        };
        std::vector<float> a(tokens * rows), b(tokens * rows), c(tokens * rows), d(tokens * rows);
        const std::array<LinearProduct, 4> products = {
            {{&ordered, a.data()}, {&other, b.data()}, {&twin, c.data()}, {&plain, d.data()}}};
        multiply_all(products, x.data(), tokens, machine);
        EXPECT_EQ(a, expected(parts, 1)) << name;
        EXPECT_EQ(b, expected(others, 0.3f)) << name;
        EXPECT_EQ(c, a) << name;
        plain.multiply(x.data(), tokens, b.data(), machine);
        EXPECT_EQ(d, b) << name;
        if (tokens == most) once = a;
      }
      if (reference.empty()) reference = once;
      EXPECT_TRUE(same_bits(once, reference)) << name << ' ' << isa_name(isa);
      tensor.parts = std::make_shared<TensorParts>(parts);
      const std::vector<float> decoded = tensor.view().decode();
      tensor.parts = nullptr;
      std::vector<float> row(cols);
      ordered.decode_row(129, row.data());
      EXPECT_TRUE(std::equal(row.begin(), row.end(), decoded.begin() + 129 * cols));
      // The product is that of the decoded matrix but for the rounding of inputs, of at most 1/254 of the largest of
      // 128 each.
      for (std::size_t r = 0; r < rows; ++r) {
        double sum = 0, weights = 0, largest = 0;
        for (std::size_t c = 0; c < cols; ++c) {
          sum += static_cast<double>(decoded[r * cols + c]) * static_cast<double>(x[c]);
          weights += std::fabs(static_cast<double>(decoded[r * cols + c]));
          largest = std::max(largest, std::fabs(static_cast<double>(x[c])));
        }
        EXPECT_NEAR(static_cast<double>(once[r]), sum, weights * largest / 254 * 1.001);
      }
    }
  }
}

}  // namespace
}  // namespace nibble
