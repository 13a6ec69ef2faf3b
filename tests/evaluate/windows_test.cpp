// SPDX-License-Identifier: Apache-2.0
#include "evaluate/windows.h"

#include <gtest/gtest.h>

#include <numeric>

#include "model/tiny_models.h"

namespace nibble {
namespace {

std::vector<std::int32_t> counting(std::size_t count) {
  std::vector<std::int32_t> ids(count);
  std::iota(ids.begin(), ids.end(), 100);
  return ids;
}

// llama-perplexity with -c 512: positions 256 .. 510 predict 257 .. 511, so 255 tokens a window.
TEST(Windows, LlamaCppScoresTheSecondHalf) {
  const Windows w = cut_windows(counting(512 * 3 + 100), 1, 4096, {});
  EXPECT_EQ(w.context, 512u);
  EXPECT_EQ(w.count, 3u);
  EXPECT_EQ(w.first_scored, 257u);
  EXPECT_EQ(w.scored_per_window(), 255u);
  EXPECT_EQ(w.tokens_scored(), 765u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(w.window(i)[0], 1);  // replaced, not inserted
    EXPECT_EQ(w.window(i)[1], static_cast<std::int32_t>(101 + 512 * i));
    EXPECT_EQ(w.window(i).size(), 512u);
  }
}

TEST(Windows, WithoutABeginTokenNothingIsReplaced) {
  EXPECT_EQ(cut_windows(counting(600), std::nullopt, 512, {}).window(0)[0], 100);
}

TEST(Windows, PaperScoresEverythingButTheFirst) {
  const Windows w = cut_windows(counting(5000), 1, 100000, {.protocol = Protocol::paper});
  EXPECT_EQ(w.context, 2048u);
  EXPECT_EQ(w.count, 2u);
  EXPECT_EQ(w.first_scored, 1u);
  EXPECT_EQ(w.tokens_scored(), 2u * 2047);
  EXPECT_EQ(w.window(0)[0], 100);  // no begin token is put in
  EXPECT_EQ(w.window(1)[0], 100 + 2048);
}

TEST(Windows, DefaultsShrinkToTheModel) {
  EXPECT_EQ(cut_windows(counting(5000), 1, 1000, {.protocol = Protocol::paper}).context, 1000u);
  EXPECT_EQ(cut_windows(counting(5000), 1, 256, {}).context, 256u);
}

TEST(Windows, NumberCanBeLimited) { EXPECT_EQ(cut_windows(counting(5000), 1, 512, {.max_windows = 4}).count, 4u); }

TEST(Windows, WhatCannotBeCut) {
  EXPECT_EQ(error_of([] { cut_windows(counting(511), 1, 4096, {}); }),
            (std::pair{ErrorKind::unusable_input, std::string("the text is shorter than one window; give a longer text "
                                                              "or a smaller context: the text has 511 tokens, a window "
                                                              "needs 512")}));
  EXPECT_EQ(error_of([] { cut_windows(counting(5000), 1, 512, {.context = 1024}); }).second,
            "windows must not be longer than the model's context of 512 tokens: 1024");
  EXPECT_EQ(error_of([] { cut_windows(counting(5000), 1, 512, {.context = 3}); }).second,
            "windows must have at least 4 tokens: 3");
}

TEST(Windows, ProtocolNames) {
  EXPECT_EQ(parse_protocol("paper"), Protocol::paper);
  EXPECT_EQ(parse_protocol(protocol_name(Protocol::llama_cpp)), Protocol::llama_cpp);
  EXPECT_EQ(error_of([] { parse_protocol("hf"); }).second, "unknown protocol; choose llama.cpp or paper: hf");
}

}  // namespace
}  // namespace nibble
