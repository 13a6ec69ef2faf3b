// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/model_portrait.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "pipeline/models.h"

namespace nibble {
namespace {

class ModelPortraitTest : public ::testing::Test {
 protected:
  ModelPortrait portrait_of(const std::string& format, const char* output) {
    quantize_to(model, format, scratch / output, machine);
    return portray(SourceModel::open(model), SourceModel::open(scratch / output), {}, machine.pool);
  }

  ScratchDirectory scratch;
  Machine machine{chosen_isa(), 2};
  std::filesystem::path model = small_synth(scratch, machine.pool);
};

TEST_F(ModelPortraitTest, ListsEveryMatrixByLayerAndPart) {
  const ModelPortrait portrait = portrait_of("q4_0", "q4_0.gguf");
  ASSERT_EQ(portrait.tensors.size(), 2u * 7 + 1);
  EXPECT_EQ(portrait.tensors.front().part, "embedding");
  EXPECT_EQ(portrait.tensors.front().layer, -1);
  for (const TensorPortrait& tensor : portrait.tensors) {
    EXPECT_EQ(tensor.format, "q4_0") << tensor.name;
    EXPECT_DOUBLE_EQ(tensor.bits_per_weight, 4.5) << tensor.name;
  }
}

TEST_F(ModelPortraitTest, CountsEveryWeightBeforeAndAfter) {
  for (const auto& [format, output] : {std::pair{"q4_k", "q4_k.gguf"}, {"int3:g64", "int3"}, {"iq2_xs", "iq2.gguf"}}) {
    const ModelPortrait portrait = portrait_of(format, output);
    ASSERT_EQ(portrait.histograms.size(), 4u) << format;  // v and down of both layers
    for (const WeightHistogram& histogram : portrait.histograms) {
      const std::uint64_t expected = histogram.tensor.find("down") != std::string::npos ? 256u * 512 : 128u * 256;
      EXPECT_EQ(std::accumulate(histogram.before.begin(), histogram.before.end(), std::uint64_t{0}), expected)
          << format;
      EXPECT_EQ(std::accumulate(histogram.after.begin(), histogram.after.end(), std::uint64_t{0}), expected) << format;
      EXPECT_LT(histogram.low, histogram.high) << format;
    }
  }
}

TEST_F(ModelPortraitTest, PointsAreWhatTheGroupHolds) {
  const ModelPortrait portrait = portrait_of("int3:g64", "int3");
  const SourceModel candidate = SourceModel::open(scratch / "int3");
  for (const WeightHistogram& histogram : portrait.histograms) {
    EXPECT_EQ(histogram.points.size(), 8u);
    EXPECT_TRUE(std::ranges::is_sorted(histogram.points));
    const QuantizedView& view = *candidate.tensor(histogram.tensor).values.planes();
    std::vector<float> row(view.cols);
    view.decode_row(view.rows / 2, row);
    const std::set<float> points(histogram.points.begin(), histogram.points.end());
    for (std::size_t i = 0; i < 64; ++i) EXPECT_TRUE(points.contains(row[i])) << histogram.tensor << " column " << i;
  }
  for (const WeightHistogram& histogram : portrait_of("f16", "f16.gguf").histograms)
    EXPECT_TRUE(histogram.points.empty());
}

}  // namespace
}  // namespace nibble
