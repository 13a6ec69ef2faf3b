// SPDX-License-Identifier: Apache-2.0
#include "engine/generate.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cstdlib>
#include <random>

#include "base/utf8.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

TEST(TextStream, HoldsBackIncompleteCharacters) {
  TextStream stream({});
  EXPECT_EQ(stream.push("a\xf0\x9f"), "a");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80z"), "\xf0\x9f\x98\x80z");
  EXPECT_EQ(stream.push("\xc3"), "");
  EXPECT_EQ(stream.finish(), "\xef\xbf\xbd");  // never completed
}

TEST(TextStream, BytesThatAreNoCharacterDoNotBlock) {
  TextStream stream({});
  EXPECT_EQ(stream.push("\x80"), "\xef\xbf\xbd");
  EXPECT_EQ(stream.push("\xffz"), "\xef\xbf\xbdz");
}

TEST(TextStream, StopTextMayComeInPieces) {
  TextStream stream({"\n\n", "END"});
  EXPECT_EQ(stream.push("one\n"), "one");
  EXPECT_EQ(stream.push("two E"), "\ntwo ");
  EXPECT_EQ(stream.push("N"), "");
  EXPECT_EQ(stream.push("T"), "ENT");
  EXPECT_FALSE(stream.stopped());
  EXPECT_EQ(stream.push(" EN"), " ");
  EXPECT_EQ(stream.push("D and more"), "");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.push("x"), "");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, TheFirstStopTextWins) {
  TextStream stream({"later", "now"});
  EXPECT_EQ(stream.push("go now, later"), "go ");
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStream, AnEmptyStopTextIsNone) {
  TextStream stream({""});
  EXPECT_EQ(stream.push("text"), "text");
  EXPECT_FALSE(stream.stopped());
}

// Whatever tokens come, each piece is whole characters and all of them together are the whole text: of tokens drawn at
// random, most of them single bytes, and of texts whose characters are spread over several tokens.
TEST(TextStream, NoSequenceOfTokensSplitsACharacter) {
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(Checkpoint::open(NIBBLE_SOURCE_DIR "/tests/data/tale-4M"));
  std::vector<std::int32_t> all, bytes;
  for (std::size_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const auto token = static_cast<std::int32_t>(id);
    if (tokenizer.token_text(token).empty()) continue;
    all.push_back(token);
    if (find_invalid_utf8(tokenizer.piece(token)) == 0) bytes.push_back(token);
  }
  ASSERT_GE(bytes.size(), 100u);
  std::mt19937 random(7);
  const auto draw = [&](const std::vector<std::int32_t>& from) { return from[random() % from.size()]; };
  std::size_t split = 0;  // characters that came in several tokens
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::int32_t> ids;
    if (round % 2 == 0) {
      for (int i = 0; i < 24; ++i) ids.push_back(draw(random() % 4 == 0 ? all : bytes));
    } else {
      std::string text;
      for (int i = 0; i < 8; ++i) append_utf8(text, static_cast<char32_t>(1 + random() % (i % 2 == 0 ? 0xD7FF : 0x7F)));
      append_utf8(text, static_cast<char32_t>(0x1F300 + random() % 0x300));
      ids = tokenizer.encode(text, {.add_special = false});
    }
    TextStream stream({});
    std::string joined, whole;
    const auto give = [&](const std::string& piece) {
      EXPECT_EQ(find_invalid_utf8(piece), std::string::npos);
      joined += piece;
    };
    for (const std::int32_t id : ids) {
      split += find_invalid_utf8(tokenizer.piece(id)) != std::string::npos ? 1 : 0;
      whole += tokenizer.piece(id);
      give(stream.push(tokenizer.piece(id)));
    }
    give(stream.finish());
    EXPECT_EQ(joined, replace_invalid_utf8(whole)) << round;
    if (round % 2 == 1) {
      EXPECT_EQ(joined, tokenizer.decode(ids)) << round;
    }
  }
  EXPECT_GE(split, 10000u);
}

// The tiny model's ids are the first ones of the bundled tokenizer.
class Generate : public testing::Test {
 protected:
  Generate()
      : machine(chosen_isa(), 2),
        decoder(SourceModel::open(data_directory() / "tiny_gqa_llama3rope"), exact_options(), machine),
        tokenizer(Tokenizer::from_json(read_text(bundled() / "tokenizer.json"),
                                       read_text(bundled() / "tokenizer_config.json"), "tokenizer.json")) {}

