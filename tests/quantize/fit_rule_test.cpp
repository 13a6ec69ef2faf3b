// SPDX-License-Identifier: Apache-2.0
#include "quantize/fit/fit_rule.h"

#include <gtest/gtest.h>

#include <set>

#include "nibble/error.h"

namespace nibble {
namespace {

std::string refusal(std::string_view spelling) {
  try {
    find_fit(spelling);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(FitRule, EveryRuleHasAName) {
  std::set<FitRule> rules;
  for (const NamedFit& fit : list_fits()) {
    EXPECT_TRUE(rules.insert(fit.rule).second) << fit.name;
    EXPECT_EQ(find_fit(fit.name).rule, fit.rule);
    EXPECT_EQ(fit_name(fit.rule), fit.name);
    EXPECT_FALSE(fit.description.empty());
  }
  EXPECT_EQ(rules.size(), static_cast<std::size_t>(FitRule::threshold) + 1);
}

TEST(FitRule, PercentileTakesAShare) {
  EXPECT_EQ(find_fit("percentile").percentile, 99.9);
  EXPECT_EQ(find_fit("percentile:97.5").percentile, 97.5);
  EXPECT_EQ(find_fit("percentile:100").percentile, 100);
  EXPECT_EQ(fit_spelling(find_fit("percentile:97.5")), "percentile:97.5");
  EXPECT_EQ(fit_spelling(find_fit("search")), "search");
}

TEST(FitRule, RefusalsSayWhatIsWrong) {
  for (const char* wrong : {"percentile:", "percentile:0", "percentile:100.1", "percentile:-1", "percentile:9x",
                            "percentile:nan", "search:3"})
    EXPECT_EQ(
        refusal(wrong),
        std::string("only percentile takes a number, above 0 and up to 100, as in percentile:99.5: '") + wrong + "'");
  EXPECT_EQ(refusal("best"),
            "unknown fit 'best'; known are auto, absmax, minmax, search, percentile, entropy, absmean, threshold");
}

}  // namespace
}  // namespace nibble
