// SPDX-License-Identifier: Apache-2.0
//
// Layouts of other programs, read and written. tests/data/packings has matrices that NumPy, mlx, compressed-tensors and
// torch have packed (tools/reference_packings.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error_kind.h"
#include "base/thread_pool.h"
#include "format/bit_pack.h"
#include "format/planar/format.h"
#include "io/checkpoint.h"
#include "io/packing/awq.h"
#include "io/packing/compressed_tensors.h"
#include "io/packing/fp8.h"
#include "io/packing/gptq.h"
#include "io/packing/mlx.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kZeros = 2;

// A file of tests/data/packings.
class Reference {
 public:
  explicit Reference(const std::string& file)
      : checkpoint_(Checkpoint::open(std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/packings" /
                                     (file + ".safetensors"))) {}

  // Names of cases, by the tensor that each of them has.
  std::vector<std::string> cases() const {
    std::vector<std::string> names;
    for (const StoredTensor& tensor : checkpoint_.tensors())
      if (tensor.name.ends_with(".codes")) names.push_back(tensor.name.substr(0, tensor.name.size() - 6));
    return names;
  }
  TensorView get(const std::string& name) const {
    const StoredTensor& tensor = checkpoint_.tensor(name);
    return {tensor.dtype, tensor.shape, tensor.data};
  }
  std::optional<TensorView> find(const std::string& name) const {
    return checkpoint_.find(name) != nullptr ? std::optional(get(name)) : std::nullopt;
  }
  template <class T>
  std::vector<T> list(const std::string& name) const {
    const TensorView tensor = get(name);
    std::vector<T> values(tensor.bytes.size() / sizeof(T));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }

 private:
  Checkpoint checkpoint_;
};

void expect_same(const TensorView& expected, const Tensor& tensor, const std::string& name) {
  EXPECT_EQ(tensor.dtype, expected.dtype) << name;
  EXPECT_EQ(tensor.shape, expected.shape) << name;
  EXPECT_TRUE(std::ranges::equal(tensor.bytes, expected.bytes)) << name;
}

std::vector<std::uint8_t> unpacked(const QuantizedView& view, std::size_t plane, std::uint64_t row, std::uint64_t count,
                                   unsigned bits) {
  std::vector<std::uint8_t> codes(count);
  unpack_bits(view.row(row)[plane], 0, codes.size(), bits, codes.data());
  return codes;
}

// Codes, zero points and order of the source are those of the case, and its values are the weights.
void expect_holds(const TensorSource& source, const Reference& reference, const std::string& name,
                  double tolerance = 0) {
  SCOPED_TRACE(name);
  const auto codes = reference.list<std::uint8_t>(name + ".codes");
  const auto weights = reference.list<float>(name + ".weights");
  const Shape& shape = reference.get(name + ".codes").shape;
  ASSERT_EQ(source.rows(), shape.at(0));
  ASSERT_EQ(source.cols(), shape.at(1));
  const auto& spec = dynamic_cast<const PlanarFormat&>(*source.format()).spec();
  QuantizedTensor room;
  const TensorRows rows = source.read_rows(0, source.rows(), room);
  ASSERT_EQ(rows.first, 0u);
  for (std::uint64_t row = 0; row < source.rows(); ++row)
    ASSERT_TRUE(std::ranges::equal(unpacked(rows.planes, 0, row, source.cols(), spec.bits),
                                   std::span(codes).subspan(row * source.cols(), source.cols())))
        << row;
  EXPECT_EQ(spec.is_asymmetric, reference.find(name + ".zero_points").has_value());
  if (spec.is_asymmetric) {
    const auto zeros = reference.list<std::uint8_t>(name + ".zero_points");
    const std::uint64_t groups = zeros.size() / source.rows();
    for (std::uint64_t row = 0; row < source.rows(); ++row)
      ASSERT_TRUE(std::ranges::equal(unpacked(rows.planes, kZeros, row, groups, spec.bits),
                                     std::span(zeros).subspan(row * groups, groups)))
          << row;
  }
  if (reference.find(name + ".order")) {
    const auto order = reference.list<std::uint32_t>(name + ".order");
    if (!std::is_sorted(order.begin(), order.end())) {
      ASSERT_TRUE(source.parts());
      EXPECT_EQ(source.parts()->input_order, order);
    } else {
      EXPECT_FALSE(source.parts());
    }
  }
  const std::vector<float> decoded = source.decode();
  for (std::size_t i = 0; i < decoded.size(); ++i)
    if (tolerance == 0)
      ASSERT_EQ(decoded[i], weights[i]) << i;
    else
      ASSERT_NEAR(static_cast<double>(decoded[i]), static_cast<double>(weights[i]), tolerance) << i;
}

