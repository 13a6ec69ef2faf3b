// SPDX-License-Identifier: Apache-2.0
//
// One pass tells as much as a pass for each question would.
#include "pipeline/quantize/source_survey.h"

#include <algorithm>

#include "model/tiny_models.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

TEST(SourceSurvey, AnswersWhatIsAskedWithAnyNumberOfThreads) {
  const SourceModel source = SourceModel::open(data_directory() / "tiny_gqa_llama3rope");
  std::vector<const StoredTensor*> matrices;
  for (const StoredTensor& tensor : source.tensors())
    if (tensor.shape.size() > 1) matrices.push_back(&tensor);
  ThreadPool one(1), two(2);
  const SourceSurvey hash = survey_source(source, {}, one);
  EXPECT_EQ(hash.hash.size(), 16u);
  EXPECT_TRUE(hash.peaks.empty());
  const SourceSurvey peaks = survey_source(source, {.hash = false, .peaks = matrices}, one);
  EXPECT_EQ(peaks.hash, "");
  const SourceSurvey both = survey_source(source, {.hash = true, .peaks = matrices}, two);
  EXPECT_EQ(both.hash, hash.hash);
  ASSERT_EQ(both.peaks.size(), matrices.size());
  for (const StoredTensor* const tensor : matrices) {
    const WeightPeak expected = peak_of(tensor->values);
    for (const SourceSurvey* const survey : {&peaks, &both}) {
      EXPECT_EQ(survey->peaks.at(tensor).magnitude, expected.magnitude) << tensor->name;
      EXPECT_EQ(survey->peaks.at(tensor).row, expected.row) << tensor->name;
      EXPECT_EQ(survey->peaks.at(tensor).column, expected.column) << tensor->name;
    }
  }
}

TEST(SourceSurvey, TheHashIsOfEveryTensorsBytes) {
  ScratchDirectory scratch;
  ThreadPool pool(2);
  EditableModel model = EditableModel::read(data_directory() / "tiny_tied");
  model.write(scratch / "a");
  const std::string before = survey_source(SourceModel::open(scratch / "a"), {}, pool).hash;
  model.tensors.at("model.norm.weight").bytes.back() ^= 1;
  model.write(scratch / "b");
  EXPECT_NE(survey_source(SourceModel::open(scratch / "b"), {}, pool).hash, before);
}

TEST(SourceSurvey, OnlyMatricesThatMayOverflowAreAskedFor) {
  const SourceModel source = SourceModel::open(data_directory() / "tiny_gqa_llama3rope");
  const auto count = [&](const char* format) {
    QuantizeModelOptions options{.recipe = find_recipe(format), .output = {}, .dry_run = true};
    return peaks_to_find(plan_quantization(source, options)).size();
  };
  EXPECT_EQ(count("f32"), 0u);
  EXPECT_EQ(count("bf16"), 0u);
  EXPECT_EQ(count("q8_0"), static_cast<std::size_t>(std::ranges::count_if(
                               source.tensors(), [](const StoredTensor& tensor) { return tensor.shape.size() > 1; })));
}

}  // namespace
}  // namespace nibble
