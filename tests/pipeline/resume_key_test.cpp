// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/resume_key.h"

#include <gtest/gtest.h>

#include <set>

namespace nibble {
namespace {

std::string key_of(const QuantizeModelOptions& options) { return resume_key(options, "gguf", "0123456789abcdef"); }

QuantizeModelOptions some_options() {
  QuantizeModelOptions options{.recipe = find_recipe("q4_k_m"), .method = "gptq", .output = "out.gguf"};
  options.calibration.texts = {{"a.txt", "text"}};
  return options;
}

TEST(ResumeKey, EveryChoiceThatDecidesBytesChangesIt) {
  Statistics statistics;
  statistics.sites.resize(1);
  statistics.sites[0].mean_square = {1, 2};
  using Change = void (*)(QuantizeModelOptions&);
  std::set<std::string> keys = {key_of(some_options())};
  std::size_t count = 1;
  for (const Change change : std::initializer_list<Change>{
           [](QuantizeModelOptions& o) { o.recipe = find_recipe("q5_k_m"); },
           [](QuantizeModelOptions& o) { o.activations.emplace(); },
           [](QuantizeModelOptions& o) { o.activations.emplace().format.run = 32; },
           [](QuantizeModelOptions& o) { o.activations.emplace().fit.rule = FitRule::absmax; },
           [](QuantizeModelOptions& o) { o.method = "rtn"; },
           [](QuantizeModelOptions& o) { o.fit = FitOptions{}; },
           [](QuantizeModelOptions& o) { o.fit = FitOptions{.rule = FitRule::percentile, .percentile = 99}; },
           [](QuantizeModelOptions& o) { o.transform = "awq"; },
           [](QuantizeModelOptions& o) { o.round = "gptq"; },
           [](QuantizeModelOptions& o) { o.smoothquant_alpha = 0.5; },
           [](QuantizeModelOptions& o) { o.learning.steps = 7; }, [](QuantizeModelOptions& o) { o.learning.batch = 7; },
           [](QuantizeModelOptions& o) { o.learning.rate = 0.5; },
           [](QuantizeModelOptions& o) { o.include = {"*q*"}; },
           [](QuantizeModelOptions& o) { o.exclude = {"*q*"}; },
           [](QuantizeModelOptions& o) { o.embedding = "q8_0"; },
           [](QuantizeModelOptions& o) { o.head = "q8_0"; },
           [](QuantizeModelOptions& o) { o.calibration.texts[0].text = "other"; },
           [](QuantizeModelOptions& o) { o.calibration.texts.push_back({"b.txt", "text"}); },
           [](QuantizeModelOptions& o) { o.calibration.sampling.samples = 7; },
           [](QuantizeModelOptions& o) { o.calibration.sampling.length = 7; },
           [](QuantizeModelOptions& o) { o.calibration.sampling.seed = 7; },
           [](QuantizeModelOptions& o) { o.calibration.sampling.parse_special = true; },
           [](QuantizeModelOptions& o) { o.calibration.kernels.activations = ActivationMode::f32; },
           [](QuantizeModelOptions& o) { o.calibration.walk = WalkArithmetic::int8; },
           [](QuantizeModelOptions& o) { o.calibration.follow_original = false; }}) {
    QuantizeModelOptions options = some_options();
    change(options);
    EXPECT_TRUE(keys.insert(key_of(options)).second) << count;
    ++count;
  }
  QuantizeModelOptions informed = some_options();
  informed.calibration.statistics = &statistics;
  EXPECT_TRUE(keys.insert(key_of(informed)).second);
  statistics.sites[0].mean_square[1] = 3;
  EXPECT_TRUE(keys.insert(key_of(informed)).second);
  using Touch = void (*)(SiteStatistics&);
  for (const Touch touch : std::initializer_list<Touch>{
           [](SiteStatistics& s) { s.layer = 1; }, [](SiteStatistics& s) { s.site = "head_in"; },
           [](SiteStatistics& s) { s.expert = 1; }, [](SiteStatistics& s) { s.count = 9; },
           [](SiteStatistics& s) { s.absmax = {1, 2}; }, [](SiteStatistics& s) { s.second_moment = {1, 2, 3, 4}; },
           [](SiteStatistics& s) { s.histogram = {1, 2}; }, [](SiteStatistics& s) { s.negatives = {1, 2}; },
           [](SiteStatistics& s) { s.lowest = -1; }, [](SiteStatistics& s) { s.highest = 1; }}) {
    Statistics changed = statistics;
    touch(changed.sites[0]);
    informed.calibration.statistics = &changed;
    EXPECT_TRUE(keys.insert(key_of(informed)).second) << count;
    ++count;
  }
  EXPECT_TRUE(keys.insert(resume_key(some_options(), "nibble", "0123456789abcdef")).second);
  EXPECT_TRUE(keys.insert(resume_key(some_options(), "gguf", "0123456789abcdee")).second);
}

TEST(ResumeKey, NamesOfTextsMayBeAnyBytes) {
  QuantizeModelOptions options = some_options();
  options.calibration.texts[0].name = "caf\xe9.txt";
  EXPECT_NE(key_of(options).find("caf\xef\xbf\xbd.txt"), std::string::npos);
}

TEST(ResumeKey, WhatDecidesNoByteDoesNot) {
  const std::string key = key_of(some_options());
  using Change = void (*)(QuantizeModelOptions&);
  std::size_t count = 0;
  for (const Change change : std::initializer_list<Change>{
           [](QuantizeModelOptions& o) { o.output = "other.gguf"; }, [](QuantizeModelOptions& o) { o.sync = true; },
           [](QuantizeModelOptions& o) { o.strict = true; },
           [](QuantizeModelOptions& o) { o.calibration.spill_directory = "elsewhere"; },
           [](QuantizeModelOptions& o) { o.on_layer = [](const LayerReport&) {}; }}) {
    QuantizeModelOptions options = some_options();
    change(options);
    EXPECT_EQ(key_of(options), key) << count++;
  }
}

}  // namespace
}  // namespace nibble
