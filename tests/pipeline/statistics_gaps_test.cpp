// SPDX-License-Identifier: Apache-2.0
//
// Statistics that do not tell of every tensor, and calibration that is too little.
#include <gtest/gtest.h>

#include <algorithm>

#include "calibrate/imatrix_file.h"
#include "kernels/chosen_isa.h"
#include "nibble/error.h"
#include "pipeline/models.h"
#include "pipeline/quantize/calibrate_model.h"

namespace nibble {
namespace {

class StatisticsGaps : public ::testing::Test {
 protected:
  Statistics statistics() {
    std::string text;
    for (int i = 0; i < 60; ++i) text += "Line number " + std::to_string(i) + " of the text, and a word more.\n";
    const std::vector<CalibrationText> texts = {{"t", text}};
    return calibrate_model(SourceModel::open(model_), texts, {.sampling = {.samples = 0, .length = 64}}, machine_)
        .statistics;
  }
  QuantizeModelOptions options(const Statistics& given, const std::string& method = "imatrix") const {
    QuantizeModelOptions result{.recipe = find_recipe("q4_0"), .method = method, .output = scratch_ / "out.gguf"};
    result.calibration.statistics = &given;
    return result;
  }
  QuantizeSummary quantize(const QuantizeModelOptions& request) {
    return quantize_model(SourceModel::open(model_), request, machine_, {});
  }
  static bool says(const QuantizeSummary& summary, const std::string& words) {
    return std::ranges::any_of(summary.warnings,
                               [&](const std::string& line) { return line.find(words) != std::string::npos; });
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  std::filesystem::path model_ = small_synth(scratch_, machine_.pool, 64);
};

TEST_F(StatisticsGaps, MissingTensorsAreNamed) {
  Statistics given = statistics();
  EXPECT_TRUE(quantize(options(given)).uninformed.empty());
  std::erase_if(given.sites, [](const SiteStatistics& site) { return site.layer == 1 && site.site == "attention_in"; });
  for (const bool dry : {true, false}) {
    QuantizeModelOptions request = options(given);
    request.dry_run = dry;
    const QuantizeSummary summary = quantize(request);
    EXPECT_EQ(summary.uninformed,
              (std::vector<std::string>{"blk.1.attn_q.weight", "blk.1.attn_k.weight", "blk.1.attn_v.weight"}));
    EXPECT_TRUE(says(summary,
                     "the statistics have nothing of 3 tensors, which are rounded as if all columns mattered alike: "
                     "blk.1.attn_q.weight"));
    request.strict = true;
    EXPECT_NE(error_of([&] { quantize(request); }).find("the statistics have nothing of 3 tensors"), std::string::npos);
  }
  EXPECT_TRUE(quantize(options(given, "rtn")).uninformed.empty());  // which does not ask
}

// Mean squares alone make it another method, whatever it is called.
TEST_F(StatisticsGaps, AMethodThatNeedsSecondMomentsIsRefusedWithoutThem) {
  const Statistics given = statistics();
  for (const char* method : {"gptq", "descent"})
    for (const bool dry : {true, false}) {
      QuantizeModelOptions request = options(given, method);
      request.dry_run = dry;
      try {
        quantize(request);
        ADD_FAILURE() << method;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::unusable_input);
        EXPECT_STREQ(error.setting(), "second_moments");
        EXPECT_NE(std::string_view(error.what()).find("hold their mean squares only"), std::string_view::npos)
            << error.what();
      }
      EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.gguf"));
    }
  EXPECT_NO_THROW(quantize(options(given, "awq")));  // which can do with mean squares
}

// llama.cpp's importance matrices have no row for it unless asked.
TEST_F(StatisticsGaps, TheOutputMatrixAloneIsNoFault) {
  Statistics given = statistics();
  ASSERT_EQ(std::erase_if(given.sites, [](const SiteStatistics& site) { return site.site == "head_in"; }), 1u);
  QuantizeModelOptions request = options(given);
  request.strict = true;
  const QuantizeSummary summary = quantize(request);
  EXPECT_EQ(summary.uninformed.size(), 1u);
  EXPECT_TRUE(says(summary, "the statistics have nothing of the output matrix"));
  std::erase_if(given.sites, [](const SiteStatistics& site) { return site.layer == 0 && site.site == "mlp_in"; });
  EXPECT_NE(error_of([&] { quantize(request); }).find("nothing of 2 tensors"), std::string::npos);
}

TEST_F(StatisticsGaps, ZerosAreSaidAndDecideNothing) {
  Statistics given = statistics();
  Statistics without = given;
  for (SiteStatistics& site : given.sites)
    if (site.layer == 0 && site.site == "mlp_in") std::ranges::fill(site.mean_square, 0.0F);
  std::erase_if(without.sites, [](const SiteStatistics& site) { return site.layer == 0 && site.site == "mlp_in"; });
  const QuantizeSummary summary = quantize(options(given));
  EXPECT_EQ(summary.uninformed, (std::vector<std::string>{"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"}));
  EXPECT_TRUE(says(summary, "the statistics saw nothing but zeros of 2 tensors"));
  for (const TensorSummary& tensor : summary.tensors)
    if (tensor.error) {
      EXPECT_GT(tensor.error->stored, 1e-6) << tensor.name;
    }
  const SourceModel zeros = SourceModel::open(scratch_ / "out.gguf");
  QuantizeModelOptions request = options(without);
  request.output = scratch_ / "without.gguf";
  quantize(request);
  const SourceModel nothing = SourceModel::open(scratch_ / "without.gguf");
  EXPECT_EQ(zeros.tensor("blk.0.ffn_up.weight").values.decode(), nothing.tensor("blk.0.ffn_up.weight").values.decode());
}

TEST_F(StatisticsGaps, ImportanceMatricesAreReadUnderAnyName) {
  const Statistics given = statistics();
  const SourceModel source = SourceModel::open(model_);
  for (const char* written : {"a.gguf", "a.dat", "a.stats"}) {
    save_statistics(given, source, scratch_ / written);
    for (const char* name : {"b.dat", "b.gguf", "b.imatrix", "b"}) {
      std::filesystem::rename(scratch_ / written, scratch_ / name);
      EXPECT_EQ(load_statistics(scratch_ / name, source).sites.size(), given.sites.size())
          << written << " named " << name;
      std::filesystem::rename(scratch_ / name, scratch_ / written);
    }
  }
}

TEST_F(StatisticsGaps, TooLittleCalibrationIsSaidWhateverItComesFrom) {
  Statistics given = statistics();
  EXPECT_FALSE(says(quantize(options(given)), "fewer vectors than columns"));
  for (SiteStatistics& site : given.sites) site.count = 5;
  EXPECT_TRUE(says(quantize(options(given)), "fewer vectors than columns (5 for "));
  std::string text;
  for (int i = 0; i < 4; ++i) text += "A line of a text that is short.\n";
  for (const char* method : {"imatrix", "gptq"}) {
    QuantizeModelOptions request{.recipe = find_recipe("q4_0"), .method = method, .output = scratch_ / "out.gguf"};
    request.calibration.texts = {{"t", text}};
    request.calibration.sampling = {.samples = 100, .length = 16};
    const QuantizeSummary summary = quantize(request);
    EXPECT_TRUE(says(summary, "fewer than the 100 samples asked for")) << method;
    EXPECT_TRUE(says(summary, "vectors")) << method;
  }
  QuantizeModelOptions request{.output = scratch_ / "out"};
  choose_format(request, "int8:row+a8:static");
  request.calibration.texts = {{"t", text}};
  request.calibration.sampling = {.samples = 100, .length = 16};
  EXPECT_TRUE(says(quantize(request), "fewer than the 100 samples asked for"));
}

}  // namespace
}  // namespace nibble
