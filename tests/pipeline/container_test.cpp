// SPDX-License-Identifier: Apache-2.0
//
// The list of containers: what each holds can be read back, what it cannot hold is refused, and names decide where they
// are given.
#include "pipeline/export/container.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include <set>

#include "io/onnx/onnx_model.h"
#include "nibble/error.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

class Containers : public ::testing::Test {
 protected:
  QuantizeModelOptions options(const char* format, const std::filesystem::path& output,
                               const std::string& container = "") const {
    QuantizeModelOptions result{.recipe = find_recipe(format), .output = output};
    result.container = container;
    return result;
  }
  void quantize(const QuantizeModelOptions& request) {
    quantize_model(SourceModel::open(model_), request, machine_, {});
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  std::filesystem::path model_ = small_synth(scratch_, machine_.pool);
};

TEST_F(Containers, HaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const Container* const container : list_containers()) {
    EXPECT_TRUE(names.insert(container->name()).second) << container->name();
    EXPECT_FALSE(container->description().empty());
    EXPECT_EQ(&find_container(container->name()), container);
  }
  EXPECT_EQ(error_of([] { find_container("tensorrt"); }),
            "TensorRT is a program, not a container: write onnx, for tensorrt");
  EXPECT_EQ(error_of([] { find_container("exl2"); }), "unknown container 'exl2'; known are " + container_names());
}

TEST_F(Containers, EndingsChooseThem) {
  EXPECT_EQ(container_of("a/OUT.GGUF").name(), "gguf");
  EXPECT_EQ(container_of("a/out").name(), "nibble");
  EXPECT_EQ(container_of("a/out.v2").name(), "nibble");
  EXPECT_NE(error_of([] { container_of("a/out.safetensors"); }).find("leave the extension away"), std::string::npos);
}

// A format is held, and then read back as it was written, or refused before anything is written.
TEST_F(Containers, HoldEveryFormatOrRefuseIt) {
  for (const Container* const container : list_containers()) {
    if (container->name().starts_with("onnx") && !has_onnx()) continue;
    for (const char* format : {"q8_0", "q4_k", "int4:g32", "nf4:g64", "f16"}) {
      const std::filesystem::path output = scratch_ / (std::string(container->name()) + "-out");
      const bool is_held =
          container
              ->refusal({"model.layers.0.mlp.down_proj.weight", {256, 256}, find_format(format)}, TensorRole::linear)
              .empty();
      if (is_held)
        quantize(options(format, output, std::string(container->name())));
      else
        EXPECT_NE(error_of([&] { quantize(options(format, output, std::string(container->name()))); }), "")
            << container->name() << " " << format;
      EXPECT_EQ(std::filesystem::exists(output), is_held) << container->name() << " " << format;
      if (!is_held) continue;
      EXPECT_EQ(std::filesystem::is_regular_file(output), container->is_file());
      const SourceModel written = SourceModel::open(output);
      EXPECT_EQ(written.spelling(), container->naming());
      // ONNX graphs have scales in f32.
      const std::string& read = written.stored(*written.parts().part("down", 0)).values.format()->name();
      EXPECT_TRUE(read == format || read == std::string(format) + ":f32") << read;
      std::filesystem::remove_all(output);
    }
  }
}

// Static grids of a method that folds are written in a second step.
TEST_F(Containers, ANameHoldsInBothSteps) {
  QuantizeModelOptions request = options("q8_0", scratch_ / "plain", "gguf");
  request.method = "smoothquant";
  request.activations.emplace();
  request.activations->format = parse_activation_format("a8:static");
  request.calibration.texts = {{"t", std::string(4000, 'x')}};
  request.calibration.sampling = {.samples = 2, .length = 32};
  quantize(request);
  ASSERT_TRUE(std::filesystem::is_regular_file(scratch_ / "plain"));
  EXPECT_EQ(SourceModel::open(scratch_ / "plain").spelling(), Spelling::gguf);
}

// Rows of q and k lie in another order in the other container.
TEST_F(Containers, UnfinishedPiecesBelongToOneOfThem) {
  const ScratchDirectory narrow;
  model_ = small_synth(narrow, machine_.pool, 64);
  QuantizeModelOptions request = options("q8_0", scratch_ / "out", "nibble");
  request.method = "gptq";
  request.calibration.texts = {{"t", std::string(4000, 'x')}};
  request.calibration.sampling = {.samples = 2, .length = 32};
  QuantizeModelOptions stopped = request;
  stopped.judge = [](const std::filesystem::path&) { throw Error(ErrorKind::cancelled, "stopped"); };
  EXPECT_EQ(error_of([&] { quantize(stopped); }), "stopped");
  ASSERT_TRUE(std::filesystem::exists(unfinished_work(request.output)));
  request.container = "gguf";
  quantize(request);
  request.output = scratch_ / "fresh.gguf";
  quantize(request);
  EXPECT_EQ(read_text(scratch_ / "out"), read_text(scratch_ / "fresh.gguf"));
}

TEST_F(Containers, ANameCountsMoreThanAnEnding) {
  quantize(options("q8_0", scratch_ / "directory.gguf", "nibble"));
  EXPECT_TRUE(std::filesystem::is_directory(scratch_ / "directory.gguf"));
  quantize(options("q8_0", scratch_ / "file", "gguf"));
  EXPECT_EQ(SourceModel::open(scratch_ / "file").spelling(), Spelling::gguf);
}

}  // namespace
}  // namespace nibble