// Whatever rows are asked for, by however many threads, and of whatever part: the bytes of the whole.
void expect_same_rows(const TensorSource& source, const std::string& name) {
  SCOPED_TRACE(name);
  const std::uint64_t unit = source.format()->info().row_unit;
  ThreadPool pool(3);
  QuantizedTensor all_room, room, part_room;
  const QuantizedView all = source.read_rows(0, source.rows(), all_room).planes;
  const auto expect_row = [&](const TensorRows& rows, std::uint64_t row, std::uint64_t from) {
    for (std::size_t p = 0; p < all.specs.size(); ++p) {
      const std::size_t size = static_cast<std::size_t>(all.specs[p].row_bytes);
      ASSERT_EQ(std::memcmp(rows.row(row)[p], all.row(from)[p], size), 0) << "row " << from << ", plane " << p;
    }
  };
  for (std::uint64_t begin = 0; begin < source.rows(); begin += 5)
    for (const std::uint64_t count : {std::uint64_t{1}, std::uint64_t{7}, source.rows()}) {
      const std::uint64_t end = std::min(source.rows(), begin + count);
      const TensorRows rows = source.read_rows(begin, end, room);
      for (std::uint64_t row = begin; row < end; ++row) expect_row(rows, row, row);
    }
  const TensorRows threaded = source.read_rows(0, source.rows(), room, pool);
  for (std::uint64_t row = 0; row < source.rows(); ++row) expect_row(threaded, row, row);
  const std::uint64_t begin = source.rows() / 2 / unit * unit;
  const TensorSource part = source.slice(begin, source.rows() - begin);
  const TensorRows rows = part.read_rows(0, part.rows(), part_room);
  for (std::uint64_t row = 0; row < part.rows(); ++row) expect_row(rows, row, begin + row);
  std::vector<float> one(source.cols()), other(source.cols());
  part.decode_row(part.rows() - 1, one);
  source.decode_row(source.rows() - 1, other);
  EXPECT_EQ(one, other);
}

QuantizedView read_all(const TensorSource& source, QuantizedTensor& room) {
  return source.read_rows(0, source.rows(), room).planes;
}

template <class Work>
std::string message_of(ErrorKind kind, Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "";
}

// --- GPTQ ------------------------------------------------------------------------------------------------------------

GptqTensors gptq_tensors(const Reference& reference, const std::string& name) {
  return {reference.get(name + ".qweight"), reference.get(name + ".qzeros"), reference.get(name + ".scales"),
          reference.get(name + ".g_idx")};
}

GptqLayout gptq_layout(const std::string& name) {
  GptqLayout layout;
  layout.bits = static_cast<unsigned>(name.back() - '0');
  layout.group = name.starts_with("short") ? 64 : name.starts_with("row") ? 0 : name.starts_with("narrow") ? 16 : 32;
  layout.zeros =
      name.starts_with("gptq_v2") || name.starts_with("narrow") ? GptqZeros::as_they_are : GptqZeros::less_one;
  return layout;
}

TEST(Packing, GptqIsReadAndWritten) {
  const Reference reference("gptq");
  ASSERT_EQ(reference.cases().size(), 19u);
  for (const std::string& name : reference.cases()) {
    const GptqLayout layout = gptq_layout(name);
    const GptqTensors tensors = gptq_tensors(reference, name);
    const TensorSource source = read_gptq(layout, tensors, "layer 'p'");
    expect_holds(source, reference, name);
    expect_same_rows(source, name);
    QuantizedTensor room;
    const GptqPacked packed = pack_gptq(read_all(source, room), layout.zeros, "layer 'p'");
    expect_same(tensors.qweight, packed.qweight, name);
    expect_same(tensors.qzeros, packed.qzeros, name);
    expect_same(tensors.scales, packed.scales, name);
    expect_same(*tensors.g_idx, packed.g_idx, name);
  }
}

TEST(Packing, GptqWithoutGroupIndicesHasItsGroupsInOrder) {
  const Reference reference("gptq");
  GptqTensors tensors = gptq_tensors(reference, "gptq_4");
  tensors.g_idx.reset();
  expect_holds(read_gptq(gptq_layout("gptq_4"), tensors, "layer 'p'"), reference, "gptq_4");
}