  static std::filesystem::path bundled() { return std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/tale-4M"; }

  Machine machine;
  Decoder decoder;
  Tokenizer tokenizer;
  const std::vector<std::int32_t> prompt = {40, 50, 60};
};

// What a loop without a cache would choose.
TEST_F(Generate, GreedyIsTheLargestLogitEveryTime) {
  const Generated made = generate(decoder, tokenizer, prompt, {.max_tokens = 12, .ignore_end = true}, {});
  std::vector<std::int32_t> sequence = prompt;
  for (int i = 0; i < 12; ++i) {
    const std::vector<float> logits = all_logits(decoder, sequence);
    const auto last = logits.end() - 256;
    sequence.push_back(static_cast<std::int32_t>(std::max_element(last, logits.end()) - last));
  }
  EXPECT_EQ(made.tokens, std::vector<std::int32_t>(sequence.begin() + 3, sequence.end()));
  EXPECT_EQ(made.reason, StopReason::max_tokens);
  EXPECT_EQ(made.prompt_tokens, 3u);
  EXPECT_EQ(made.decode_tokens, 11u);
}

// tests/data/logits/greedy.json, made by tools/reference_generation.py.
void expect_greedy_tokens_of(const std::filesystem::path& directory) {
  Machine machine(chosen_isa(), 2);
  const SourceModel checkpoint = SourceModel::open(directory);
  Decoder decoder(checkpoint, exact_options(), machine);
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
  std::size_t prompts = 0;
  for (const auto& entry : nlohmann::json::parse(read_text(data_directory() / "logits/greedy.json"))) {
    if (entry["model"] != directory.filename().string()) continue;
    ++prompts;
    const std::vector<std::int32_t> ids = tokenizer.encode(entry["prompt"].get<std::string>());
    EXPECT_EQ(ids, entry["ids"].get<std::vector<std::int32_t>>());
    EXPECT_EQ(generate(decoder, tokenizer, ids, {.max_tokens = 48}, {}).tokens,
              entry["made"].get<std::vector<std::int32_t>>())
        << entry["prompt"];
  }
  EXPECT_EQ(prompts, 4u);
}

TEST(GreedyTokens, AreThoseOfTransformers) {
  expect_greedy_tokens_of(std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/tale-4M");
}

// The same of a model that is not part of the project, where it lies in the folder models of NIBBLE_EXTRA_DATA.
TEST(OptionalGreedyTokens, AreThoseOfTransformersForAnotherModel) {
  const char* extra = std::getenv("NIBBLE_EXTRA_DATA");
  if (extra == nullptr) GTEST_SKIP() << "NIBBLE_EXTRA_DATA is not set";
  expect_greedy_tokens_of(std::filesystem::path(extra) / "models/tinywiki-6M");
}

TEST_F(Generate, StreamsTheTextItReturns) {
  std::string streamed;
  const Generated made = generate(decoder, tokenizer, prompt,
                                  {.sampler = {.temperature = 1, .seed = 5}, .max_tokens = 40, .ignore_end = true},
                                  [&](std::string_view text) {
                                    streamed += text;
                                    return true;
                                  });
  EXPECT_EQ(streamed, made.text);
  EXPECT_EQ(made.tokens.size(), 40u);
  EXPECT_FALSE(made.text.empty());
}

TEST_F(Generate, NoTokensMayBeAskedFor) {
  const Generated made = generate(decoder, tokenizer, prompt, {.max_tokens = 0}, {});
  EXPECT_TRUE(made.tokens.empty());
  EXPECT_EQ(made.reason, StopReason::max_tokens);
}

TEST_F(Generate, TheCallerCanStop) {
  int calls = 0;
  const Generated made = generate(decoder, tokenizer, prompt,
                                  {.sampler = {.temperature = 1, .seed = 5}, .max_tokens = 100, .ignore_end = true},
                                  [&](std::string_view) { return ++calls < 3; });
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(made.reason, StopReason::caller);
  EXPECT_LT(made.tokens.size(), 100u);
}

TEST_F(Generate, StopsAtStopText) {
  const GenerateOptions plain = {.sampler = {.temperature = 1, .seed = 5}, .max_tokens = 40, .ignore_end = true};
  const Generated whole = generate(decoder, tokenizer, prompt, plain, {});
  // Random weights make random bytes; two letters beside each other are found among them.
  std::size_t place = 1;
  const auto letter = [&](std::size_t i) { return std::isalpha(static_cast<unsigned char>(whole.text.at(i))) != 0; };
  while (!letter(place) || !letter(place + 1)) ++place;
  GenerateOptions options = plain;
  options.stop = {"never", whole.text.substr(place, 2)};
  const Generated made = generate(decoder, tokenizer, prompt, options, {});
  EXPECT_EQ(made.reason, StopReason::stop_text);
  EXPECT_EQ(made.text, whole.text.substr(0, place));
}

TEST_F(Generate, StopsWhenTheContextIsFull) {
  const Generated made =
      generate(decoder, tokenizer, prompt, {.max_tokens = 100, .ignore_end = true, .context = 10}, {});
  EXPECT_EQ(made.reason, StopReason::context_full);
  EXPECT_EQ(made.tokens.size(), 8u);  // the last one needs no room of its own
}

TEST_F(Generate, PromptsThatCannotBeTaken) {
  EXPECT_EQ(error_of([&] { generate(decoder, tokenizer, {}, {}, {}); }).second,
            "the prompt has no tokens; give some text");
  const std::vector<std::int32_t> long_prompt(300, 1);
  EXPECT_EQ(error_of([&] { generate(decoder, tokenizer, long_prompt, {}, {}); }).second,
            "the prompt leaves no room in the context; shorten it: tokens 300, context 256");
}

}  // namespace
}  // namespace nibble
