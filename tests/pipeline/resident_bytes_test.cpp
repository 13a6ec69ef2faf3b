// SPDX-License-Identifier: Apache-2.0
//
// What layers that another program has quantized take in memory: no more than 1.03 times their codes and scales as that
// program lays them out.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "io/packing/awq.h"
#include "io/packing/compressed_tensors.h"
#include "io/packing/fp8.h"
#include "io/packing/gptq.h"
#include "io/packing/int8_rows.h"
#include "io/packing/mlx.h"
#include "kernels/chosen_isa.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

constexpr std::uint64_t kRows = 256, kCols = 2048;

QuantizedTensor quantize(const std::string& name, bool is_ordered = false) {
  const FormatPtr format = find_format(name);
  Random random(7);
  std::vector<float> values(kRows * kCols);
  for (float& value : values) value = static_cast<float>(0.05 * random.normal());
  QuantizedTensor tensor(format, kRows, kCols);
  tensor.tensor_grid = format->prepare(values, kRows, kCols, {}, {});
  if (tensor.tensor_grid) format->pack_tensor(tensor.tensor_grid.get(), tensor.row(0));
  for (std::uint64_t row = 0; row < kRows; ++row)
    format->encode_row(std::span(values).subspan(row * kCols, kCols), {}, tensor.tensor_grid.get(), row, {},
                       tensor.row(row));
  if (!is_ordered) return tensor;
  TensorParts parts;
  for (std::uint32_t c = 0; c < kCols; ++c) parts.input_order.push_back(c % 128 * 16 + c / 128);
  tensor.parts = std::make_shared<TensorParts>(parts);
  return tensor;
}

// As another program stores it. bytes: of codes, scales and what else is needed to decode them.
struct Stored {
  std::uint64_t bytes = 0;
  TensorSource source;
};
using Use = std::function<void(const Stored&)>;

std::uint64_t bytes_of(std::initializer_list<const Tensor*> tensors) {
  std::uint64_t bytes = 0;
  for (const Tensor* const tensor : tensors) bytes += tensor->bytes.size();
  return bytes;
}

void as_gptq(const QuantizedTensor& tensor, unsigned bits, std::uint32_t group, const Use& use) {
  const GptqPacked p = pack_gptq(tensor.view(), GptqZeros::as_they_are, "layer");
  const GptqLayout layout{.bits = bits, .group = group, .zeros = GptqZeros::as_they_are};
  // Where inputs are in order, what says so is needed by nobody.
  use({bytes_of({&p.qweight, &p.qzeros, &p.scales}) + (tensor.parts ? p.g_idx.bytes.size() : 0),
       read_gptq(layout, {p.qweight.view(), p.qzeros.view(), p.scales.view(), p.g_idx.view()}, "layer")});
}

void as_awq(const QuantizedTensor& tensor, std::uint32_t group, const Use& use) {
  const AwqPacked p = pack_awq(tensor.view(), "layer");
  use({bytes_of({&p.qweight, &p.qzeros, &p.scales}),
       read_awq({.group = group}, {p.qweight.view(), p.qzeros.view(), p.scales.view()}, "layer")});
}

void as_mlx(const QuantizedTensor& tensor, unsigned bits, std::uint32_t group, const Use& use) {
  const MlxPacked p = pack_mlx(tensor.view(), "layer");
  use({bytes_of({&p.weight, &p.scales, &p.biases}),
       read_mlx({bits, group}, {p.weight.view(), p.scales.view(), p.biases.view()}, "layer")});
}

void as_pack_quantized(const QuantizedTensor& tensor, unsigned bits, std::uint32_t group, const Use& use) {
  const PackQuantizedPacked p = pack_pack_quantized(tensor.view(), "layer");
  PackQuantizedTensors views{p.weight_packed.view(), p.weight_scale.view(), p.weight_shape.view()};
  std::uint64_t bytes = bytes_of({&p.weight_packed, &p.weight_scale});
  if (p.weight_zero_point) {
    views.weight_zero_point = p.weight_zero_point->view();
    bytes += p.weight_zero_point->bytes.size();
  }
  if (p.weight_g_idx) {
    views.weight_g_idx = p.weight_g_idx->view();
    bytes += p.weight_g_idx->bytes.size();
  }
  use({bytes, read_pack_quantized({bits, group}, views, "layer")});
}