TEST(Packing, GptqThatDoesNotFitIsRefused) {
  const Reference reference("gptq");
  const GptqTensors good = gptq_tensors(reference, "gptq_4");
  const auto refusal = [&](ErrorKind kind, const auto& change) {
    GptqTensors tensors = good;
    GptqLayout layout = gptq_layout("gptq_4");
    change(tensors, layout);
    return message_of(kind, [&] { read_gptq(layout, tensors, "layer 'p'"); });
  };
  EXPECT_EQ(refusal(ErrorKind::corrupt, [](GptqTensors& t, GptqLayout&) { t.qzeros.shape = {2, 4}; }),
            "layer 'p': qzeros should be I32 [3, 4] but is I32 [2, 4]");
  EXPECT_EQ(refusal(ErrorKind::corrupt, [](GptqTensors& t, GptqLayout&) { t.qweight.dtype = DType::u32; }),
            "layer 'p': qweight should be I32 [12, 32] but is U32 [12, 32]");
  EXPECT_EQ(refusal(ErrorKind::corrupt, [](GptqTensors& t, GptqLayout&) { t.g_idx->shape = {95}; }),
            "layer 'p': g_idx should be I32 [96] but is I32 [95]");
  EXPECT_EQ(refusal(ErrorKind::corrupt, [](GptqTensors& t, GptqLayout&) { t.scales.shape = {96}; }),
            "layer 'p': qweight and scales should be matrices but are [12, 32] and [96]");
  EXPECT_EQ(refusal(ErrorKind::unsupported, [](GptqTensors& t, GptqLayout&) { t.scales.dtype = DType::i32; }),
            "layer 'p': scales should be F16, BF16 or F32 but is I32");
  EXPECT_EQ(refusal(ErrorKind::unsupported, [](GptqTensors&, GptqLayout& l) { l.bits = 5; }),
            "layer 'p': GPTQ's layout has codes of 2, 3, 4 or 8 bits: 5");
  EXPECT_EQ(refusal(ErrorKind::unsupported, [](GptqTensors& t, GptqLayout&) { t.qweight.shape = {12, 33}; }),
            "layer 'p': codes of all inputs, and of all outputs, fill whole words in GPTQ's layout; bits, inputs, "
            "outputs: 4, 96, 33");
  EXPECT_EQ(refusal(ErrorKind::corrupt, [](GptqTensors&, GptqLayout& l) { l.group = 64; }),
            "layer 'p': qzeros should be I32 [2, 4] but is I32 [3, 4]");
  std::vector<std::uint32_t> groups(96, 1);
  const auto with_groups = [&](GptqTensors& t, GptqLayout&) { t.g_idx->bytes = std::as_bytes(std::span(groups)); };
  EXPECT_EQ(refusal(ErrorKind::unsupported, with_groups),
            "layer 'p': group 1 has more inputs than the 32 of a group, which no format here has");
  groups[5] = ~0u;
  EXPECT_EQ(refusal(ErrorKind::corrupt, with_groups), "layer 'p': input 5 is in a group that there is not, of 3: -1");
  std::vector<std::uint32_t> zeros(12, 0x22222222);
  zeros[5] = 0x2222f222;
  const auto with_zeros = [&](GptqTensors& t, GptqLayout&) { t.qzeros.bytes = std::as_bytes(std::span(zeros)); };
  EXPECT_EQ(refusal(ErrorKind::unsupported, with_zeros),
            "layer 'p': a zero point of 0, stored less 1, is read in different ways by different programs; store the "
            "model as gptq_v2: group 1, output 11");
}

