// SPDX-License-Identifier: Apache-2.0
//
// Verdicts made by hand, as JSON and as text.
#include <gtest/gtest.h>

#include "report/page_figures.h"
#include "report/verdict_json.h"
#include "report/verdict_tables.h"

namespace nibble {
namespace {

Figure figure(double value, double low, double high) {
  Figure result;
  result.value = value;
  result.gaussian_error = (high - low) / 8;
  result.certainty = Certainty::interval;
  result.low = low;
  result.high = high;
  result.lower_bound = low + (value - low) / 6;
  result.upper_bound = high - (high - value) / 6;
  return result;
}

PairedVerdict verdict_of(const std::vector<std::string>& names, const std::vector<std::string>& texts) {
  PairedVerdict verdict;
  verdict.context = 512;
  verdict.windows = verdict.windows_planned = 40 * texts.size();
  verdict.tokens_scored = verdict.windows * 255;
  verdict.original_perplexity = figure(16, 15, 17);
  for (const std::string& text : texts) verdict.texts.push_back({text, 40, 40, 40 * 255, figure(16, 15, 17)});
  for (const std::string& name : names) {
    MetricFigures figures;
    figures.blocks = verdict.windows;
    for (const MetricInfo& metric : list_metrics()) figures[metric.id] = figure(0.25, 0.2, 0.3);
    figures[Metric::perplexity] = figure(17, 16, 18);
    figures[Metric::kl_p999] = Figure{.value = 0.5, .certainty = Certainty::too_few_exceedances};
    figures[Metric::kl_maximum] = Figure{.value = 2.5};
    verdict.candidates.push_back({name, std::vector<MetricFigures>(texts.size(), figures), figures});
  }
  for (std::size_t i = 1; i < names.size(); ++i)
    verdict.contests.push_back({names[0], names[i], figure(-0.2, -0.3, -0.1), figure(0.9, 0.8, 0.95),
                                figure(0.1, 0.05, 0.2), Contest::first_better});
  return verdict;
}

PairedVerdict with_layers(PairedVerdict verdict) {
  for (CandidateVerdict& candidate : verdict.candidates)
    candidate.layers = LayerErrors{
        .embedding = 0.0625,
        .layers = {{.residual = 0.01, .output = 0.02, .local = 0.0123456}, {.residual = 0.5, .output = 2, .local = 0}}};
  return verdict;
}

PairedVerdict with_split(PairedVerdict verdict, bool same = false) {
  for (CandidateVerdict& candidate : verdict.candidates) {
    candidate.split = LossSplit{
        .windows = 32, .same = same, .weights = candidate.overall, .as_run = candidate.overall, .arithmetic = {}};
    candidate.split->weights[Metric::kl_mean] = figure(0.125, 0.1, 0.15);
    candidate.split->arithmetic = {
        "", "", figure(0.125, 0.11, 0.14), figure(1.01, 1, 1.02), figure(-0.1, -0.2, 0), Contest::second_better};
  }
  return verdict;
}

TEST(VerdictJson, TheSplitIsThereWhenTheLossWasSplit) {
  EXPECT_FALSE(to_json(verdict_of({"q4"}, {"a.txt"}))["candidates"][0].contains("split"));
  const Json split = to_json(with_split(verdict_of({"q4", "q3"}, {"a.txt"})))["candidates"][1]["split"];
  EXPECT_EQ(split["windows"], 32);
  EXPECT_EQ(split["same"], false);
  EXPECT_EQ(split["weights"]["kl_mean"]["high"], 0.15);
  EXPECT_EQ(split["as_run"]["kl_mean"]["value"], 0.25);
  EXPECT_EQ(split["arithmetic"]["kl_difference"]["low"], 0.11);
  EXPECT_EQ(split["arithmetic"]["perplexity_ratio"]["value"], 1.01);
  EXPECT_EQ(split["arithmetic"]["top1_difference"]["value"], -0.1);
}

TEST(VerdictText, SaysHowTheLossSplits) {
  const std::string one = verdict_text(with_split(verdict_of({"q4"}, {"a.txt"})), {});
  EXPECT_NE(one.find("\nLoss, KL mean: weights 0.1250 [0.1000, 0.1500], as run 0.2500 [0.2000, 0.3000]; arithmetic "
                     "adds 0.1250 [0.1100, 0.1400].\n"),
            std::string::npos)
      << one;
  EXPECT_NE(one.find("on 32 of the 40 windows.\n"), std::string::npos) << one;
  const std::string same = verdict_text(with_split(verdict_of({"q4"}, {"a.txt"}), true), {});
  EXPECT_NE(same.find("The loss is the weights' alone"), std::string::npos) << same;
  EXPECT_EQ(same.find("arithmetic adds"), std::string::npos) << same;
  const std::string two = verdict_text(with_split(verdict_of({"q4", "q3"}, {"a.txt"})), {.markdown = true});
  EXPECT_NE(two.find("| weights' KL |"), std::string::npos) << two;
  EXPECT_NE(two.find("| 0.1250 of 0.2500 |"), std::string::npos) << two;
  EXPECT_NE(two.find("on 32 of the 40 windows.\n"), std::string::npos) << two;
  EXPECT_EQ(verdict_text(verdict_of({"q4", "q3"}, {"a.txt"}), {}).find("weights'"), std::string::npos);
}

TEST(VerdictJson, OneCandidateHasTheKeysOfASummaryToo) {
  const Json json = to_json(verdict_of({"q4"}, {"a.txt"}));
  for (const char* key : {"perplexity", "perplexity_stderr", "protocol", "context", "windows", "tokens", "kl_mean",
                          "kl_stderr", "kl_p999", "kl_max", "top1_agreement", "perplexity_ratio",
                          "perplexity_ratio_stderr", "original", "texts", "candidates", "contests", "partial"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json["perplexity"], 17);
  EXPECT_EQ(json["original"]["perplexity"], 16);
  EXPECT_EQ(json["partial"], false);
  const Json& figures = json["candidates"][0]["figures"];
  for (const MetricInfo& metric : list_metrics()) EXPECT_TRUE(figures.contains(std::string(metric.key))) << metric.key;
  EXPECT_EQ(figures["kl_mean"]["low"], 0.2);
  EXPECT_EQ(figures["kl_p999"]["no_interval"], "too few exceedances");
  EXPECT_FALSE(figures["kl_max"].contains("stderr"));
}

TEST(VerdictJson, SeveralCandidatesAreAListWithContests) {
  const Json json = to_json(verdict_of({"q4", "q3"}, {"a.txt", "b.txt"}));
  EXPECT_FALSE(json.contains("kl_mean"));
  ASSERT_EQ(json["candidates"].size(), 2u);
  EXPECT_EQ(json["candidates"][1]["model"], "q3");
  EXPECT_EQ(json["candidates"][1]["texts"].size(), 2u);
  EXPECT_EQ(json["texts"][1]["name"], "b.txt");
  EXPECT_EQ(json["contests"][0]["better"], "first");
}

TEST(VerdictJson, LayersAreThereWhenTheyWereCompared) {
  EXPECT_FALSE(to_json(verdict_of({"q4"}, {"a.txt"}))["candidates"][0].contains("layers"));
  const Json json = to_json(with_layers(verdict_of({"q4", "q3"}, {"a.txt"})))["candidates"][1];
  EXPECT_EQ(json["embedding_error"], 0.0625);
  EXPECT_EQ(json["layers"][1], (Json{{"layer", 1}, {"residual", 0.5}, {"output", 2.0}, {"local", 0.0}}));
}

// What src/report/page/page.js reads.
TEST(PageFigures, HoldTheShapesThatThePageReads) {
  ModelPortrait portrait{
      .bytes = 1000, .bits_per_weight = 4.5, .tensors = {{"w", "v", 0, "q4_0", 4.5}}, .histograms = {}};
  portrait.histograms.push_back(
      {.tensor = "w", .low = -1, .high = 1, .before = {1, 2}, .after = {2, 1}, .points = {-1, 1}});
  const Json page = page_figures(with_split(with_layers(verdict_of({"q4", "q3"}, {"a.txt", "b.txt"}))),
                                 {.bytes = 4000, .bits_per_weight = 16, .tensors = {}, .histograms = {}},
                                 {portrait, portrait}, {.original = "orig", .settings = {{"threads", "2"}}});
  EXPECT_EQ(page["title"], "orig: 2 candidates against the original");
  EXPECT_EQ(page["metrics"].size(), kNumMetrics);
  EXPECT_EQ(page["original"]["bytes"], 4000);
  ASSERT_EQ(page["candidates"].size(), 2u);
  const Json& candidate = page["candidates"][1];
  EXPECT_EQ(candidate["name"], "q3");
  EXPECT_EQ(candidate["bytes"], 1000);
  EXPECT_EQ(candidate["figures"]["kl_mean"]["high"], 0.3);
  EXPECT_EQ(candidate["texts"].size(), 2u);
  EXPECT_EQ(candidate["tensors"][0]["part"], "v");
  EXPECT_EQ(candidate["histograms"][0]["after"], (Json{2, 1}));
  EXPECT_EQ(candidate["embedding_error"], 0.0625);
  EXPECT_EQ(candidate["split"]["weights"]["kl_mean"]["value"], 0.125);
  EXPECT_EQ(candidate["layers"][0]["layer"], 0);
  EXPECT_EQ(candidate["layers"][0]["residual"], 0.01);
  ASSERT_TRUE(page["settings"].is_array());
  for (const Json& setting : page["settings"]) EXPECT_TRUE(setting.is_array() && setting.size() == 2) << setting;
  EXPECT_EQ(page["settings"][2], (Json::array({"threads", "2"})));
}

TEST(VerdictText, ShowsEveryMetricOfOneCandidate) {
  const std::string text = verdict_text(verdict_of({"q4"}, {"a.txt"}), {});
  for (const MetricInfo& metric : list_metrics()) EXPECT_NE(text.find(metric.title), std::string::npos) << metric.title;
  EXPECT_NE(text.find("KL mean                 0.2500        0.2000 – 0.3000                     ± 0.012"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("too few beyond it"), std::string::npos);
  EXPECT_NE(text.find("40 windows of 512 tokens, 10,200 tokens scored"), std::string::npos) << text;
  EXPECT_EQ(verdict_text(verdict_of({"q4"}, {"a.txt"}), {.style = {.unicode = false}}).find('\xe2'), std::string::npos);
}

TEST(VerdictText, OfSeveralCandidatesSaysWhichIsBetter) {
  const std::string text =
      verdict_text(verdict_of({"q4", "q3"}, {"a.txt", "b.txt"}), {.markdown = true, .original = "orig"});
  EXPECT_TRUE(text.starts_with("## Quality against `orig`\n")) << text;
  EXPECT_NE(text.find("| q3 | 17.0000 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| b.txt | 40 |"), std::string::npos) << text;
  EXPECT_NE(text.find("* q4 is better than q3: mean KL differs by -0.2000 [-0.3000, -0.1000]"), std::string::npos)
      << text;
}

TEST(VerdictText, ShowsLayers) {
  const PairedVerdict one = with_layers(verdict_of({"q4"}, {"a.txt"})),
                      two = with_layers(verdict_of({"q4", "q3"}, {"a.txt"}));
  const std::string text = verdict_text(one, {}), card = verdict_text(one, {.markdown = true}),
                    both = verdict_text(two, {.markdown = true});
  EXPECT_NE(text.find("\nembedding           0.0625\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nlayer      residual stream  what the layer adds  the layer alone\n"), std::string::npos)
      << text;
  EXPECT_NE(card.find("### Layer by layer"), std::string::npos) << card;
  EXPECT_NE(card.find("| 1 | 0.500 | 2.00 | 0 |"), std::string::npos) << card;
  EXPECT_NE(both.find("Error of the layer alone:\n\n| layer | q4 | q3 |"), std::string::npos) << both;
  EXPECT_NE(both.find("| 0 | 0.0123 | 0.0123 |"), std::string::npos) << both;
  EXPECT_EQ(verdict_text(verdict_of({"q4"}, {"a.txt"}), {}).find("Layer by layer"), std::string::npos);
}

TEST(VerdictText, SaysWhatAStopLeftOut) {
  PairedVerdict verdict = verdict_of({"q4"}, {"a.txt"});
  verdict.windows = verdict.texts[0].windows = 31;
  EXPECT_NE(verdict_text(verdict, {}).find("Stopped early: these figures cover 31 of 40 windows; a.txt: 31 of 40."),
            std::string::npos);
  EXPECT_EQ(to_json(verdict)["partial"], true);
}

TEST(AcceptanceText, SaysHowMuchTextWouldDecide) {
  const PairedVerdict verdict = verdict_of({"q4"}, {"a.txt"});
  const Acceptance acceptance = accept(verdict, 0, parse_requirements("kl<=0.4, top1>=0.26, kl_p999<=1"));
  const std::string text = acceptance_text(acceptance, verdict, "q4", {});
  EXPECT_NE(text.find("q4 is undecided"), std::string::npos) << text;
  EXPECT_NE(text.find("kl<=0.4: accepted, it is at most 0.2917"), std::string::npos) << text;
  EXPECT_NE(text.find("top1>=0.26: undecided, it may be 20.83 % to 29.17 %; about"), std::string::npos) << text;
  EXPECT_EQ(to_json(acceptance)["requirements"][1]["judgement"], "undecided");
  EXPECT_EQ(to_json(acceptance)["windows_needed"], acceptance.windows_needed);
}

}  // namespace
}  // namespace nibble