void as_fp8(const QuantizedTensor& tensor, const Fp8Layout& layout, const Use& use) {
  const Fp8Packed p = pack_fp8(tensor.view(), "layer");
  use({bytes_of({&p.weight, &p.scales}), read_fp8(layout, {p.weight.view(), p.scales.view()}, "layer")});
}

// Codes less 128, and a scale for each row, or one for all.
void as_int8(bool is_of_rows, const Use& use) {
  const std::vector<float> values(is_of_rows ? kRows : 1, 0.01f);
  const Tensor weight{DType::i8, {kRows, kCols}, std::vector<std::byte>(kRows * kCols, std::byte{5})};
  Tensor scales{DType::f32, {values.size(), 1}, std::vector<std::byte>(values.size() * sizeof(float))};
  std::memcpy(scales.bytes.data(), values.data(), scales.bytes.size());
  use({bytes_of({&weight, &scales}), read_int8({}, {weight.view(), scales.view()}, "layer")});
}

TEST(ResidentBytes, OfOtherProgramsCodesAreWithin3PercentOfTheirs) {
  std::map<std::string, double> ratios;
  const auto measure = [&](const std::string& what, const std::string& format) {
    return [&, what, format](const Stored& stored) {
      ASSERT_EQ(stored.source.format()->name(), format) << what;
      Machine machine(chosen_isa(), 2);
      QuantizedTensor room;
      const QuantizedView view = stored.source.read_rows(0, kRows, room).planes;
      for (const ActivationMode mode : {ActivationMode::automatic, ActivationMode::f32}) {
        const PackedLinear packed = PackedLinear::pack(view, {mode}, machine);
        const double ratio = static_cast<double>(packed.resident_bytes()) / static_cast<double>(stored.bytes);
        // Scales that rows share are kept for every row: 4 bytes beside 128 codes.
        EXPECT_LE(ratio, format == "fp8:block128x128" ? 1.0313 : 1.03) << what << ' ' << packed.kernel_name();
        ratios[what] = std::max(ratios[what], ratio);
      }
    };
  };
  as_gptq(quantize("int4:g128"), 4, 128, measure("gptq", "int4:g128"));
  as_gptq(quantize("int4:g32:asym"), 4, 32, measure("gptq, zero points", "int4:g32:asym"));
  as_gptq(quantize("int8:row:f16"), 8, 0, measure("gptq, 8 bits, rows", "int8:row:f16"));
  as_gptq(quantize("int3:g128"), 3, 128, measure("gptq, 3 bits", "int3:g128"));
  as_gptq(quantize("int2:g128:asym"), 2, 128, measure("gptq, 2 bits", "int2:g128:asym"));
  as_gptq(quantize("int4:g128", true), 4, 128, measure("gptq, act-order", "int4:g128"));
  as_awq(quantize("int4:g128:asym"), 128, measure("awq", "int4:g128:asym"));
  as_awq(quantize("int4:g32:asym"), 32, measure("awq, groups of 32", "int4:g32:asym"));
  for (const unsigned bits : {2u, 3u, 4u, 5u, 6u, 8u}) {
    const std::string format = "int" + std::to_string(bits) + ":g64:bias";
    as_mlx(quantize(format), bits, 64, measure("mlx, " + std::to_string(bits) + " bits", format));
  }
  for (const char* const format : {"int4:g128:bf16", "int4:g128:asym:bf16", "int4:g128:f32"})
    as_pack_quantized(quantize(format), 4, 128, measure(std::string("pack-quantized ") + format, format));
  as_pack_quantized(quantize("int8:row:bf16"), 8, 0, measure("pack-quantized int8:row:bf16", "int8:row:bf16"));
  as_pack_quantized(quantize("int4:g128:bf16", true), 4, 128, measure("pack-quantized, act-order", "int4:g128:bf16"));
  as_fp8(quantize("fp8:block128x128"), {}, measure("fp8 blocks", "fp8:block128x128"));
  as_fp8(quantize("fp8:row"), {.grain = PlanarGrain::row}, measure("fp8 rows", "fp8:row"));
  as_fp8(quantize("fp8:tensor"), {.grain = PlanarGrain::tensor}, measure("fp8 tensors", "fp8:tensor"));
  as_int8(true, measure("int8 rows", "int8:row"));
  as_int8(false, measure("int8 tensors", "int8:row"));
  EXPECT_EQ(ratios.size(), 24u);
}

}  // namespace
}  // namespace nibble