TEST(Packing, WhatGptqCannotHoldIsRefused) {
  const auto refusal = [](const char* format, std::uint64_t rows, std::uint64_t cols, bool ordered = false) {
    QuantizedTensor tensor(find_format(format), rows, cols);
    auto parts = std::make_shared<TensorParts>();
    parts->tensor_scale = 2.0f;
    if (ordered) tensor.parts = parts;
    return message_of(ErrorKind::unsupported, [&] { pack_gptq(tensor.view(), GptqZeros::less_one, "layer 'p'"); });
  };
  EXPECT_EQ(refusal("nf4:g32", 32, 32), "layer 'p': GPTQ's layout cannot hold nf4:g32");
  EXPECT_EQ(refusal("q4_0", 32, 32), "layer 'p': GPTQ's layout cannot hold q4_0");
  EXPECT_EQ(refusal("int4:g32:bias", 32, 32), "layer 'p': GPTQ's layout cannot hold int4:g32:bias");
  EXPECT_EQ(refusal("int2:high:g32", 32, 32), "layer 'p': GPTQ's layout cannot hold int2:g32:high");
  EXPECT_EQ(refusal("int4:tensor", 32, 32), "layer 'p': GPTQ's layout cannot hold int4:tensor");
  EXPECT_EQ(refusal("int4:g32:s6", 32, 32), "layer 'p': GPTQ's layout cannot hold int4:g32:s6");
  EXPECT_EQ(refusal("int5:g32", 32, 32), "layer 'p': GPTQ's layout has codes of 2, 3, 4 or 8 bits: 5");
  EXPECT_EQ(refusal("int4:g32", 32, 36),
            "layer 'p': codes of all inputs, and of all outputs, fill whole words in GPTQ's layout; bits, inputs, "
            "outputs: 4, 36, 32");
  EXPECT_EQ(refusal("int4:g32:asym", 32, 32),
            "layer 'p': GPTQ's layout has no zero point of 0 that all programs read alike: row 0, group 0");
  EXPECT_NE(refusal("int4:g32", 32, 32, true).find("tensor scale"), std::string::npos);
}

// --- AWQ -------------------------------------------------------------------------------------------------------------

TEST(Packing, AwqIsReadAndWritten) {
  const Reference reference("awq");
  for (const std::string name : {"asymmetric", "symmetric"}) {
    const AwqTensors tensors{reference.get(name + ".qweight"), reference.get(name + ".qzeros"),
                             reference.get(name + ".scales")};
    const TensorSource source = read_awq({.group = 32}, tensors, "layer 'p'");
    expect_holds(source, reference, name);
    expect_same_rows(source, name);
    QuantizedTensor room;
    const AwqPacked packed = pack_awq(read_all(source, room), "layer 'p'");
    expect_same(tensors.qweight, packed.qweight, name);
    expect_same(tensors.qzeros, packed.qzeros, name);
    expect_same(tensors.scales, packed.scales, name);
  }
}

TEST(Packing, AwqOfRowsIsRead) {
  const Reference reference("awq_gemv");
  for (const std::string& name : reference.cases()) {
    const AwqTensors tensors{reference.get(name + ".qweight"), reference.get(name + ".qzeros"),
                             reference.get(name + ".scales")};
    const AwqLayout layout{.group = name == "many_groups" ? 64u : 32u, .version = AwqVersion::gemv};
    const TensorSource source = read_awq(layout, tensors, "layer 'p'");
    EXPECT_EQ(source.format()->name().ends_with(":asym"), name != "symmetric") << name;
    expect_holds(source, reference, name);
  }
  AwqTensors tensors{reference.get("asymmetric.qweight"), reference.get("asymmetric.qzeros"),
                     reference.get("asymmetric.scales")};
  const AwqLayout layout{.group = 2, .version = AwqVersion::gemv};
  EXPECT_EQ(message_of(ErrorKind::corrupt, [&] { read_awq(layout, tensors, "layer 'p'"); }),
            "layer 'p': qzeros should have room for 48 groups but is [24, 4]");
}

TEST(Packing, AwqThatDoesNotFitIsRefused) {
  const Reference reference("awq");
  AwqTensors tensors{reference.get("symmetric.qweight"), reference.get("symmetric.qzeros"),
                     reference.get("symmetric.scales")};
  EXPECT_EQ(message_of(ErrorKind::corrupt, [&] { read_awq({.group = 64}, tensors, "layer 'p'"); }),
            "layer 'p': qzeros should be I32 [2, 3] but is I32 [3, 3]");
  tensors.scales.shape = {3, 25};
  EXPECT_EQ(message_of(ErrorKind::corrupt, [&] { read_awq({.group = 32}, tensors, "layer 'p'"); }),
            "layer 'p': scales should be F16 [3, 24] but is F16 [3, 25]");
  const auto refusal = [](const char* format, std::uint64_t rows) {
    const QuantizedTensor tensor(find_format(format), rows, 32);
    return message_of(ErrorKind::unsupported, [&] { pack_awq(tensor.view(), "layer 'p'"); });
  };
  EXPECT_EQ(refusal("int3:g32", 32), "layer 'p': AWQ's layout cannot hold int3:g32");
  EXPECT_EQ(refusal("int4:g32", 12), "layer 'p': AWQ's layout has multiples of 8 outputs: 12");
}

