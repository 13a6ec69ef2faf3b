// SPDX-License-Identifier: Apache-2.0
#include "train/text_batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "nibble/error.h"

namespace nibble {
namespace {

TokenStream counting(std::size_t count, std::optional<std::int32_t> begin) {
  TokenStream stream{std::vector<std::int32_t>(count), begin};
  std::iota(stream.ids.begin(), stream.ids.end(), 100);
  return stream;
}

TEST(TextBatches, RowsFollowTheStreamBehindTheBeginToken) {
  const TokenStream stream = counting(1000, 1);
  TextBatches batches(stream, {.size = 3, .length = 10, .seed = 3});
  const std::vector<std::int32_t> batch = batches.next();
  ASSERT_EQ(batch.size(), 3u * 11);
  for (std::size_t row = 0; row < 3; ++row) {
    EXPECT_EQ(batch[row * 11], 1);
    for (std::size_t t = 2; t < 11; ++t) EXPECT_EQ(batch[row * 11 + t], batch[row * 11 + t - 1] + 1);
  }
  const TokenStream without = counting(1000, std::nullopt);
  const std::vector<std::int32_t> plain = TextBatches(without, {.size = 3, .length = 10, .seed = 3}).next();
  for (std::size_t row = 0; row < 3; ++row) EXPECT_EQ(plain[row * 11 + 10], plain[row * 11] + 10);
}

TEST(TextBatches, APassTakesEveryTokenOnceAndTheNextOneBeginsElsewhere) {
  const TokenStream stream = counting(1000, 1);
  TextBatches batches(stream, {.size = 4, .length = 10, .seed = 5});
  std::vector<std::set<std::int32_t>> starts;
  for (std::uint64_t pass = 0; pass < 3; ++pass) {
    std::set<std::int32_t> seen, begins;
    std::size_t count = 0;
    batches.go_to({pass, 0});
    for (;;) {
      const std::vector<std::int32_t> batch = batches.next();
      if (batches.position().pass != pass) break;
      for (std::size_t row = 0; row < 4; ++row) begins.insert(batch[row * 11 + 1]);
      for (std::size_t i = 0; i < batch.size(); ++i)
        if (i % 11 != 0) seen.insert(batch[i]), ++count;
    }
    EXPECT_EQ(seen.size(), count);
    EXPECT_GE(count, 960u);  // what rows and batches leave over: less than a row at either end and a batch
    starts.push_back(begins);
  }
  EXPECT_NE(starts[0], starts[1]);
}

TEST(TextBatches, GoOnWhereTheyStood) {
  const TokenStream stream = counting(500, 1);
  const BatchSettings settings{.size = 4, .length = 16, .seed = 8};
  TextBatches through(stream, settings);
  std::vector<BatchPosition> positions;
  std::vector<std::vector<std::int32_t>> all;
  for (int i = 0; i < 25; ++i) {
    positions.push_back(through.position());
    all.push_back(through.next());
  }
  EXPECT_GT(through.position().pass, 1u);
  for (const std::size_t i : {0u, 3u, 7u, 20u, 24u}) {
    TextBatches other(stream, settings);
    other.go_to(positions[i]);
    EXPECT_EQ(other.next(), all[i]);
  }
  EXPECT_NE(TextBatches(stream, {.size = 4, .length = 16, .seed = 9}).next(), all[0]);
  EXPECT_THROW(through.go_to({0, 10000}), Error);
  EXPECT_THROW(through.go_to({0, 3}), Error);
}

TEST(TextBatches, AShortTextIsRefused) {
  const TokenStream stream = counting(169, 1);
  try {
    TextBatches(stream, {.size = 16, .length = 10, .seed = 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unusable_input);
    EXPECT_EQ(std::string(error.what()),
              "the text is shorter than a batch; give more text, or fewer or shorter rows: 169 tokens, and a batch of "
              "16 rows of 10 takes 170");
  }
  const TokenStream enough = counting(170, 1);
  TextBatches batches(enough, {.size = 16, .length = 10, .seed = 1});
  for (int i = 0; i < 40; ++i) EXPECT_EQ(batches.next().size(), 176u);
}

TEST(TextBatches, TheEndIsHeldOut) {
  TokenStream stream = counting(100, 1);
  const TokenStream held = hold_out(stream, 0.1);
  EXPECT_EQ(stream.ids.size(), 90u);
  EXPECT_EQ(held.ids.size(), 10u);
  EXPECT_EQ(held.ids.front(), 190);
  EXPECT_EQ(held.begin, 1);
}

TEST(JoinDocuments, SomeEndInTheEndToken) {
  const Tokenizer tokenizer = Tokenizer::from_directory(NIBBLE_SOURCE_DIR "/tests/data/tale-4M");
  std::string text;
  for (int i = 0; i < 200; ++i) text += (i == 0 ? "" : "\n\n\n") + std::string("Once there was a fox.");
  const TokenStream open = join_documents(text, tokenizer, {.closed_share = 0});
  EXPECT_EQ(open.ids, tokenizer.encode(text, {.add_special = false}));
  EXPECT_EQ(open.begin, tokenizer.bos());
  const TokenStream some = join_documents(text, tokenizer, {.closed_share = 0.25, .seed = 2});
  const auto ends = std::ranges::count(some.ids, *tokenizer.eos());
  EXPECT_GT(ends, 30);
  EXPECT_LT(ends, 70);
  for (std::size_t i = 0; i < some.ids.size(); ++i)
    if (some.ids[i] == *tokenizer.eos()) {
      EXPECT_EQ(some.ids[i + 1], *tokenizer.bos());
    }
  EXPECT_EQ(join_documents(text, tokenizer, {.closed_share = 0.25, .seed = 2}).ids, some.ids);
  EXPECT_NE(join_documents(text, tokenizer, {.closed_share = 0.25, .seed = 3}).ids, some.ids);
}

}  // namespace
}  // namespace nibble
