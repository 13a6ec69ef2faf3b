// SPDX-License-Identifier: Apache-2.0
#include "report/glossary.h"

#include <gtest/gtest.h>

#include <set>

#include "pipeline/judge/judge_tasks.h"
#include "quantize/fit/fit_rule.h"
#include "quantize/method.h"
#include "quantize/transform/transform.h"
#include "train/estimator/estimator.h"

namespace nibble {
namespace {

TEST(Glossary, HasEveryMethodFitAndTask) {
  for (const Method& method : list_methods()) EXPECT_NE(find_term(method.name), nullptr) << method.name;
  for (const Estimator* const estimator : list_estimators())
    EXPECT_NE(find_term(estimator->name()), nullptr) << estimator->name();
  for (const NamedFit& fit : list_fits()) EXPECT_NE(find_term(fit.name), nullptr) << fit.name;
  for (const Transform& transform : list_transforms()) {
    if (transform.rule != Transform::Rule::none) {
      EXPECT_NE(find_term(transform.name), nullptr) << transform.name;
    }
    for (const Language language : {Language::english, Language::chinese})
      EXPECT_NE(find_term("transform")->text.in(language).find(transform.name), std::string_view::npos)
          << transform.name;
  }
  for (const std::string& task : list_task_names()) {
    EXPECT_NE(find_term(task), nullptr) << task;
    for (const Language language : {Language::english, Language::chinese})
      EXPECT_NE(find_term("tasks")->text.in(language).find(task), std::string_view::npos) << task;
  }
}

TEST(Glossary, NamesAreUniqueAndBothLanguagesAreThere) {
  std::set<std::string_view> names;
  for (const Term& term : all_terms()) {
    EXPECT_TRUE(names.insert(term.name).second) << term.name;
    EXPECT_EQ(find_topic(term.name), nullptr) << term.name;
    for (const std::string_view other : term.other_names) EXPECT_TRUE(names.insert(other).second) << other;
    EXPECT_GT(term.text.english.size(), 20u) << term.name;
    EXPECT_GT(term.text.chinese.size(), 20u) << term.name;
    EXPECT_NE(term.text.english, term.text.chinese);
  }
  EXPECT_EQ(find_term("Perplexity"), find_term("ppl"));
  EXPECT_EQ(find_term("nonsense"), nullptr);
}

}  // namespace
}  // namespace nibble