// --- MLX -------------------------------------------------------------------------------------------------------------

TEST(Packing, MlxIsReadAndWritten) {
  const Reference reference("mlx");
  ASSERT_EQ(reference.cases().size(), 8u);
  for (const std::string& name : reference.cases()) {
    const MlxTensors tensors{reference.get(name + ".weight"), reference.get(name + ".scales"),
                             reference.get(name + ".biases")};
    const MlxLayout layout{static_cast<unsigned>(name.back() - '0'), name.starts_with("f32") ? 64u : 32u};
    const TensorSource source = read_mlx(layout, tensors, "layer 'p'");
    ASSERT_NE(source.planes(), nullptr);
    EXPECT_EQ(source.planes()->planes[0].data(), tensors.weight.bytes.data());  // nothing was copied
    // Their product may be fused with the sum: one rounding less, of numbers below 16 in magnitude.
    expect_holds(source, reference, name, std::ldexp(16.0, -24));
    expect_same_rows(source, name);
    const MlxPacked packed = pack_mlx(*source.planes(), "layer 'p'");
    expect_same(tensors.weight, packed.weight, name);
    expect_same(tensors.scales, packed.scales, name);
    expect_same(tensors.biases, packed.biases, name);
  }
}

TEST(Packing, MlxThatDoesNotFitIsRefused) {
  const Reference reference("mlx");
  MlxTensors tensors{reference.get("affine_4.weight"), reference.get("affine_4.scales"),
                     reference.get("affine_4.biases")};
  EXPECT_EQ(message_of(ErrorKind::unsupported, [&] { read_mlx({7, 32}, tensors, "layer 'p'"); }),
            "layer 'p': MLX's layout has codes of 2, 3, 4, 5, 6 or 8 bits: 7");
  EXPECT_EQ(message_of(ErrorKind::corrupt, [&] { read_mlx({4, 64}, tensors, "layer 'p'"); }),
            "layer 'p': weight should be U32 [24, 24] but is U32 [24, 12]");
  const QuantizedTensor ragged(find_format("int4:g32:bias"), 8, 40), symmetric(find_format("int4:g32"), 8, 32);
  EXPECT_EQ(message_of(ErrorKind::unsupported, [&] { pack_mlx(ragged.view(), "layer 'p'"); }),
            "layer 'p': inputs fill groups and words in MLX's layout; bits, group, inputs: 4, 32, 40");
  EXPECT_EQ(message_of(ErrorKind::unsupported, [&] { pack_mlx(symmetric.view(), "layer 'p'"); }),
            "layer 'p': MLX's layout cannot hold int4:g32");
}

// --- compressed-tensors ----------------------------------------------------------------------------------------------

PackQuantizedTensors pack_quantized_tensors(const Reference& reference, const std::string& name) {
  return {reference.get(name + ".weight_packed"), reference.get(name + ".weight_scale"),
          reference.get(name + ".weight_shape"), reference.find(name + ".weight_zero_point"),
          reference.find(name + ".weight_g_idx")};
}

TEST(Packing, PackQuantizedIsReadAndWritten) {
  const Reference reference("pack_quantized");
  ASSERT_EQ(reference.cases().size(), 18u);
  for (const std::string& name : reference.cases()) {
    const PackQuantizedTensors tensors = pack_quantized_tensors(reference, name);
    const PackQuantizedLayout layout{static_cast<unsigned>(name.back() - '0'), name.starts_with("channel") ? 0u : 32u};
    const TensorSource source = read_pack_quantized(layout, tensors, "layer 'p'");
    EXPECT_EQ(source.planes() != nullptr, name.starts_with("symmetric") || name.starts_with("channel")) << name;
    expect_holds(source, reference, name);
    expect_same_rows(source, name);
    QuantizedTensor room;
    const PackQuantizedPacked packed = pack_pack_quantized(read_all(source, room), "layer 'p'");
    expect_same(tensors.weight_packed, packed.weight_packed, name);
    expect_same(tensors.weight_scale, packed.weight_scale, name);
    expect_same(tensors.weight_shape, packed.weight_shape, name);
    ASSERT_EQ(tensors.weight_zero_point.has_value(), packed.weight_zero_point.has_value()) << name;
    if (tensors.weight_zero_point) expect_same(*tensors.weight_zero_point, *packed.weight_zero_point, name);
    ASSERT_EQ(tensors.weight_g_idx.has_value(), packed.weight_g_idx.has_value()) << name;
    if (tensors.weight_g_idx) expect_same(*tensors.weight_g_idx, *packed.weight_g_idx, name);
  }
}

