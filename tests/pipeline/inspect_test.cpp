// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/inspect.h"
#include "kernels/chosen_isa.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/tiny_models.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

TEST(Inspect, DescribesBothContainers) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  quantize_to(kGroupedModel, "q8_0", scratch / "m.gguf", machine);
  for (const auto& path : {kGroupedModel, scratch / "m.gguf"}) {
    const ModelInfo info = describe_model(SourceModel::open(path));
    EXPECT_EQ(info.architecture, "llama");
    EXPECT_EQ(info.layers, 2u);
    EXPECT_EQ(info.hidden, 64u);
    EXPECT_EQ(info.vocabulary, 256u);
    EXPECT_EQ(info.bytes, std::filesystem::file_size(path == kGroupedModel ? path / "model.safetensors" : path));
  }
  // 2 * 256 * 64 + 2 * (64 * 64 * 2 + 32 * 64 * 2 + 3 * 64 * 96 + 2 * 64) + 64, counted by hand.
  EXPECT_EQ(describe_model(SourceModel::open(kGroupedModel)).parameters, 94528u);
}

TEST(Inspect, SaysWhyAModelCannotBeRun) {
  EXPECT_EQ(describe_model(SourceModel::open(kGroupedModel)).obstacle, "");
  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(kGroupedModel);
  model.config["rope_scaling"] = {{"rope_type", "dynamic"}, {"factor", 2.0}};
  model.write(scratch.path());
  const ModelInfo info = describe_model(SourceModel::open(scratch.path()));
  EXPECT_EQ(info.layers, 0u);
  EXPECT_NE(info.obstacle.find("rope_scaling.rope_type: dynamic"), std::string::npos) << info.obstacle;
}

TEST(Inspect, StatisticsOfKnownNumbers) {
  ScratchDirectory scratch;
  const auto model =
      edited_copy(kGroupedModel, "model.layers.0.mlp.up_proj.weight", scratch / "m", [](std::span<float> values) {
        // Half -1, half +1; then one value that stands out and one that is no number.
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 2 == 0 ? -1.0f : 1.0f;
        values[100] = 9;
        values[102] = std::nanf("");
      });
  const SourceModel checkpoint = SourceModel::open(model);
  const StoredTensor& tensor = checkpoint.tensor("model.layers.0.mlp.up_proj.weight");
  ThreadPool one(1), four(4);
  const TensorStatistics s = measure_statistics(checkpoint, tensor, one);
  const double n = 96 * 64 - 1, mean = (1 + 9 + 1) / n;  // 3070 times -1, 3072 times 1, one 9
  EXPECT_EQ(s.count, 96u * 64 - 1);
  EXPECT_EQ(s.not_finite, 1u);
  EXPECT_NEAR(s.mean, mean, 1e-12);
  const double variance = (6142 + 81) / n - mean * mean;
  EXPECT_NEAR(s.deviation, std::sqrt(variance), 1e-12);
  const double fourth = (3070 * std::pow(1 + mean, 4) + 3072 * std::pow(1 - mean, 4) + std::pow(9 - mean, 4)) / n;
  EXPECT_NEAR(s.kurtosis, fourth / (variance * variance), 1e-9);
  EXPECT_EQ(s.absmax, 9);
  EXPECT_EQ(s.minimum, -1);
  EXPECT_DOUBLE_EQ(s.asymmetry, 0.8);
  EXPECT_DOUBLE_EQ(s.beyond_6_sigma, 1 / n);
  const TensorStatistics t = measure_statistics(checkpoint, tensor, four);
  EXPECT_EQ(s.mean, t.mean);
  EXPECT_EQ(s.kurtosis, t.kurtosis);
}

TEST(Check, FindsWhatNoWriterShouldHaveStored) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  quantize_to(kGroupedModel, "q8_0", scratch / "m.gguf", machine);
  CheckResult result = check_checkpoint(SourceModel::open(scratch / "m.gguf"), 10, machine.pool, {});
  EXPECT_EQ(result.total, 0u);
  EXPECT_EQ(result.tensors, 22u);  // one of them the rope divisors

  std::string file = read_text(scratch / "m.gguf");
  const StoredTensor tensor = [&] {
    const SourceModel checkpoint = SourceModel::open(scratch / "m.gguf");
    return checkpoint.tensor("blk.0.ffn_up.weight");
  }();
  // Row 7's first scale becomes an infinite half.
  const std::size_t at = tensor.offset + 7 * (64 / 32) * 34;
  file[at] = '\x00';
  file[at + 1] = '\x7c';
  scratch.write("bad.gguf", file);
  result = check_checkpoint(SourceModel::open(scratch / "bad.gguf"), 10, machine.pool, {});
  ASSERT_EQ(result.total, 1u);
  EXPECT_EQ(result.defects[0].tensor, "blk.0.ffn_up.weight");
  EXPECT_EQ(result.defects[0].row, 7u);
  EXPECT_FALSE(result.defects[0].what.empty());
}

// Padding belongs to a file, and whatever comes behind it does not.
TEST(Check, FindsWhatStandsBehindTheLastTensor) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  quantize_to(kGroupedModel, "q8_0", scratch / "m.gguf", machine);
  const std::string file = read_text(scratch / "m.gguf");
  std::uint64_t end = 0;
  const SourceModel source = SourceModel::open(scratch / "m.gguf");
  for (const StoredTensor& tensor : source.tensors()) end = std::max(end, tensor.offset + tensor.bytes);
  const std::uint64_t padded = (end + 31) / 32 * 32;
  const auto check = [&](std::uint64_t size) {
    std::string text = file.substr(0, end);
    text.resize(size, 'x');
    return check_checkpoint(SourceModel::open(scratch.write("other.gguf", text)), 10, machine.pool, {});
  };
  EXPECT_EQ(check(end).total, 0u);
  EXPECT_EQ(check(padded).total, 0u);
  for (const std::uint64_t more : {1, 1000}) {
    const CheckResult result = check(padded + more);
    ASSERT_EQ(result.total, 1u);
    EXPECT_EQ(result.defects[0].file, "other.gguf");
    EXPECT_EQ(result.defects[0].tensor, "");
    EXPECT_EQ(result.defects[0].what,
              fmt::format("goes on behind its last tensor at offset {}: {} bytes too many", padded, more));
  }
}

}  // namespace
}  // namespace nibble
