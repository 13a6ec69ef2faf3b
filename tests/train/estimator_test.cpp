// SPDX-License-Identifier: Apache-2.0
//
// Estimators against the numbers of tools/reference_estimators.py.
#include "train/estimator/estimator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "nibble/error.h"

namespace nibble {
namespace {

nlohmann::json reference() {
  std::ifstream file(NIBBLE_SOURCE_DIR "/tests/data/train/estimators.json");
  return nlohmann::json::parse(file);
}

TEST(Estimator, ValuesAndSlopesAreThoseOfPyTorch) {
  const auto known = reference();
  std::set<std::string> seen;
  for (const auto& expected : known["cases"]) {
    const Estimator& estimator = find_estimator(expected["estimator"].get<std::string>());
    const std::string name = std::string(estimator.name()) + " " + expected["format"].get<std::string>();
    seen.insert(std::string(estimator.name()));
    std::vector<float> masters = known["masters"].get<std::vector<float>>();
    for (float& master : masters) master *= expected["stretch"].get<float>();
    const CodePoints points = code_points(*find_format(expected["format"].get<std::string>()));
    ASSERT_EQ(estimator.refusal(points), "") << name;
    const MasterRun run{points, masters};
    const std::vector<float> scales = expected["scales"].get<std::vector<float>>();
    ASSERT_EQ(scales.size(), estimator.num_scales()) << name;
    float found[kMostScales] = {};
    estimator.find_scales(run, scales[0], found);
    if (!estimator.learns_scales()) {
      EXPECT_NEAR(found[0], scales[0], 1e-7) << name;
    }
    std::vector<float> values(masters.size());
    estimator.values(run, scales.data(), values);
    std::vector<float> slopes = known["slopes"].get<std::vector<float>>();
    double by_scales[kMostScales] = {};
    estimator.gradient(run, scales.data(), slopes, by_scales);
    for (std::size_t i = 0; i < values.size(); ++i) {
      // A product or a sum of two, each rounded once.
      EXPECT_NEAR(values[i], expected["values"][i].get<double>(), 4e-7 * std::fabs(scales[0]) * 128)
          << name << ' ' << i;
      EXPECT_NEAR(slopes[i], expected["by_masters"][i].get<double>(), 1e-6) << name << ' ' << i;
    }
    ASSERT_EQ(expected["by_scales"].size(), estimator.learns_scales() ? scales.size() : 0) << name;
    for (std::size_t i = 0; i < expected["by_scales"].size(); ++i)
      EXPECT_NEAR(by_scales[i], expected["by_scales"][i].get<double>(), 2e-5) << name << ' ' << i;
  }
  for (const Estimator* const estimator : list_estimators())
    EXPECT_TRUE(seen.contains(std::string(estimator->name()))) << estimator->name() << " has no numbers to be held to";
}

TEST(Estimator, PointsAreThoseOfTheFormat) {
  const auto points = [](const char* format) { return code_points(*find_format(format)).points; };
  EXPECT_EQ(points("int2:g64:half"), (std::vector<float>{-1.5F, -0.5F, 0.5F, 1.5F}));
  EXPECT_EQ(points("int2:g64"), (std::vector<float>{-2, -1, 0, 1}));
  EXPECT_EQ(points("int3:g128:signed"), (std::vector<float>{-4, -3, -2, -1, 0, 1, 2, 3}));
  EXPECT_EQ(points("ternary:tensor"), (std::vector<float>{-1, 0, 1}));
  EXPECT_EQ(points("tq1_0"), (std::vector<float>{-1, 0, 1}));
  EXPECT_EQ(points("tq2_0"), points("tq1_0"));
  EXPECT_EQ(points("binary:g32"), (std::vector<float>{-1, 1}));
  EXPECT_EQ(points("q4_0").front(), -8);
  EXPECT_EQ(points("q4_0").size(), 16u);
  EXPECT_EQ(points("int8:row").front(), -127);
  const CodePoints normal = code_points(*find_format("nf4:g64"));
  EXPECT_EQ(normal.step, 0);
  for (std::size_t i = 0; i + 1 < normal.points.size(); ++i) {
    const float a = normal.points[i], b = normal.points[i + 1];
    EXPECT_EQ(normal.nearest(a + 0.49F * (b - a)), a);
    EXPECT_EQ(normal.nearest(a + 0.51F * (b - a)), b);
  }
  EXPECT_EQ(normal.nearest(-9), -1);
  EXPECT_EQ(normal.nearest(9), 1);
}

TEST(Estimator, RefusesWhatIsNotTrained) {
  const auto refused = [](const char* format) {
    try {
      code_points(*find_format(format));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refused("q4_k").find("more than a scale"), std::string::npos);
  EXPECT_NE(refused("int4:g32:asym").find("more than a scale"), std::string::npos);
  EXPECT_NE(refused("bf16").find("codes times a scale"), std::string::npos);
  EXPECT_NE(refused("fp8:block128x128").find("blocks of rows and columns"), std::string::npos);
  EXPECT_NE(absmean_estimator().refusal(code_points(*find_format("int4:row"))), "");
  EXPECT_NE(twn_estimator().refusal(code_points(*find_format("binary:row"))), "");
  EXPECT_NE(bwn_estimator().refusal(code_points(*find_format("ternary:row"))), "");
  EXPECT_NE(seq_estimator().refusal(code_points(*find_format("binary:row"))), "");
  EXPECT_NE(ttq_estimator().refusal(code_points(*find_format("ternary:row"))), "");
  for (const Estimator* const estimator : list_estimators()) {
    EXPECT_EQ(estimator->refusal(code_points(*find_format("table2:row"))).empty(), estimator->name() == "ttq");
  }
  EXPECT_NE(refused("table3:row").find("more than a scale"), std::string::npos);
  EXPECT_NE(seq_estimator().refusal(code_points(*find_format("nf4:g64"))), "");
  EXPECT_THROW(find_estimator("nothing"), Error);
}

}  // namespace
}  // namespace nibble
