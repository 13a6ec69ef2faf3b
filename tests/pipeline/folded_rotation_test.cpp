// SPDX-License-Identifier: Apache-2.0
//
// Rotations that go into the weights for good: the same function, whatever the family, and models like any other.
#include "pipeline/quantize/folded_rotation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "engine/decoder.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

class FoldedRotations : public testing::Test {
 protected:
  std::vector<float> logits_of(const SourceModel& model) {
    Decoder decoder(model, {.kernels = {.activations = ActivationMode::f32}, .kv = KvType::f32, .progress = {}},
                    machine_);
    return all_logits(decoder, {5, 17, 90, 3, 42, 42, 8, 11, 7, 60, 61, 2});
  }
  QuantizeSummary quantize(const std::filesystem::path& model, const std::string& format, const std::string& transform,
                           const std::string& output) {
    QuantizeModelOptions options;
    choose_format(options, format);
    options.transform = transform;
    options.output = scratch_ / output;
    return quantize_model(SourceModel::open(model), options, machine_, {});
  }

  bool leaves_partials() const {
    const std::filesystem::directory_iterator entries(scratch_.path());
    return std::any_of(begin(entries), end(entries), [](const auto& entry) {
      return entry.path().filename().string().find(".partial-") != std::string::npos;
    });
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};

TEST_F(FoldedRotations, ComputeTheSameInEveryFamilyThatTakesThem) {
  for (const auto& [family, values] : std::vector<std::pair<std::string, bool>>{{"tiny_gqa_llama3rope", true},
                                                                                {"tiny_qwen2", true},
                                                                                {"tiny_qwen3", false},
                                                                                {"tiny_phi3", false},
                                                                                {"tiny_mistral", true},
                                                                                {"tiny_mixtral", true},
                                                                                {"tiny_qwen3moe", false},
                                                                                {"tiny_qwen35", false},
                                                                                {"tiny_qwen35moe", false},
                                                                                {"tiny_gptoss", true}}) {
    const SourceModel source = SourceModel::open(data_directory() / family);
    const FoldedRotation rotation = fold_rotations(source.parts(), source.config().tied_embedding);
    EXPECT_EQ(rotation.stream_obstacle, "") << family;
    EXPECT_EQ(rotation.values_note.empty(), values) << family << rotation.values_note;
    write_rotated_model(source, rotation, scratch_ / family, machine_, {});
    const SourceModel rotated = SourceModel::open(scratch_ / family);
    EXPECT_FALSE(rotated.config().tied_embedding);
    EXPECT_LT(relative_difference(logits_of(rotated), logits_of(source)), source.config().tied_embedding ? 2e-3 : 1e-4)
        << family;
    // And they are other weights.
    for (const ModelTensor& part : rotated.parts().all()) {
      const ModelTensor* const own = source.parts().part(part.part, part.layer);
      if (part.role != TensorRole::linear || own == nullptr) continue;
      const bool is_changed = rotation.changes.contains({part.layer, part.part});
      EXPECT_EQ(rotated.stored(part).values.decode() != source.stored(*own).values.decode(), is_changed)
          << family << ' ' << part.part;
    }
  }
}

TEST_F(FoldedRotations, AreRefusedByNameWhereNormsStandBetween) {
  for (const std::string family : {"tiny_gemma2", "tiny_gemma3", "tiny_glm4", "tiny_gemma4"}) {
    const std::filesystem::path model = data_directory() / family;
    const std::string refusal = error_of([&] { quantize(model, "int8:row", "hadamard:fold", family); }).second;
    EXPECT_NE(refusal.find(std::string("the stream between the layers cannot be rotated for good, ") +
                           (family == "tiny_gemma4" ? "before the layers: the operation 'linear' reads the stream"
                                                    : "layer 0: the norm '")),
              std::string::npos)
        << family << ": " << refusal;
    EXPECT_NE(refusal.find("hadamard:both rotates while the model runs"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(scratch_ / family));
    // Asked for, its sites are rotated while the model runs.
    const QuantizeSummary made = quantize(model, "int8:row", "hadamard:both", family);
    EXPECT_TRUE(std::ranges::any_of(made.notes, [](const std::string& note) {
      return note.find("is not rotated for good") != std::string::npos;
    })) << family;
    const SourceModel result = SourceModel::open(scratch_ / family);
    EXPECT_NE(result.stored(*result.parts().part("q", 0)).values.parts(), nullptr) << family;
    EXPECT_LT(relative_difference(logits_of(result), logits_of(SourceModel::open(model))), 0.2) << family;
    EXPECT_FALSE(leaves_partials());
  }
}

TEST_F(FoldedRotations, LeaveModelsThatAnyContainerHolds) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool);
  const SourceModel source = SourceModel::open(model);
  quantize(model, "q8_0", "hadamard:fold", "out.gguf");
  EXPECT_LT(relative_difference(logits_of(SourceModel::open(scratch_ / "out.gguf")), logits_of(source)), 0.05);
  // Both: what is not folded is recorded, and nothing is rotated twice.
  quantize(model, "int8:row", "hadamard:both", "both");
  const SourceModel both = SourceModel::open(scratch_ / "both");
  EXPECT_LT(relative_difference(logits_of(both), logits_of(source)), 0.05);
  for (const ModelTensor& part : both.parts().all())
    EXPECT_EQ(both.stored(part).values.parts() != nullptr, part.part == "down") << part.part;
  // A stock container cannot record what is not folded.
  EXPECT_NE(error_of([&] { quantize(model, "q8_0", "hadamard:both", "two.gguf"); }).second.find("cannot record"),
            std::string::npos);
}

