// SPDX-License-Identifier: Apache-2.0
//
// The keys that scripts rely on.
#include "report/json_report.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <tuple>

namespace nibble {
namespace {

std::set<std::string> keys(const Json& json) {
  std::set<std::string> result;
  for (const auto& [key, value] : json.items()) result.insert(key);
  return result;
}

TEST(JsonReport, SpeedKeys) {
  const Json json = to_json(Speed{"pp512", 512, 1, 100.5, 2.5, {98, 100.5, 103}});
  EXPECT_EQ(keys(json), (std::set<std::string>{"test", "sequences", "tokens_per_second", "spread", "samples"}));
  EXPECT_EQ(json["test"], "pp512");
  EXPECT_EQ(json["tokens_per_second"], 100.5);
  EXPECT_EQ(json["spread"], 2.5);
}

TEST(JsonReport, SubstitutionsAreListed) {
  QuantizeSummary summary;
  for (const auto& [name, format, wanted] : {std::tuple{"a", "q8_0", ""}, std::tuple{"b", "f16", "q4_k"}}) {
    TensorSummary& tensor = summary.tensors.emplace_back();
    tensor.name = name;
    tensor.format = format;
    tensor.wanted = wanted;
    tensor.obstacle = tensor.wanted.empty() ? Obstacle::none : Obstacle::magnitude;
  }
  const Json json = to_json(summary);
  EXPECT_FALSE(json["tensors"][0].contains("wanted"));
  EXPECT_FALSE(json["tensors"][0].contains("obstacle"));
  EXPECT_EQ(json["tensors"][1]["wanted"], "q4_k");
  EXPECT_EQ(json["tensors"][1]["obstacle"], "magnitude");
}

TEST(JsonReport, NumbersThatJsonLacksBecomeNull) {
  EXPECT_EQ(json_text({{"x", std::numeric_limits<double>::infinity()}, {"y", "\xff"}}),
            "{\n  \"x\": null,\n  \"y\": \"\xEF\xBF\xBD\"\n}\n");
}

}  // namespace
}  // namespace nibble
