// SPDX-License-Identifier: Apache-2.0
//
// Directories whose experts are stored in MXFP4 as gpt-oss was released: run from their codes, which go into both
// containers and back without being rounded. tests/data/tiny_gptoss_mxfp4 was written by tools/reference_quantized.py.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error_kind.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"
#include "pipeline/tell/inspect.h"

namespace nibble {
namespace {

const std::filesystem::path kModel = NIBBLE_SOURCE_DIR "/tests/data/tiny_gptoss_mxfp4";

bool is_of_experts(const ModelTensor& tensor) { return tensor.experts != 0 && tensor.shape.size() == 2; }

class Mxfp4Directory : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};

  std::vector<float> logits_of(const std::filesystem::path& path) {
    Decoder decoder(SourceModel::open(path), exact_options(), machine_);
    return all_logits(decoder, ReferenceLogits::read("tiny_gptoss_mxfp4").ids);
  }

  // All but the experts' matrices in this format, these as they are.
  std::filesystem::path moved(const std::filesystem::path& from, const std::string& format, const std::string& name) {
    QuantizeModelOptions options;
    choose_format(options, format);
    options.exclude = {"*_exps.weight"};
    options.output = scratch_ / name;
    quantize_model(SourceModel::open(from), options, machine_, {});
    return options.output;
  }

  void expect_same_experts(const std::filesystem::path& path, const std::filesystem::path& other) {
    const SourceModel a = SourceModel::open(path), b = SourceModel::open(other);
    std::size_t matrices = 0;
    for (const ModelTensor& tensor : a.parts().all()) {
      if (!is_of_experts(tensor)) continue;
      const TensorSource &x = a.stored(tensor).values, &y = b.stored(*b.parts().part(tensor.part, tensor.layer)).values;
      ASSERT_EQ(x.format()->name(), "mxfp4");
      ASSERT_EQ(y.format()->name(), "mxfp4");
      QuantizedTensor room_of_x, room_of_y;
      const TensorRows rows_of_x = x.read_rows(0, x.rows(), room_of_x), rows_of_y = y.read_rows(0, y.rows(), room_of_y);
      for (std::uint64_t row = 0; row < x.rows(); ++row)
        ASSERT_TRUE(
            std::equal(rows_of_x.row(row)[0], rows_of_x.row(row)[0] + 17 * x.cols() / 32, rows_of_y.row(row)[0]))
            << tensor.part << " " << row;
      ++matrices;
    }
    EXPECT_EQ(matrices, 3u * 3 * 5);
  }
};

TEST_F(Mxfp4Directory, AgreesWithTransformers) {
  const ReferenceLogits reference = ReferenceLogits::read("tiny_gptoss_mxfp4");
  const std::vector<float> logits = logits_of(kModel);
  const std::size_t vocab = SourceModel::open(kModel).config().vocab_size;
  ASSERT_EQ(reference.at.size(), 4u);
  for (const auto& [position, expected] : reference.at)
    EXPECT_LT(relative_difference(std::span(logits).subspan(position * vocab, vocab), expected), 1e-4) << position;
}

// Bytes are moved, never rounded: codes lie side by side in a directory, half a block apart in a GGUF file.
TEST_F(Mxfp4Directory, GoesIntoBothContainersAndBack) {
  const std::vector<float> expected = logits_of(kModel);
  const auto file = moved(kModel, "f32", "model.gguf"), again = moved(file, "f32", "again.gguf"),
             directory = moved(file, "f32", "directory"), back = moved(directory, "f32", "back.gguf");
  for (const auto& path : {file, again, directory, back}) {
    expect_same_experts(kModel, path);
    EXPECT_LT(relative_difference(logits_of(path), expected), 2e-5) << path;
  }
  EXPECT_EQ(SourceModel::open(directory).config_json().find("modules_to_not_convert"), std::string::npos);
  QuantizeModelOptions mix;
  choose_format(mix, "mxfp4_moe");
  mix.output = scratch_ / "mix.gguf";
  quantize_model(SourceModel::open(kModel), mix, machine_, {});
  expect_same_experts(kModel, mix.output);
}

TEST_F(Mxfp4Directory, IsInspectedAndChecked) {
  const SourceModel model = SourceModel::open(kModel);
  const ModelInfo info = describe_model(model);
  EXPECT_EQ(info.obstacle, "");
  EXPECT_EQ(info.experts, 5u);
  const std::vector<TensorListing> tensors = list_tensors(model);
  const auto stack = std::ranges::find(tensors, "model.layers.1.mlp.experts.gate_up_proj", &TensorListing::name);
  ASSERT_NE(stack, tensors.end());
  EXPECT_EQ(stack->format, "mxfp4");
  EXPECT_EQ(stack->shape, (Shape{5, 64, 64}));
  EXPECT_EQ(stack->bytes, 5u * 64 * 2 * 17);
  EXPECT_EQ(check_checkpoint(model, 10, machine_.pool, {}).total, 0u);
  EXPECT_EQ(model.stored(*model.parts().part("expert_up.3", 1)).bytes, 32u * 2 * 17);
}

TEST_F(Mxfp4Directory, ThatContradictsItselfIsRefused) {
  const EditableModel good = EditableModel::read(kModel);
  const auto refusal = [&](const std::function<void(EditableModel&)>& edit) {
    EditableModel model = good;
    edit(model);
    model.write(scratch_ / "bad");
    const std::string message =
        error_of([&] { Decoder(SourceModel::open(scratch_ / "bad"), exact_options(), machine_); }).second;
    const std::string begin = (scratch_ / "bad").string() + ": ";
    EXPECT_TRUE(message.starts_with(begin)) << message;
    return message.substr(std::min(message.size(), begin.size()));
  };
  const std::string stack = "model.layers.1.mlp.experts.down_proj";
  EXPECT_EQ(refusal([&](EditableModel& m) { m.tensors.erase(stack + "_scales"); }),
            "layer '" + stack + "': scales is missing");
  EXPECT_EQ(refusal([&](EditableModel& m) { m.tensors[stack] = m.tensors[stack + "_bias"]; }),
            "layer '" + stack + "': is stored both as it is and in codes of MXFP4");
  EXPECT_EQ(refusal([&](EditableModel& m) { m.tensors[stack + "_scales"].shape = {5, 32, 2}; }),
            "layer '" + stack + "': blocks should be U8 [5, 32, 2, 16] but is U8 [5, 64, 1, 16]");
  EXPECT_NE(refusal([&](EditableModel& m) {
              m.tensors[stack + "_scales"].bytes[7] = '\xff';
            }).find("the scale's exponent is reserved (NaN)"),
            std::string::npos);
  EXPECT_TRUE(refusal([&](EditableModel& m) {
                m.config.erase("quantization_config");
              }).starts_with("the model is quantized already by MXFP4 (tensor "));
}

}  // namespace
}  // namespace nibble