TEST(Packing, PackQuantizedThatDoesNotFitIsRefused) {
  const Reference reference("pack_quantized");
  const auto refusal = [&](ErrorKind kind, const std::string& name, PackQuantizedLayout layout, const auto& change) {
    PackQuantizedTensors tensors = pack_quantized_tensors(reference, name);
    change(tensors);
    return message_of(kind, [&] { read_pack_quantized(layout, tensors, "layer 'p'"); });
  };
  const auto unchanged = [](PackQuantizedTensors&) {};
  EXPECT_EQ(refusal(ErrorKind::unsupported, "symmetric_4", {9, 32}, unchanged),
            "layer 'p': pack-quantized has codes of 2 to 8 bits: 9");
  EXPECT_EQ(refusal(ErrorKind::corrupt, "symmetric_4", {4, 64}, unchanged),
            "layer 'p': weight_scale should be BF16 [20, 2] but is BF16 [20, 3]");
  EXPECT_EQ(refusal(ErrorKind::corrupt, "symmetric_4", {8, 32}, unchanged),
            "layer 'p': weight_packed should be I32 [20, 24] but is I32 [20, 12]");
  EXPECT_EQ(
      refusal(ErrorKind::unsupported, "symmetric_3", {3, 32},
              [](PackQuantizedTensors& t) { t.weight_packed.shape = {20, 10}; }),
      "layer 'p': weight_packed leaves bits of its words empty, as writers before 2026 did with 3 bits; write the "
      "model again with a newer one");
  EXPECT_EQ(refusal(ErrorKind::corrupt, "asymmetric_4", {4, 32},
                    [](PackQuantizedTensors& t) { t.weight_zero_point->shape = {3, 2}; }),
            "layer 'p': weight_zero_point should be I32 [3, 3] but is I32 [3, 2]");
  const QuantizedTensor biased(find_format("int4:g32:bias"), 8, 32);
  EXPECT_EQ(message_of(ErrorKind::unsupported, [&] { pack_pack_quantized(biased.view(), "layer 'p'"); }),
            "layer 'p': pack-quantized cannot hold int4:g32:bias");
}

// --- FP8 in blocks ---------------------------------------------------------------------------------------------------

TEST(Packing, Fp8BlocksAreReadAndWritten) {
  const Reference reference("fp8_blocks");
  for (const std::string name : {"f32", "bf16"}) {
    const Fp8Tensors tensors{reference.get(name + ".weight"), reference.get(name + ".weight_scale_inv")};
    const TensorSource source = read_fp8({}, tensors, "layer 'p'");
    EXPECT_EQ(source.format()->name(), name == "f32" ? "fp8:block128x128" : "fp8:block128x128:bf16");
    ASSERT_NE(source.planes(), nullptr);
    EXPECT_EQ(source.planes()->planes[0].data(), tensors.weight.bytes.data());  // nothing was copied
    expect_holds(source, reference, name);
    const Fp8Packed packed = pack_fp8(*source.planes(), "layer 'p'");
    expect_same(tensors.weight, packed.weight, name);
    expect_same(tensors.scales, packed.scales, name);
  }
}

TEST(Packing, Fp8BlocksThatDoNotFitAreRefused) {
  const Reference reference("fp8_blocks");
  const Fp8Tensors tensors{reference.get("f32.weight"), reference.get("f32.weight_scale_inv")};
  EXPECT_EQ(message_of(ErrorKind::corrupt, [&] { read_fp8({.rows = 64, .cols = 128}, tensors, "layer 'p'"); }),
            "layer 'p': weight_scale_inv should be F32 [3, 2] but is F32 [2, 2]");
  EXPECT_NE(message_of(ErrorKind::unsupported, [&] { read_fp8({.rows = 1, .cols = 128}, tensors, "layer 'p'"); })
                .find("a block has"),
            std::string::npos);
  const QuantizedTensor rows(find_format("int8:row"), 8, 32);
  EXPECT_EQ(message_of(ErrorKind::unsupported, [&] { pack_fp8(rows.view(), "layer 'p'"); }),
            "layer 'p': FP8 cannot hold int8:row");
}

}  // namespace
}  // namespace nibble