TEST_F(FoldedRotations, TouchNothingBesideTheOutput) {
  // What others have called as the output and a bit: notes, and the model that is read.
  const std::filesystem::path notes = scratch_ / "q.rotated" / "notes.txt";
  std::filesystem::create_directory(notes.parent_path());
  std::ofstream(notes) << "mine";
  const std::filesystem::path model = small_synth(scratch_, machine_.pool);
  const std::filesystem::path source = scratch_ / "p.rotated";
  std::filesystem::copy(model, source, std::filesystem::copy_options::recursive);
  quantize(source, "int8:row", "hadamard:fold", "p");
  EXPECT_NO_THROW(SourceModel::open(source));
  quantize(model, "int8:row", "hadamard:fold", "q");
  EXPECT_TRUE(std::filesystem::exists(notes));
  EXPECT_FALSE(leaves_partials());
  // The result tells of the model, not of what lay beside it meanwhile.
  std::ifstream file(scratch_ / "q" / "README.md");
  const std::string card((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(card.find("base_model: \"small\""), std::string::npos) << card;
  EXPECT_EQ(card.find("partial"), std::string::npos) << card;
}

TEST_F(FoldedRotations, WhatWasKilledIsTidiedUp) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool);
  const std::filesystem::path left = scratch_ / "q.partial-2147483647-rotated";
  std::filesystem::copy(model, left, std::filesystem::copy_options::recursive);
  quantize(model, "int8:row", "hadamard:fold", "q");
  EXPECT_FALSE(std::filesystem::exists(left));
}

TEST_F(FoldedRotations, ArePlannedAsTheyAreWritten) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool);  // tied
  for (const std::string output : {"planned", "planned.gguf"})
    for (const bool leaves_some : {false, true}) {
      QuantizeModelOptions options;
      choose_format(options, "q8_0");
      options.transform = "hadamard:fold";
      options.output = scratch_ / output;
      options.embedding = "q5_0";
      options.head = "q6_k";
      if (leaves_some) options.exclude = {"*down*"};
      options.dry_run = true;
      const QuantizeSummary planned = quantize_model(SourceModel::open(model), options, machine_, {});
      options.dry_run = false;
      const QuantizeSummary written = quantize_model(SourceModel::open(model), options, machine_, {});
      EXPECT_EQ(planned.tensor_bytes, written.tensor_bytes) << output;
      EXPECT_NEAR(static_cast<double>(planned.output_bytes), static_cast<double>(written.output_bytes), 256) << output;
      ASSERT_EQ(planned.tensors.size(), written.tensors.size()) << output;
      for (std::size_t i = 0; i < written.tensors.size(); ++i) {
        EXPECT_EQ(planned.tensors[i].name, written.tensors[i].name) << output;
        EXPECT_EQ(planned.tensors[i].format, written.tensors[i].format) << written.tensors[i].name;
      }
    }
}

TEST_F(FoldedRotations, TakeMemoryForAMatrix) {
  const SourceModel source = SourceModel::open(data_directory() / "tiny_qwen2");
  std::uint64_t largest = 0;
  for (const ModelTensor& tensor : source.parts().all()) {
    const TensorSource& values = source.stored(tensor).values;
    largest = std::max(largest, values.rows() * values.cols() * sizeof(float));
  }
  EXPECT_NO_THROW(require_rotation_memory(source, largest));
  EXPECT_NE(error_of([&] { require_rotation_memory(source, largest - 1); }).second.find("a matrix is rotated whole"),
            std::string::npos);
}

TEST_F(FoldedRotations, SayWhatNoBlockFits) {
  // 72 channels: blocks of 8 at most.
  const std::string refusal =
      error_of([&] { quantize(data_directory() / "tiny_tied", "int8:row", "hadamard:fold", "odd"); }).second;
  EXPECT_NE(refusal.find("its 72 channels have no power of two of 16 or more in them; nor can its readers' inputs"),
            std::string::npos)
      << refusal;
  const auto note_of = [](const QuantizeSummary& made, const std::string& text) {
    const auto found =
        std::ranges::find_if(made.notes, [&](const std::string& note) { return note.find(text) != std::string::npos; });
    return found == made.notes.end() ? "" : *found;
  };
  const QuantizeSummary both = quantize(data_directory() / "tiny_tied", "int8:row", "hadamard:both", "both");
  EXPECT_NE(note_of(both, "nor are its readers' inputs"), "");
  EXPECT_NE(note_of(both, "heads of 24 channels have no power of two of 16 or more"), "");
  const QuantizeSummary run = quantize(data_directory() / "tiny_tied", "int8:row", "hadamard", "run");
  EXPECT_NE(note_of(run, "are not rotated: their columns (72 in '").find("the inputs of 12 of 14 matrices"),
            std::string::npos)
      << note_of(run, "are not rotated");
}

}  // namespace
}  // namespace nibble
