// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "calibrate/calibration_text.h"
#include "model/source_model.h"
#include "nibble/error.h"

namespace nibble {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer kTokenizer =
      Tokenizer::from_checkpoint(SourceModel::open(std::string(NIBBLE_SOURCE_DIR) + "/tests/data/tale-4M"));
  return kTokenizer;
}

CalibrationText tale() {
  std::ifstream file(std::string(NIBBLE_SOURCE_DIR) + "/tests/data/tale-4M/heldout.txt");
  std::stringstream text;
  text << file.rdbuf();
  return {"heldout.txt", text.str().substr(0, 20000)};
}

TEST(CalibrationText, DrawsWindowsThatDoNotOverlapInTheOrderOfTheText) {
  const std::vector<CalibrationText> texts = {tale()};
  const CalibrationTokens all = choose_windows(texts, tokenizer(), {.samples = 0, .length = 32}, 512);
  const CalibrationTokens some = choose_windows(texts, tokenizer(), {.samples = 10, .length = 32, .seed = 1}, 512);
  ASSERT_EQ(some.windows(), 10u);
  EXPECT_EQ(some.available, all.windows());
  std::size_t at = 0, found = 0;
  for (std::size_t i = 0; i < some.windows(); ++i)
    while (at < all.windows()) {
      const auto a = all.window(at++), b = some.window(i);
      if (std::equal(a.begin(), a.end(), b.begin(), b.end())) {
        ++found;
        break;
      }
    }
  EXPECT_EQ(found, 10u);
}

TEST(CalibrationText, TheSeedDecides) {
  const std::vector<CalibrationText> texts = {tale()};
  const auto ids = [&](std::uint64_t seed) {
    return choose_windows(texts, tokenizer(), {.samples = 5, .length = 64, .seed = seed}, 512).ids;
  };
  EXPECT_EQ(ids(3), ids(3));
  EXPECT_NE(ids(3), ids(4));
}

TEST(CalibrationText, TakesAllThereIsAndSaysSo) {
  const std::vector<CalibrationText> texts = {tale(), tale()};
  const CalibrationTokens tokens = choose_windows(texts, tokenizer(), {.samples = 100000, .length = 64}, 512);
  EXPECT_EQ(tokens.windows(), tokens.available);
  EXPECT_EQ(tokens.wanted, 100000u);
  EXPECT_EQ(tokens.names, (std::vector<std::string>{"heldout.txt", "heldout.txt"}));
}

TEST(CalibrationText, ShortensWindowsToTheContext) {
  const std::vector<CalibrationText> texts = {tale()};
  EXPECT_EQ(choose_windows(texts, tokenizer(), {.samples = 1, .length = 512}, 128).length, 128u);
}

TEST(CalibrationText, RefusesATextShorterThanAWindow) {
  const std::vector<CalibrationText> texts = {{"short.txt", "Once upon a time"}};
  try {
    choose_windows(texts, tokenizer(), {.samples = 1, .length = 512}, 512);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unusable_input);
    EXPECT_NE(std::string(error.what()).find("window 512"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace nibble
