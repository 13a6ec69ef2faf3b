// SPDX-License-Identifier: Apache-2.0
//
// BitNet as it is released: ternary matrices, whose inputs the model was trained to have rounded. The logits are those
// of transformers, which rounds them so.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "engine/decoder.h"
#include "kernels/chosen_isa.h"
#include "model/stored_activations.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

const std::filesystem::path kPacked = data_directory() / "tiny_bitnet_packed";

class Bitnet : public testing::Test {
 protected:
  // The largest difference from transformers' logits, in parts of the largest of them.
  double difference(const std::filesystem::path& path, const DecoderOptions& options) {
    const ReferenceLogits reference = ReferenceLogits::read("tiny_bitnet_packed");
    Decoder decoder(SourceModel::open(path), options, machine_);
    const std::vector<float> logits = all_logits(decoder, reference.ids);
    const std::size_t vocab = decoder.config().vocab_size;
    double worst = 0;
    for (const auto& [position, expected] : reference.at)
      worst = std::max(worst, relative_difference(std::span(logits).subspan(position * vocab, vocab), expected));
    return worst;
  }
  static DecoderOptions as_trained() {
    DecoderOptions options = exact_options();
    options.kernels = {};
    return options;
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};

TEST_F(Bitnet, RoundsItsInputsAsItWasTrained) {
  const SourceModel model = SourceModel::open(kPacked);
  EXPECT_EQ(activation_format_name(*read_activations(model).format), "a8:token");
  EXPECT_EQ(model.tensor("model.layers.0.mlp.up_proj.weight").values.format()->name(), "ternary:row");
  EXPECT_LT(difference(kPacked, as_trained()), 1e-4);
  EXPECT_GT(difference(kPacked, exact_options()), 5e-3);
}

// Stock llama.cpp has another activation in this family.
TEST_F(Bitnet, IsSaidToBeRunOtherwiseByLlamaCpp) {
  const auto notes = [](const QuantizeSummary& summary) {
    return std::ranges::count_if(summary.notes, [](const std::string& note) {
      return note.starts_with("llama.cpp runs this family with SiLU where it was trained with squared ReLU");
    });
  };
  const std::filesystem::path model = data_directory() / "tiny_bitnet";
  EXPECT_EQ(notes(quantize_to(model, "f32", scratch_ / "model.gguf", machine_)), 1);
  EXPECT_EQ(notes(quantize_to(model, "f32", scratch_ / "directory", machine_)), 0);
  QuantizeModelOptions strict;
  choose_format(strict, "f32");
  strict.output = scratch_ / "strict.gguf";
  strict.strict = true;
  EXPECT_NE(
      error_of([&] { quantize_model(SourceModel::open(model), strict, machine_, {}); }).second.find("squared ReLU"),
      std::string::npos);
}

}  // namespace
}  // namespace nibble
