// SPDX-License-Identifier: Apache-2.0
//
// Distillation changes scales, norms and biases of a file and nothing else, in whichever container it lies; what is
// written is what was judged, and no worse than the beginning.
#include "pipeline/train/distill_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/chosen_isa.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

std::string some_text() {
  std::string text;
  for (int i = 0; i < 80; ++i) text += "Sentence " + std::to_string(i * i) + " of the text, and no other.\n\n\n";
  return text;
}

// All of a matrix's codes, whatever they lie beside.
std::vector<Code> codes_of(const StoredTensor& stored) {
  const Format& format = *stored.values.format();
  const auto cols = static_cast<std::size_t>(stored.values.cols());
  const std::size_t span = format.info().span == 0 ? cols : format.info().span;
  QuantizedTensor room;
  const TensorRows rows = stored.values.read_rows(0, stored.values.rows(), room);
  std::vector<Code> all, codes(span / format.info().unit);
  std::vector<std::byte> grid(format.grid_bytes());
  for (std::uint64_t row = 0; row < stored.values.rows(); ++row)
    for (std::size_t begin = 0; begin < cols; begin += span) {
      const std::size_t columns = std::min(span, cols - begin);
      format.unpack(rows.row(row), begin / span, columns, stored.values.tensor_grid().get(), row, grid.data(),
                    codes.data());
      all.insert(all.end(), codes.begin(), codes.begin() + static_cast<std::ptrdiff_t>(columns / format.info().unit));
    }
  return all;
}

