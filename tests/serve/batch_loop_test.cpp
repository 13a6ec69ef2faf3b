// SPDX-License-Identifier: Apache-2.0
#include "serve/batch_loop.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "serve/requests.h"

namespace nibble::serve {
namespace {

constexpr const char* kBeginnings[] = {"Once upon a time",
                                       "Tom had a red ball.",
                                       "The cat",
                                       "One day, Lily",
                                       "It was raining and the children could not go outside, so",
                                       "A big dog",
                                       "\"Where is my hat?\" asked the man.",
                                       "She"};

class Loop : public testing::Test, public ServedTale {
 protected:
  Listener listener;
};

template <typename Act>
std::string message_of(const Act& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

SamplerOptions sampled(std::uint64_t seed) {
  return {.temperature = 0.9, .top_k = 0, .top_p = 1, .min_p = 0, .seed = seed};
}

// The promise of the room: alone, by the engine's own loop, and among fifteen others.
TEST_F(Loop, ARequestGetsTheSameAloneAndAmongFifteenOthers) {
  for (const std::size_t step_tokens : {0u, 1u, 7u, 64u}) {
    BatchLimits given = limits(step_tokens);
    given.most_sequences = 16;
    BatchLoop loop(decoder, tokenizer, given);
    for (std::size_t i = 0; i < 16; ++i)
      loop.add(i, 0,
               {.prompt = encode(kBeginnings[i % 8]),
                .sampler = i < 8 ? SamplerOptions{} : sampled(i),
                .max_tokens = 10 + 3 * i,
                .ignore_end = true},
               listener.callback(std::to_string(step_tokens) + "," + std::to_string(i) + ","));
    run_to_end(loop);
    for (std::size_t i = 0; i < 16; ++i) {
      const Told told = listener.of(std::to_string(step_tokens) + "," + std::to_string(i) + ",0");
      const Generated made =
          alone(kBeginnings[i % 8],
                {.sampler = i < 8 ? SamplerOptions{} : sampled(i), .max_tokens = 10 + 3 * i, .ignore_end = true});
      EXPECT_EQ(told.text, made.text) << i;
      EXPECT_EQ(told.ids(), made.tokens) << i;
      EXPECT_EQ(told.finish, FinishReason::length);
      EXPECT_EQ(told.usage.new_tokens, 10 + 3 * i);
    }
    EXPECT_EQ(loop.metrics().finished[static_cast<std::size_t>(FinishReason::length)], 16u);
    EXPECT_EQ(loop.running() + loop.waiting(), 0u);
  }
}

TEST_F(Loop, WhatIsCommonWithAnEarlierTextIsNotReadAgain) {
  BatchLoop loop(decoder, tokenizer, limits());
  const std::string story = "Once upon a time there was a girl who had a dog. The dog was big and brown.";
  const GenerateOptions options{.max_tokens = 12, .ignore_end = true};
  const auto ask = [&](const std::string& text, const std::string& name) {
    loop.add(1, 0, {.prompt = encode(text), .max_tokens = 12, .ignore_end = true}, listener.callback(name));
    run_to_end(loop);
    EXPECT_EQ(listener.of(name + "0").text, alone(text, options).text) << text;
    return listener.of(name + "0").usage;
  };
  EXPECT_EQ(ask(story, "first").reuse, PrefixReuse::nothing_held);
  const GenerationUsage again = ask(story, "again");
  EXPECT_EQ(again.cached_tokens, encode(story).size() - 1);
  EXPECT_EQ(again.reuse, PrefixReuse::reused);
  const GenerationUsage longer = ask(story + " One day", "longer");
  EXPECT_GE(longer.cached_tokens, encode(story).size() - 1);
  const GenerationUsage other = ask("She went home.", "other");
  EXPECT_EQ(other.cached_tokens, 0u);
  EXPECT_EQ(other.reuse, PrefixReuse::too_little);  // the token that begins every text
  EXPECT_GE(ask(story + " One day", "still").cached_tokens, encode(story).size());
}

// Recurrent states have points to go back to, and windows give up what they do not see.
TEST_F(Loop, EveryFamilyGetsTheSameInABatchAndFromWhatIsHeld) {
  std::size_t families = 0;
  for (const std::string& name : tiny_models()) {
    Decoder own(SourceModel::open(data_directory() / name), exact_options(), machine);
    const std::size_t vocabulary = own.config().vocab_size;
    if (vocabulary > tokenizer.vocab_size()) continue;
    ++families;
    std::vector<std::vector<std::int32_t>> prompts(3);
    for (std::size_t i = 0; i < prompts.size(); ++i)
      for (std::size_t t = 0; t < 50 + 9 * i; ++t)
        prompts[i].push_back(static_cast<std::int32_t>((7 * t + (t > 45 ? i : 0)) % (vocabulary - 5) + 3));
    BatchLoop loop(own, tokenizer, {.context = 128, .memory = 1 << 30, .step_tokens = 11});
    for (const std::string round : {"first", "second"}) {
      for (std::size_t i = 0; i < prompts.size(); ++i)
        loop.add(i, i, {.prompt = prompts[i], .max_tokens = 9, .ignore_end = true}, listener.callback(name + round));
      run_to_end(loop);
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        const Told told = listener.of(name + round + std::to_string(i));
        const Generated made =
            generate(own, tokenizer, prompts[i], {.max_tokens = 9, .ignore_end = true, .context = 128}, {});
        EXPECT_EQ(told.ids(), made.tokens) << name << " " << round << " " << i;
        EXPECT_EQ(told.usage.cached_tokens > 0, round == "second") << name << " " << i;
      }
      // Points to go back to take memory as the states do of which they are copies.
      EXPECT_LE(loop.memory_held(), 3 * BatchLoop::bytes_of_sequence(own, 128)) << name;
      if (own.cache_bytes(0) > 0) {
        EXPECT_GT(loop.memory_held(), 3 * own.cache_bytes(128)) << name;
      }
    }
  }
  EXPECT_GE(families, 10u);
}

// Keys and values in few bits, too, and whatever arithmetic a model is run with.
TEST_F(Loop, ItIsTheSameInFewBits) {
  for (const KvType kv : {KvType::q8_0, KvType::q4_0}) {
    Decoder own(model, {.kernels = {ActivationMode::native}, .kv = kv}, machine);
    BatchLimits given = limits(5);
    given.most_sequences = 5;
    BatchLoop loop(own, tokenizer, given);
    for (std::size_t round = 0; round < 2; ++round)
      for (std::size_t i = 0; i < 5; ++i)
        loop.add(i, i, {.prompt = encode(kBeginnings[i]), .sampler = sampled(i), .max_tokens = 20, .ignore_end = true},
                 listener.callback(fmt::format("{},{},", kv_type_name(kv), round)));
    run_to_end(loop);
    for (std::size_t round = 0; round < 2; ++round)
      for (std::size_t i = 0; i < 5; ++i)
        EXPECT_EQ(listener.of(fmt::format("{},{},{}", kv_type_name(kv), round, i)).text,
                  generate(own, tokenizer, encode(kBeginnings[i]),
                           {.sampler = sampled(i), .max_tokens = 20, .ignore_end = true}, {})
                      .text);
  }
}

TEST_F(Loop, WhereMemoryEndsTheYoungestIsReadAgain) {
  BatchLimits given = limits();
  given.context = 600;
  given.memory = decoder.cache_bytes(512) + 2 * decoder.cache_bytes(256);
  // A page each to begin with, and each wants a third one.
  given.memory = std::max(given.memory, decoder.cache_bytes(600));
  BatchLoop loop(decoder, tokenizer, given);
  for (std::size_t i = 0; i < 3; ++i)
    loop.add(i, 0, {.prompt = encode(kBeginnings[i]), .sampler = sampled(i), .max_tokens = 400, .ignore_end = true},
             listener.callback(std::to_string(i)));
  std::uint64_t most = 0;
  while (loop.step()) most = std::max(most, loop.memory_in_use());
  EXPECT_GT(loop.metrics().preemptions, 0u);
  EXPECT_LE(most, given.memory);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(
        listener.of(std::to_string(i) + "0").text,
        alone(kBeginnings[i], {.sampler = sampled(i), .max_tokens = 400, .ignore_end = true, .context = 600}).text)
        << i;
}

// Taking a held sequence cuts it to what is in common, which is in vain where there is no memory to go on.
TEST_F(Loop, ARequestThatMustWaitLeavesWhatIsHeldAsItIs) {
  BatchLimits given = limits();
  given.context = 600;
  given.memory = decoder.cache_bytes(600) + decoder.cache_bytes(256);
  BatchLoop loop(decoder, tokenizer, given);
  const auto ids = [](std::size_t count, std::size_t stride) {
    std::vector<std::int32_t> made(count);
    for (std::size_t i = 0; i < count; ++i) made[i] = static_cast<std::int32_t>(3 + i * stride % 200);
    return made;
  };
  const std::vector<std::int32_t> held = ids(240, 7), other = ids(280, 11);
  std::vector<std::int32_t> alike(held.begin(), held.begin() + 200);
  alike.insert(alike.end(), other.begin(), other.begin() + 100);
  const auto add = [&](std::uint64_t ticket, const std::vector<std::int32_t>& prompt, std::size_t tokens) {
    loop.add(ticket, 0, {.prompt = prompt, .max_tokens = tokens, .ignore_end = true},
             listener.callback(std::to_string(ticket)));
  };
  add(1, held, 4);
  run_to_end(loop);
  add(2, other, 100);
  for (int i = 0; i < 10; ++i) loop.step();
  add(3, alike, 4);
  loop.step();
  EXPECT_EQ(loop.running(), 1u);
  EXPECT_EQ(loop.waiting(), 1u);
  loop.cancel(3);
  run_to_end(loop);
  add(4, held, 4);
  run_to_end(loop);
  EXPECT_EQ(listener.of("40").usage.cached_tokens, held.size() - 1);
}

TEST_F(Loop, ACancelledRequestEndsAtOnceAndHurtsNoOther) {
  BatchLimits given = limits();
  given.most_sequences = 2;
  BatchLoop loop(decoder, tokenizer, given);
  for (std::size_t i = 0; i < 4; ++i)
    loop.add(i, 0, {.prompt = encode(kBeginnings[i]), .max_tokens = 30, .ignore_end = true},
             listener.callback(std::to_string(i)));
  for (int i = 0; i < 5; ++i) loop.step();
  EXPECT_EQ(loop.running(), 2u);
  EXPECT_EQ(loop.waiting(), 2u);
  const std::size_t before = listener.of("00").tokens.size();
  loop.cancel(0);
  loop.cancel(3);  // has not begun
  loop.cancel(77);
  EXPECT_EQ(listener.of("00").finish, FinishReason::cancelled);
  EXPECT_LE(listener.of("00").tokens.size(), before + 1);
  EXPECT_EQ(listener.of("30").finish, FinishReason::cancelled);
  EXPECT_EQ(loop.running() + loop.waiting(), 2u);
  run_to_end(loop);
  for (const std::size_t i : {1u, 2u})
    EXPECT_EQ(listener.of(std::to_string(i) + "0").text,
              alone(kBeginnings[i], {.max_tokens = 30, .ignore_end = true}).text);
}

TEST_F(Loop, AStopTextEndsATextBeforeIt) {
  const Generated whole = alone(kBeginnings[0], {.max_tokens = 60, .ignore_end = true});
  const std::string stop = whole.text.substr(40, 7);
  BatchLoop loop(decoder, tokenizer, limits());
  loop.add(1, 0, {.prompt = encode(kBeginnings[0]), .max_tokens = 60, .stop = {stop, "\x01"}, .ignore_end = true},
           listener.callback("a"));
  run_to_end(loop);
  const Told told = listener.of("a0");
  EXPECT_EQ(told.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_EQ(told.finish, FinishReason::stop);
  // Tokens that begin behind the cut are not told.
  std::string before;
  for (std::size_t i = 0; i + 1 < told.tokens.size(); ++i) before += tokenizer.piece(told.tokens[i].id);
  EXPECT_LT(before.size(), told.text.size());
  EXPECT_GE(before.size() + tokenizer.piece(told.tokens.back().id).size(), told.text.size());
}

TEST_F(Loop, TheEndOfTheContextEndsATextAsItsLimitDoes) {
  BatchLimits given = limits();
  given.context = 24;
  BatchLoop loop(decoder, tokenizer, given);
  loop.add(1, 0, {.prompt = encode(kBeginnings[0]), .ignore_end = true}, listener.callback("a"));
  run_to_end(loop);
  const Generated made = alone(kBeginnings[0], {.max_tokens = 1000, .ignore_end = true, .context = 24});
  EXPECT_EQ(made.reason, StopReason::context_full);
  EXPECT_EQ(listener.of("a0").text, made.text);
  EXPECT_EQ(listener.of("a0").finish, FinishReason::length);
}

TEST_F(Loop, ProbabilitiesAreThoseOfTheModelAlone) {
  const std::vector<std::int32_t> prompt = encode("Once upon a time there was a little girl.");
  BatchLoop loop(decoder, tokenizer, limits(5));
  for (std::size_t i = 0; i < 3; ++i)
    loop.add(i, 0,
             {.prompt = prompt,
              .sampler = sampled(i),
              .presence_penalty = 1,
              .max_tokens = i == 2 ? 0u : 8u,
              .ignore_end = true,
              .told_chances = 20,
              .tells_prompt = true},
             listener.callback(std::to_string(i)));
  run_to_end(loop);
  const std::size_t vocabulary = decoder.config().vocab_size;
  for (std::size_t i = 0; i < 3; ++i) {
    const Told told = listener.of(std::to_string(i) + "0");
    ASSERT_EQ(told.prompt.size(), prompt.size());
    EXPECT_EQ(told.tokens.size(), i == 2 ? 0u : 8u);
    std::vector<ToldToken> all = told.prompt;
    all.insert(all.end(), told.tokens.begin(), told.tokens.end());
    std::vector<std::int32_t> ids;
    for (const ToldToken& token : all) ids.push_back(token.id);
    EXPECT_EQ(std::vector(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(prompt.size())), prompt);
    const std::vector<float> logits = all_logits(decoder, ids);
    EXPECT_FALSE(all.front().log_probability);
    for (std::size_t t = 1; t < all.size(); ++t) {
      const std::span<const float> row = std::span(logits).subspan((t - 1) * vocabulary, vocabulary);
      // A softmax as books have it, in long double.
      long double sum = 0;
      for (const float x : row) sum += std::exp(static_cast<long double>(x));
      const auto chance = [&](std::int32_t id) {
        return static_cast<double>(row[static_cast<std::size_t>(id)] - std::log(sum));
      };
      ASSERT_TRUE(all[t].log_probability);
      EXPECT_NEAR(*all[t].log_probability, chance(ids[t]), 1e-9);
      ASSERT_EQ(all[t].most_probable.size(), 20u);
      std::size_t above = 0;  // as probable as the last one told, or more
      for (std::size_t id = 0; id < vocabulary; ++id)
        above += chance(static_cast<std::int32_t>(id)) >= all[t].most_probable.back().log_probability - 1e-9 ? 1 : 0;
      EXPECT_EQ(above, 20u);
      for (const TokenChance& one : all[t].most_probable) EXPECT_NEAR(one.log_probability, chance(one.token), 1e-9);
    }
  }
}

TEST_F(Loop, BiasesAndPenaltiesChangeWhatIsChosen) {
  const std::vector<std::int32_t> prompt = encode("Tom");
  BatchLoop loop(decoder, tokenizer, limits());
  loop.add(1, 0, {.prompt = prompt, .logit_bias = {{50, 100.0F}}, .max_tokens = 5, .ignore_end = true},
           listener.callback("bias"));
  loop.add(2, 0,
           {.prompt = prompt, .presence_penalty = 2, .frequency_penalty = 1.5, .max_tokens = 40, .ignore_end = true},
           listener.callback("penalty"));
  run_to_end(loop);
  EXPECT_EQ(listener.of("bias0").ids(), (std::vector<std::int32_t>(5, 50)));
  // The same by a loop that is written out.
  std::vector<std::int32_t> text = prompt, made;
  for (int i = 0; i < 40; ++i) {
    const std::size_t vocabulary = decoder.config().vocab_size;
    const std::vector<float> logits = all_logits(decoder, text);
    std::vector<double> last(logits.end() - static_cast<std::ptrdiff_t>(vocabulary), logits.end());
    for (std::size_t id = 0; id < vocabulary; ++id) {
      const auto count = std::ranges::count(made, static_cast<std::int32_t>(id));
      if (count > 0) last[id] -= 2 + 1.5 * static_cast<double>(count);
    }
    made.push_back(static_cast<std::int32_t>(std::ranges::max_element(last) - last.begin()));
    text.push_back(made.back());
  }
  EXPECT_EQ(listener.of("penalty0").ids(), made);
}

TEST_F(Loop, ARequestThatFailsHurtsNoOther) {
  BatchLoop loop(decoder, tokenizer, limits());
  loop.add(1, 0, {.prompt = encode(kBeginnings[0]), .logit_bias = {{9, INFINITY}}, .max_tokens = 9},
           listener.callback("bad"));
  loop.add(2, 0, {.prompt = encode(kBeginnings[1]), .max_tokens = 20, .ignore_end = true}, listener.callback("good"));
  run_to_end(loop);
  EXPECT_EQ(listener.of("bad0").finish, FinishReason::failed);
  EXPECT_NE(listener.of("bad0").error.find("not finite"), std::string::npos);
  EXPECT_EQ(listener.of("good0").text, alone(kBeginnings[1], {.max_tokens = 20, .ignore_end = true}).text);
}

TEST_F(Loop, WhatCannotBeDoneIsRefusedBeforeItIsTaken) {
  BatchLimits given = limits();
  given.context = 16;
  const BatchLoop loop(decoder, tokenizer, given);
  const auto refusal = [&](const GenerationRequest& request) { return message_of([&] { loop.judge(request); }); };
  EXPECT_NE(refusal({.prompt = {}}).find("no tokens"), std::string::npos);
  const std::string too_long = refusal({.prompt = std::vector<std::int32_t>(16, 5)});
  EXPECT_NE(too_long.find("tokens 16, context 16"), std::string::npos) << too_long;
  EXPECT_NE(refusal({.prompt = {5, 100000}}).find("outside the vocabulary"), std::string::npos);
  EXPECT_NE(refusal({.prompt = {5}, .logit_bias = {{-1, 1.0F}}}).find("logit_bias"), std::string::npos);
  EXPECT_NE(refusal({.prompt = {5}, .sampler = {.temperature = -1}}).find("temperature"), std::string::npos);
  given.memory = 10;
  const std::string no_memory = message_of([&] { BatchLoop(decoder, tokenizer, given); });
  EXPECT_NE(no_memory.find("given 10"), std::string::npos) << no_memory;
}

}  // namespace
}  // namespace nibble::serve
