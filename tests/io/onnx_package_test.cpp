// SPDX-License-Identifier: Apache-2.0
//
// ONNX packages: the layouts that operators read against bytes that were worked out by hand, tensors written and read
// back, and files that are damaged.
#include "io/onnx/onnx_package.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/scratch_directory.h"
#include "io/packing/dequantize_linear.h"
#include "io/packing/matmul_nbits.h"
#include "nibble/error.h"
#include "written_tensors.h"

namespace nibble {
namespace {

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> result;
  for (const int value : values) result.push_back(static_cast<std::byte>(value));
  return result;
}

std::vector<std::byte> floats(std::initializer_list<float> values) {
  std::vector<std::byte> result(values.size() * sizeof(float));
  std::memcpy(result.data(), values.begin(), result.size());
  return result;
}

// One row of 20 inputs in blocks of 16: the second is filled up. The even input lies in the low half of a byte, zero
// points of a row's blocks likewise.
TEST(MatMulNBits, IsReadAsTheOperatorIsSpecified) {
  const NBitsLayout layout{20, 4, 16, true, ScaleType::f32};
  EXPECT_EQ(layout.value_bytes(), 16U);
  EXPECT_EQ(layout.zero_point_bytes(), 1U);
  const auto values = bytes({0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE, 0xF0, 0x0F, 0, 0, 0, 0, 0, 0});
  const auto scales = floats({0.5F, -2}), zeros = bytes({0x37});  // 7 of the first block, 3 of the second
  const std::vector<float> row = read_nbits(layout, 1, values, scales, zeros, "w").decode();
  ASSERT_EQ(row.size(), 20U);
  for (int k = 0; k < 16; ++k) EXPECT_EQ(row[static_cast<std::size_t>(k)], 0.5F * static_cast<float>(k - 7)) << k;
  EXPECT_EQ(row[16], -2.0F * (0 - 3));
  EXPECT_EQ(row[17], -2.0F * (15 - 3));
  EXPECT_EQ(row[18], -2.0F * (15 - 3));
  EXPECT_EQ(row[19], -2.0F * (0 - 3));
}

TEST(MatMulNBits, HasAMiddleWhereNoZeroPointsAreStored) {
  const auto scales = floats({1});
  const std::vector<float> two =
      read_nbits({16, 2, 16, false, ScaleType::f32}, 1, bytes({0xE4, 0, 0, 0}), scales, {}, "w").decode();
  EXPECT_EQ(std::vector(two.begin(), two.begin() + 5), (std::vector<float>{-2, -1, 0, 1, -2}));
  std::vector<std::byte> eight(16, std::byte{128});
  eight[3] = std::byte{255};
  const std::vector<float> row = read_nbits({16, 8, 16, false, ScaleType::f32}, 1, eight, scales, {}, "w").decode();
  EXPECT_EQ(row[0], 0);
  EXPECT_EQ(row[3], 127);
}

TEST(MatMulNBits, RefusesOtherSizes) {
  const NBitsLayout layout{32, 4, 32, false, ScaleType::f32};
  const std::vector<std::byte> values(15), scales(4);
  EXPECT_EQ(error_of([&] { read_nbits(layout, 1, values, scales, {}, "w"); }),
            "w: values should have 1 rows of 16 bytes but has 15 bytes");
  EXPECT_EQ(error_of([&] { read_nbits({32, 3, 32, false, ScaleType::f32}, 1, values, scales, {}, "w"); }),
            "w: blocks of 32 inputs in 3 bits are not read");
}

// [2 inputs, 4 outputs] turned: two outputs a byte across the whole matrix, signed where no zero points are stored.
TEST(DequantizeLinear, IsReadAsTheOperatorIsSpecified) {
  const auto values = bytes({0x21, 0xF8, 0x70, 0x3E});  // input 0: 1 2 -8 -1, input 1: 0 7 -2 3
  const auto scales = floats({1, 2, 4, 8});
  EXPECT_EQ(read_dequantize({4, 2, 4, 0, false}, values, scales, {}, "w").decode(),
            (std::vector<float>{1, 0, 4, 14, -32, -8, -8, 24}));
  const auto zeros = bytes({0x21, 0x43});  // unsigned there: 1 2 8 15 and 0 7 14 3
  EXPECT_EQ(read_dequantize({4, 2, 4, 32, true}, values, scales, zeros, "w").decode(),
            (std::vector<float>{0, -1, 0, 10, 20, 44, 88, -8}));
}

class OnnxPackages : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << "built without ONNX";
  }

  // A norm, q and k of several formats in one initializer where codes are those of MatMulNBits, and a turned matrix.
  void write(const char* format, const char* turned_format = "int4:g16") {
    plan_ = {{"norm.weight", {24}, find_format("bf16")},
             {"q.weight", {6, 40}, find_format(format)},
             {"k.weight", {3, 40}, find_format(format)},
             {"head.weight", {10, 40}, find_format(turned_format)}};
    OnnxPackage package;
    const NBitsLayout layout = nbits_layout(*plan_[1].format, 40, ScaleType::f32);
    const DequantizeLayout turned = dequantize_layout(*plan_[3].format, 10, 40);
    OnnxModel& model = package.model;
    model.microsoft_opset = 1;
    model.initializers = {
        {"norm", OnnxType::bf16, {24}},
        {"qk", OnnxType::u8, {9, layout.blocks(), layout.block * layout.bits / 8}},
        {"qk_scales", OnnxType::f32, {9, layout.blocks()}},
        {"head", turned.bits == 4 ? OnnxType::i4 : OnnxType::i8, {40, 10}},
        {"head_scale", OnnxType::f32,
         turned.block == 0 ? std::vector<std::uint64_t>{10} : std::vector{turned.groups(), turned.rows}}};
    std::vector<std::string> inputs = {"x", "qk", "qk_scales"};
    if (layout.has_zero_points) {
      model.initializers.push_back({"qk_zero_points", OnnxType::u8, {9, layout.zero_point_bytes()}});
      inputs.push_back("qk_zero_points");
    }
    model.nodes = {
        {"qk",
         "MatMulNBits",
         "com.microsoft",
         inputs,
         {"y"},
         {{"K", std::int64_t{40}},
          {"N", std::int64_t{9}},
          {"bits", std::int64_t{layout.bits}},
          {"block_size", std::int64_t{layout.block}}}},
        {"head",
         "DequantizeLinear",
         "",
         {"head", "head_scale"},
         {"z"},
         {{"axis", std::int64_t{turned.block == 0 ? 1 : 0}}, {"block_size", static_cast<std::int64_t>(turned.block)}}}};
    package.places = {{OnnxPlace::Layout::plain, "norm", "", "", 0},
                      {OnnxPlace::Layout::nbits, "qk", "qk_scales", layout.has_zero_points ? "qk_zero_points" : "", 0},
                      {OnnxPlace::Layout::nbits, "qk", "qk_scales", layout.has_zero_points ? "qk_zero_points" : "", 6},
                      {OnnxPlace::Layout::dequantize, "head", "head_scale", "", 0}};
    tensors_ = random_tensors(plan_, 3);
    for (QuantizedTensor& tensor : tensors_)  // any bytes are codes, but not scales
      for (std::size_t i = 1; i < tensor.planes.size(); ++i)
        if (tensor.specs[i].dtype == DType::f16)
          for (std::size_t at = 1; at < tensor.planes[i].size(); at += 2) tensor.planes[i][at] &= std::byte{0x3B};
    write_all(*make_onnx_writer(path(), std::move(package), {{"nibble_manifest.json", "{}"}}, plan_), tensors_);
  }
  std::filesystem::path path() const { return scratch_ / "package"; }
  std::string reading_error() const {
    return error_of([&] { Checkpoint::open(path()); });
  }
  std::string file(const char* name) const {
    std::ifstream in(path() / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void put(const char* name, const std::string& text) const { std::ofstream(path() / name, std::ios::binary) << text; }
  // The model with something of it changed.
  void change(const std::function<void(OnnxModel&)>& edit) {
    const std::string text = file("model.onnx");
    OnnxModel model = parse_onnx(std::as_bytes(std::span(text)), "model.onnx");
    edit(model);
    put("model.onnx", serialize_onnx(model));
  }

  ScratchDirectory scratch_;
  std::vector<PlannedTensor> plan_;
  std::vector<QuantizedTensor> tensors_;
};

TEST_F(OnnxPackages, GiveBackEveryNumber) {
  for (const char* const format : {"int4:g16", "int4:g32:asym", "int8:row:f16", "ternary:g16", "int8:g16:asym"}) {
    write(format, format[3] == '4' ? "int4:g16" : "int8:row:f16");
    const Checkpoint read = Checkpoint::open(path());
    ASSERT_EQ(read.tensors().size(), plan_.size());
    for (std::size_t i = 0; i < plan_.size(); ++i) {
      const StoredTensor& stored = read.tensor(plan_[i].name);
      EXPECT_EQ(stored.shape, plan_[i].shape);
      const std::vector<float> found = stored.values.decode(), meant = tensors_[i].view().decode();
      ASSERT_EQ(found.size(), meant.size());
      EXPECT_EQ(std::memcmp(found.data(), meant.data(), found.size() * sizeof(float)), 0) << plan_[i].name << format;
    }
    EXPECT_EQ(read.tensor("norm.weight").values.format()->name(), "bf16");
  }
}

TEST_F(OnnxPackages, AreTheSameBytesEachTime) {
  write("int4:g32");
  const std::string model = file("model.onnx"), data = file("model.onnx.data");
  write("int4:g32");
  EXPECT_EQ(file("model.onnx"), model);
  EXPECT_EQ(file("model.onnx.data"), data);
}

// -1 is the last axis, -2 the one before.
TEST_F(OnnxPackages, AxesCountFromTheLastOneWhereTheyAreNegative) {
  for (const char* const format : {"int4:g16", "int8:row"}) {
    write("int4:g32", format);
    change([](OnnxModel& m) {
      auto& axis = std::get<std::int64_t>(m.nodes[1].attributes[0].value);
      axis -= 2;
    });
    EXPECT_EQ(Checkpoint::open(path()).tensor("head.weight").values.decode(), tensors_[3].view().decode()) << format;
    change([](OnnxModel& m) { m.nodes[1].attributes[0].value = std::int64_t{-3}; });
    EXPECT_NE(reading_error().find("scales along axis -1 in blocks of"), std::string::npos) << reading_error();
  }
}

TEST_F(OnnxPackages, NameWhatIsDamaged) {
  write("int4:g32");
  const std::string data = file("model.onnx.data"), model = file("model.onnx");
  put("model.onnx.data", data.substr(0, data.size() - 1));
  EXPECT_NE(reading_error().find("ends beyond its file, 'model.onnx.data', which has"), std::string::npos)
      << reading_error();
  put("model.onnx.data", data);
  put("model.onnx", model.substr(0, model.size() / 2));
  EXPECT_NE(reading_error().find("model.onnx: is no ONNX model, or damaged"), std::string::npos) << reading_error();
  put("model.onnx", model);
  const auto changed = [&](const std::function<void(OnnxModel&)>& edit) {
    put("model.onnx", model);
    change(edit);
    return reading_error();
  };
  EXPECT_NE(changed([](OnnxModel& m) { m.initializers[1].external->offset = 1 << 20; }).find("ends beyond its file"),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) { m.initializers[1].external->length -= 1; }).find("bytes but has"),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) {
              m.initializers[1].external->location = "../x";
            }).find("should lie in a file of the directory"),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) { m.initializers[1].type = static_cast<OnnxType>(99); }).find("not known: 99"),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) { m.nodes[0].attributes[3].value = std::int64_t{48}; }).find("in 4 bits are not"),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) { m.nodes[0].attributes[1].value = std::int64_t{8}; }).find("rows of 32 bytes"),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) {
              m.nodes[0].attributes[3].value = std::int64_t{1 << 20};
            }).find("block_size of MatMulNBits is 16, 32, ... "),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) { m.nodes[0].attributes.pop_back(); }).find("MatMulNBits has no block_size"),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) { m.nodes.clear(); }).find("no operator says how its values are to be read"),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) { m.metadata.clear(); }).find("packages that nibble has exported are read"),
            std::string::npos);
  EXPECT_NE(changed([](OnnxModel& m) {
              std::string& list = m.metadata[0].second;
              list.replace(list.find("\"first\":6"), 9, "\"first\":7");
            }).find("should be rows 7 .. of a matrix of 9 x 40"),
            std::string::npos);
}

// Two bytes each in the file, hundreds in memory.
TEST(OnnxMessages, RefuseMorePartsThanNetworksHave) {
  if (!has_onnx()) GTEST_SKIP() << "built without ONNX";
  std::string nodes;
  for (int i = 0; i < (1 << 20) + 1; ++i) nodes += std::string("\x0a\x00", 2);
  std::string file = "\x3a";  // the graph
  for (std::size_t length = nodes.size(); length != 0 || file.size() == 1; length >>= 7)
    file += static_cast<char>((length & 0x7f) | (length >= 0x80 ? 0x80 : 0));
  file += nodes;
  try {
    parse_onnx(std::as_bytes(std::span(file)), "model.onnx");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("more nodes, constants and attributes"), std::string::npos)
        << error.what();
  }
}

// Types that are newer than the message types survive.
TEST_F(OnnxPackages, KeepTypesThatHaveNoName) {
  OnnxModel model;
  model.initializers = {{"a", static_cast<OnnxType>(4242), {1}, "x"}};
  const std::string text = serialize_onnx(model);
  EXPECT_EQ(parse_onnx(std::as_bytes(std::span(text)), "m").initializers[0].type, static_cast<OnnxType>(4242));
}

}  // namespace
}  // namespace nibble