class Distill : public testing::Test {
 protected:
  std::filesystem::path quantized(const std::string& format, const std::string& container,
                                  const std::string& method = "rtn") {
    QuantizeModelOptions options;
    choose_format(options, format);
    options.method = method;
    options.container = container;
    options.output = scratch_ / ("q" + std::to_string(++count_) + (container == "gguf" ? ".gguf" : ""));
    quantize_model(SourceModel::open(model_), options, machine_, {});
    return options.output;
  }
  DistillRequest request(const std::string& output) const {
    DistillRequest request;
    request.text = some_text();
    request.settings.steps = 8;
    request.settings.batch = {.size = 2, .length = 32, .seed = 1};
    request.settings.validate_every = 4;
    request.output = scratch_ / output;
    return request;
  }
  DistillSummary distill(const std::filesystem::path& path, const DistillRequest& request, Machine& machine) const {
    SourceModel model = SourceModel::open(path);
    return distill_model(model, SourceModel::open(model_), request, machine);
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  std::filesystem::path model_ = small_synth(scratch_, machine_.pool);
  int count_ = 0;
};

TEST_F(Distill, ChangesWhatLiesBesideCodesInEveryContainer) {
  const std::pair<const char*, const char*> cases[] = {{"int2:g64", "nibble"},
                                                       {"int3:g64:half", "nibble"},
                                                       {"nf4:g64", "nibble"},
                                                       {"ternary:row", "nibble"},
                                                       {"trellis2:l8", "nibble"},
                                                       {"int4:g32", "gptq"},
                                                       {"int4:g32:asym", "gptq_v2"},
                                                       {"int4:g32:asym", "awq"},
                                                       {"int4:g32:bias", "mlx"},
                                                       {"int4:g32", "compressed-tensors"},
                                                       {"q2_k", "gguf"},
                                                       {"q4_k", "gguf"},
                                                       {"q4_0", "gguf"},
                                                       {"iq4_nl", "gguf"}};
  for (const auto& [format, container] : cases) {
    const std::string where = std::string(format) + " in " + container;
    const std::filesystem::path path = quantized(format, container);
    const bool is_file = std::string_view(container) == "gguf";
    const DistillRequest asked = request("d" + std::to_string(count_) + (is_file ? ".gguf" : ""));
    const DistillSummary summary = distill(path, asked, machine_);
    ASSERT_EQ(summary.judgements.size(), 3u) << where;
    ASSERT_TRUE(summary.kept) << where;
    EXPECT_LE(summary.kept->loss, summary.judgements.front().loss) << where;
    EXPECT_TRUE(summary.left_alone.empty()) << where << ": " << summary.left_alone.front();
    EXPECT_GE(summary.matrices, 14u) << where;
    const SourceModel before = SourceModel::open(path), after = SourceModel::open(asked.output);
    std::size_t changed = 0;
    for (const ModelTensor& part : before.parts().all()) {
      const StoredTensor &one = before.stored(part), &other = after.stored(part);
      ASSERT_EQ(one.values.format()->name(), other.values.format()->name()) << where;
      changed += one.values.decode() != other.values.decode() ? 1 : 0;
      if (part.shape.size() < 2) continue;
      if (one.values.format()->info().kind == FormatKind::raw)
        EXPECT_EQ(one.values.decode(), other.values.decode()) << where << ": " << part.hf_name;
      else
        EXPECT_EQ(codes_of(one), codes_of(other)) << where << ": " << part.hf_name;
    }
    if (summary.kept->step != 0) {
      EXPECT_GT(changed, 0u) << where;
    }
  }
}

TEST_F(Distill, PredictsMoreLikeTheOriginalAndIsWhatWasJudged) {
  DistillRequest asked = request("better");
  asked.settings.steps = 40;
  asked.settings.rate = 0.01;
  const DistillSummary summary = distill(quantized("int2:g64", "nibble"), asked, machine_);
  ASSERT_TRUE(summary.kept);
  EXPECT_LT(summary.kept->loss, 0.97 * summary.judgements.front().loss);
  // Distilled again, it begins where it was.
  DistillRequest again = request("again");
  again.settings.steps = 4;
  const DistillSummary second = distill(asked.output, again, machine_);
  EXPECT_NEAR(second.judgements.front().loss, summary.kept->loss, 1e-6);
}

// In floating point, of as many bytes; what is judged is what is written.
TEST_F(Distill, TrainsTheEmbeddingWhereThatIsAskedFor) {
  const std::filesystem::path path = quantized("trellis2:l8", "nibble");
  DistillRequest asked = request("embedding");
  asked.settings.trains_embedding = true;
  asked.settings.rate = 0.01;
  asked.settings.steps = 16;
  const DistillSummary summary = distill(path, asked, machine_);
  ASSERT_TRUE(summary.kept);
  ASSERT_NE(summary.kept->step, 0u);
  const SourceModel before = SourceModel::open(path), after = SourceModel::open(asked.output);
  const ModelTensor* const embedding = before.parts().part("embedding", -1);
  EXPECT_EQ(before.stored(*embedding).bytes, after.stored(*embedding).bytes);
  EXPECT_NE(before.stored(*embedding).values.decode(), after.stored(*embedding).values.decode());
  DistillRequest again = request("again");
  again.settings.steps = 4;
  EXPECT_NEAR(distill(asked.output, again, machine_).judgements.front().loss, summary.kept->loss, 1e-6);
}

// In codes there is nothing of it to be trained beside them, which is said.
TEST_F(Distill, SaysWhereTheEmbeddingIsInCodes) {
  for (const auto& [format, is_told] : {std::pair("q8_0", true), std::pair("int4:g64", false)}) {
    DistillRequest asked = request("told" + std::to_string(count_) + (is_told ? ".gguf" : ""));
    asked.settings.trains_embedding = true;
    asked.settings.steps = 1;
    bool told = false;
    asked.note = [&](const std::string& note) { told = told || note.find("embedding in floating") != note.npos; };
    EXPECT_EQ(distill(quantized(format, is_told ? "gguf" : "nibble"), asked, machine_).trains_embedding, !is_told);
    EXPECT_EQ(told, is_told) << format;
  }
}

// Codes that are trained are others in the end, of the same formats, and begin as those of the file.
TEST_F(Distill, TrainsCodesWhereThatIsAskedFor) {
  for (const auto& [format, container] : {std::pair("int2:g64", "nibble"), std::pair("int4:g64:asym", "gptq_v2"),
                                          std::pair("q2_k", "gguf"), std::pair("iq4_nl", "gguf")}) {
    const std::filesystem::path path = quantized(format, container);
    DistillRequest asked = request("c" + std::to_string(count_) + path.extension().string());
    const double begun = distill(path, request("b" + std::to_string(count_) + path.extension().string()), machine_)
                             .judgements.front()
                             .loss;
    asked.settings.steps = 40;
    // Codes begin in the middle of theirs: so few steps must be long ones to come out of it at any bits.
    asked.settings.code_rate = 0.03 * std::exp2(find_format(format)->info().bits_per_weight - 2);
    const DistillSummary summary = distill(path, asked, machine_);
    EXPECT_NEAR(summary.judgements.front().loss, begun, 1e-6 * begun) << format;
    EXPECT_LT(summary.kept->loss, 0.95 * begun) << format;
    const SourceModel before = SourceModel::open(path), after = SourceModel::open(asked.output);
    const ModelTensor& part = *before.parts().part("down", 1);
    EXPECT_EQ(before.stored(part).values.format()->name(), after.stored(part).values.format()->name());
    EXPECT_NE(codes_of(before.stored(part)), codes_of(after.stored(part))) << format;
  }
  DistillRequest asked = request("x");
  asked.output += ".gguf";
  asked.settings.code_rate = 0.01;
  const std::filesystem::path vectors = quantized("iq4_nl", "gguf");
  Machine one(chosen_isa(), 1);
  distill(vectors, asked, machine_);
  const std::string two_threads = read_text(asked.output);
  distill(vectors, asked, one);
  EXPECT_TRUE(read_text(asked.output) == two_threads);
}

// Where no step is better than the beginning, that is what is written, bit for bit, and nothing claims to be trained.
TEST_F(Distill, NothingIsToldOfTrainingThatWasNotKept) {
  const std::filesystem::path path = quantized("int2:g64", "nibble");
  DistillRequest asked = request("kept");
  asked.settings.rate = 3;
  asked.settings.code_rate = 3;
  const DistillSummary summary = distill(path, asked, machine_);
  ASSERT_TRUE(summary.kept);
  ASSERT_EQ(summary.kept->step, 0u);
  EXPECT_TRUE(read_text(path / "model.safetensors") == read_text(asked.output / "model.safetensors"));
  EXPECT_EQ(read_text(asked.output / "nibble_manifest.json").find("distilled"), std::string::npos);
  EXPECT_EQ(read_text(asked.output / "README.md").find("Distilled"), std::string::npos);
  // And what is told of training that was kept is what was trained.
  const auto told = [&](const char* name, double code_rate, bool vectors) {
    DistillRequest good = request(name);
    good.settings.steps = 30;
    good.settings.code_rate = code_rate;
    good.settings.trains_vectors = vectors;
    EXPECT_GT(distill(path, good, machine_).kept->step, 0u) << name;
    return read_text(good.output / "README.md");
  };
  EXPECT_NE(told("codes", 0.03, true).find("behind that its codes, the scales of its codes, norms and biases were"),
            std::string::npos);
  EXPECT_NE(told("scales", 0, false).find("behind that the scales of its codes were trained"), std::string::npos);
}

// What cannot be trained is told, and no card says that it was.
TEST_F(Distill, WhatCannotBeTrainedIsNotTold) {
  const auto record = [&](const std::string& format, bool wants_embedding) {
    DistillRequest asked = request("told_" + std::to_string(count_));
    asked.settings.code_rate = 0.03;
    asked.settings.trains_embedding = wants_embedding;
    asked.settings.validate_every = 0;
    std::string notes;
    asked.note = [&](const std::string& note) { notes += note + "\n"; };
    const DistillSummary summary = distill(quantized(format, "nibble"), asked, machine_);
    const auto manifest = nlohmann::json::parse(read_text(asked.output / "nibble_manifest.json"));
    const std::string card = read_text(asked.output / "README.md");
    EXPECT_EQ(manifest["distilled"]["embedding"], summary.trains_embedding);
    EXPECT_EQ(card.find("the embedding were trained") != std::string::npos, summary.trains_embedding) << card;
    EXPECT_EQ(manifest["distilled"]["coded_matrices"], summary.coded);
    EXPECT_EQ(card.find("behind that its codes,") != std::string::npos, summary.coded == summary.matrices) << card;
    EXPECT_EQ(notes.find("stay: those of") == std::string::npos, summary.coded == summary.matrices) << notes;
    return summary;
  };
  const DistillSummary trellis = record("trellis2:l8", false);
  EXPECT_LT(trellis.coded, trellis.matrices);
  const DistillSummary groups = record("int3:g64", true);
  EXPECT_EQ(groups.coded, groups.matrices);
}

// As elsewhere: a name that ends in .gguf is one file, any other a directory.
TEST_F(Distill, TheOutputsNameChoosesTheContainer) {
  DistillRequest asked = request("from_directory.gguf");
  std::string notes;
  asked.note = [&](const std::string& note) { notes += note + "\n"; };
  distill(quantized("q4_0", "nibble"), asked, machine_);
  EXPECT_EQ(notes.find("written in"), std::string::npos) << notes;
  EXPECT_TRUE(std::filesystem::is_regular_file(asked.output));
  EXPECT_EQ(SourceModel::open(asked.output).kind(), ContainerKind::gguf);
  asked = request("from_file");
  distill(quantized("q4_0", "gguf"), asked, machine_);
  EXPECT_TRUE(std::filesystem::is_directory(asked.output));
  asked = request("other.gguf");  // the same numbers in another format
  asked.note = [&](const std::string& note) { notes += note + "\n"; };
  distill(quantized("int4:g32", "nibble"), asked, machine_);
  EXPECT_NE(notes.find("in int4:g32 are written in q4_0"), std::string::npos) << notes;
  asked = request("x.gguf");  // what a GGUF file cannot hold is known before any work
  const std::filesystem::path path = quantized("nf4:g64", "nibble");
  EXPECT_NE(error_of([&] { distill(path, asked, machine_); }), "no error");
  EXPECT_FALSE(std::filesystem::exists(asked.output));
  asked = request("x.onnx");
  EXPECT_NE(error_of([&] { distill(path, asked, machine_); }).find("onnx-genai or onnx"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(asked.output));
}

TEST_F(Distill, HasTheSameBytesOnAnyNumberOfThreads) {
  const std::filesystem::path path = quantized("q4_0", "gguf");
  Machine one(chosen_isa(), 1);
  distill(path, request("two.gguf"), machine_);
  distill(path, request("one.gguf"), one);
  EXPECT_TRUE(read_text(scratch_ / "one.gguf") == read_text(scratch_ / "two.gguf"));
  EXPECT_NE(SourceModel::open(scratch_ / "one.gguf").gguf().string("nibble.manifest")->find("\"distilled\""),
            std::string::npos);
}

// A disk that is full when the output is written, or whoever stops that: the same command goes on to writing.
TEST_F(Distill, WhatStopsTheWritingCostsNoStep) {
  const std::filesystem::path path = quantized("int2:g64", "nibble");
  distill(path, request("whole"), machine_);
  DistillRequest asked = request("out");
  asked.progress = [](const Progress& progress) { return progress.stage == "distill"; };
  EXPECT_NE(error_of([&] { distill(path, asked, machine_); }), "no error");
  EXPECT_FALSE(std::filesystem::exists(asked.output));
  asked.progress = {};
  EXPECT_EQ(distill(path, asked, machine_).resumed_at, asked.settings.steps);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.training"));
  for (const char* const file : {"model.safetensors", "nibble_manifest.json"})
    EXPECT_TRUE(read_text(asked.output / file) == read_text(scratch_ / "whole" / file)) << file;
}

TEST_F(Distill, SaysWhatIsWrong) {
  const std::filesystem::path path = quantized("int4:g32", "nibble");
  const auto wrong = [&](const DistillRequest& asked, const std::string& part,
                         const std::filesystem::path& model = {}) {
    const std::string error = error_of([&] { distill(model.empty() ? path : model, asked, machine_); });
    EXPECT_NE(error.find(part), std::string::npos) << error;
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "x")) << part;
  };
  wrong(request("x"), "no matrix of this model is quantized", model_);
  DistillRequest asked = request("x");
  asked.container = "bitsandbytes";
  wrong(asked, "have no place in the formats");
  asked = request("x");
  asked.settings.batch.size = 1000;
  wrong(asked, "the text is shorter than a batch");
  asked = request("x");
  asked.held_out = 0.001;
  wrong(asked, "the held-out text is shorter than a row");
  asked = request("x");
  asked.settings.batch.length = 1000;
  wrong(asked, "longer than the model's context");
  asked = request("x");
  asked.settings.rate = 1e30;
  wrong(asked, "lower the rate");
  asked = request(path.filename().string());
  wrong(asked, "would take the place of the model that is read");
  const SourceModel other = SourceModel::open(kGroupedModel);
  SourceModel model = SourceModel::open(path);
  const std::string error = error_of([&] { distill_model(model, other, request("x"), machine_); });
  EXPECT_NE(error.find("is not made of"), std::string::npos) << error;
}

}  // namespace
}  // namespace nibble
