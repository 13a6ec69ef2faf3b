// SPDX-License-Identifier: Apache-2.0
//
// The forward pass against the transformers package (float32), and against itself cut in other ways.
#include "engine/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>

#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

// f32 arithmetic in another order: 1e-4 of the largest logit is far above rounding, far below any error of substance.
constexpr double kAgreement = 1e-4;

struct Loaded {
  explicit Loaded(const std::string& name, std::size_t threads = 2, DecoderOptions options = exact_options(),
                  Isa isa = chosen_isa())
      : machine(isa, threads), decoder(SourceModel::open(data_directory() / name), options, machine) {}
  Machine machine;
  Decoder decoder;
};

class TinyModel : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, TinyModel, testing::ValuesIn(tiny_models()), [](const auto& p) { return p.param; });

TEST_P(TinyModel, AgreesWithTransformers) {
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Loaded model(GetParam());
  const std::vector<float> logits = all_logits(model.decoder, reference.ids);
  const std::size_t vocab = model.decoder.config().vocab_size;
  ASSERT_GE(reference.at.size(), 4u);
  for (const auto& [position, expected] : reference.at)
    EXPECT_LT(relative_difference(std::span(logits).subspan(position * vocab, vocab), expected), kAgreement)
        << "position " << position;
}

// The other frequencies of longrope, of sequences that are no longer than the model was first trained with; the cache
// says how long one may become.
TEST(LongRope, ShortSequencesAgreeWithTransformers) {
  const ReferenceLogits reference = ReferenceLogits::read("tiny_phi3_short");
  Loaded model("tiny_phi3");
  const std::size_t vocab = model.decoder.config().vocab_size;
  ASSERT_LE(reference.ids.size(), model.decoder.config().rope.original_context);
  const auto largest_difference = [&](std::size_t capacity) {
    KvCache cache = model.decoder.new_cache(capacity);
    std::vector<float> logits(reference.ids.size() * vocab);
    model.decoder.forward(cache, reference.ids, LogitsFor::all, logits);
    double largest = 0;
    for (const auto& [position, expected] : reference.at)
      largest = std::max(largest, relative_difference(std::span(logits).subspan(position * vocab, vocab), expected));
    return largest;
  };
  EXPECT_LT(largest_difference(reference.ids.size()), kAgreement);
  EXPECT_LT(largest_difference(model.decoder.config().rope.original_context), kAgreement);
  EXPECT_GT(largest_difference(model.decoder.config().rope.original_context + 1), 100 * kAgreement);
}

TEST(BundledModel, AgreesWithTransformers) {
  const ReferenceLogits reference = ReferenceLogits::read("tale-4M");
  Machine machine(chosen_isa(), 2);
  Decoder decoder(SourceModel::open(std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/tale-4M"), exact_options(),
                  machine);
  const std::vector<float> logits = all_logits(decoder, reference.ids);
  const std::size_t vocab = decoder.config().vocab_size;
  ASSERT_GE(reference.at.size(), 4u);
  for (const auto& [position, expected] : reference.at)
    EXPECT_LT(relative_difference(std::span(logits).subspan(position * vocab, vocab), expected), kAgreement)
        << "position " << position;
}

TEST_P(TinyModel, EveryInstructionSetGivesTheSameBits) {
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Loaded scalar(GetParam(), 2, exact_options(), Isa::scalar);
  Loaded best(GetParam());
  EXPECT_EQ(all_logits(scalar.decoder, reference.ids), all_logits(best.decoder, reference.ids));
}

TEST_P(TinyModel, AnyNumberOfThreadsGivesTheSameBits) {
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Loaded one(GetParam(), 1), five(GetParam(), 5);
  EXPECT_EQ(all_logits(one.decoder, reference.ids), all_logits(five.decoder, reference.ids));
}

TEST_P(TinyModel, TokenByTokenEqualsOneBatch) {
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Loaded model(GetParam());
  const std::size_t vocab = model.decoder.config().vocab_size;
  const std::vector<float> whole = all_logits(model.decoder, reference.ids);
  KvCache cache = model.decoder.new_cache(reference.ids.size());
  std::vector<float> step(vocab);
  for (std::size_t t = 0; t < reference.ids.size(); ++t) {
    model.decoder.forward(cache, std::span(reference.ids).subspan(t, 1), LogitsFor::last, step);
    ASSERT_TRUE(std::equal(step.begin(), step.end(), whole.begin() + static_cast<std::ptrdiff_t>(t * vocab))) << t;
  }
  EXPECT_EQ(cache.length(), reference.ids.size());
}

TEST_P(TinyModel, LogitsOfARangeAreThoseOfTheWhole) {
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Loaded model(GetParam());
  const std::size_t vocab = model.decoder.config().vocab_size, n = reference.ids.size();
  const std::vector<float> whole = all_logits(model.decoder, reference.ids);
  for (const std::size_t first : {std::size_t{0}, std::size_t{1}, n / 2, n - 1, n}) {
    KvCache cache = model.decoder.new_cache(n);
    std::vector<float> part((n - first) * vocab);
    model.decoder.forward_from(cache, reference.ids, first, part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(first * vocab)))
        << first;
    EXPECT_EQ(cache.length(), n);
  }
}

TEST_P(TinyModel, ACacheGoesBackToASavedPoint) {
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Loaded model(GetParam());
  const std::size_t vocab = model.decoder.config().vocab_size;
  KvCache cache = model.decoder.new_cache(reference.ids.size());
  std::vector<float> first(vocab), again(vocab);
  model.decoder.forward(cache, std::span(reference.ids).first(30), LogitsFor::last, first);
  const SavedPoint point = cache.save();
  model.decoder.forward(cache, std::span(reference.ids).subspan(30), LogitsFor::last, first);
  cache.restore(point);
  EXPECT_EQ(cache.length(), 30u);
  model.decoder.forward(cache, std::span(reference.ids).subspan(30), LogitsFor::last, again);
  EXPECT_EQ(first, again);
  cache.clear();
  model.decoder.forward(cache, reference.ids, LogitsFor::last, again);
  EXPECT_EQ(first, again);
}

// A recurrent state knows its end only: back to a point that was saved, or to the beginning.
TEST(RecurrentStates, GoBackToSavedPointsOnly) {
  const std::vector<std::int32_t> ids = ReferenceLogits::read("tiny_qwen35").ids;
  Loaded model("tiny_qwen35");
  const std::size_t vocab = model.decoder.config().vocab_size;
  KvCache cache = model.decoder.new_cache(ids.size());
  EXPECT_TRUE(cache.needs_points());
  const std::uint64_t empty = cache.resident_bytes();
  EXPECT_EQ(empty, 4u * 3 * (3 * (2 * 32 + 96) + 6 * 16 * 16));
  EXPECT_GT(model.decoder.cache_bytes(ids.size()), empty);
  std::vector<float> first(vocab), again(vocab);
  const auto read = [&](std::size_t count, std::vector<float>& logits) {
    model.decoder.forward(cache, std::span(ids).subspan(cache.length(), count), LogitsFor::last, logits);
  };
  read(20, first);
  const SavedPoint early = cache.save();
  read(20, first);
  const SavedPoint late = cache.save();
  read(10, first);
  cache.go_back(50);
  EXPECT_EQ(cache.length(), 50u);
  cache.restore(late);
  read(10, again);
  EXPECT_EQ(first, again);
  cache.restore(early);
  read(30, again);
  EXPECT_EQ(first, again);
  cache.go_back(40);
  EXPECT_EQ(cache.length(), 0u);
  read(50, again);
  EXPECT_EQ(first, again);
  EXPECT_FALSE(Loaded("tiny_tied").decoder.new_cache(8).needs_points());
}

// What a step that is stopped has done to a state cannot be undone.
TEST(RecurrentStates, AreEmptyBehindAStepThatIsStopped) {
  Loaded model("tiny_qwen35");
  const std::size_t vocab = model.decoder.config().vocab_size;
  std::vector<std::int32_t> ids(700);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 37 % vocab);
  KvCache cache = model.decoder.new_cache(ids.size()), fresh = model.decoder.new_cache(ids.size());
  std::vector<float> expected(vocab), found(vocab);
  model.decoder.forward(fresh, ids, LogitsFor::last, expected);
  model.decoder.forward(cache, std::span(ids).first(10), LogitsFor::last, found);
  const SequenceStep rest{&cache, std::span(ids).subspan(10), 690};
  EXPECT_THROW(model.decoder.step({&rest, 1}, {}, [](const Progress& p) { return p.done == 0; }), Error);
  EXPECT_EQ(cache.length(), 0u);
  model.decoder.forward(cache, ids, LogitsFor::last, found);
  EXPECT_EQ(found, expected);
  // A step that is refused before it begins changes nothing.
  KvCache refused = model.decoder.new_cache(20);
  model.decoder.forward(refused, std::span(ids).first(10), LogitsFor::last, found);
  const SequenceStep too_long{&refused, ids, ids.size()};
  EXPECT_THROW(model.decoder.step({&too_long, 1}, {}), Error);
  EXPECT_EQ(refused.length(), 10u);
}

// Longer than one internal batch: the cut must not show.
TEST_P(TinyModel, LongPromptsAreCutWithoutATrace) {
  Loaded model(GetParam());
  const std::size_t vocab = model.decoder.config().vocab_size;
  std::vector<std::int32_t> ids(1100);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 37 % vocab);
  KvCache whole = model.decoder.new_cache(ids.size()), parts = model.decoder.new_cache(ids.size());
  std::vector<float> a(600 * vocab), b(vocab);
  model.decoder.forward_from(whole, ids, 500, a);
  for (std::size_t t = 0; t < ids.size(); t += 100)
    model.decoder.forward(parts, std::span(ids).subspan(t, 100), LogitsFor::last, b);
  EXPECT_TRUE(std::equal(b.begin(), b.end(), a.end() - static_cast<std::ptrdiff_t>(vocab)));
}

// Whoever looks at the residual stream sees every point of every batch in order.
TEST(Decoder, ShowsItsStreamAtEveryPoint) {
  Loaded model("tiny_gqa_llama3rope");
  const std::size_t vocab = model.decoder.config().vocab_size;
  std::vector<std::int32_t> ids(700);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 37 % vocab);
  std::vector<std::array<std::size_t, 3>> seen;
  KvCache cache = model.decoder.new_cache(ids.size()), plain = model.decoder.new_cache(ids.size());
  std::vector<float> watched(vocab), unwatched(vocab);
  model.decoder.forward_from(cache, ids, ids.size() - 1, watched, [&](const StreamPoint& p) {
    seen.push_back({p.first_token, p.layers, p.x.size() / model.decoder.config().hidden});
  });
  EXPECT_EQ(seen, (std::vector<std::array<std::size_t, 3>>{
                      {0, 0, 512}, {0, 1, 512}, {0, 2, 512}, {512, 0, 188}, {512, 1, 188}, {512, 2, 188}}));
  model.decoder.forward(plain, ids, LogitsFor::last, unwatched);
  EXPECT_EQ(watched, unwatched);
}

// Tokens whose stream is replaced by others' everywhere are predicted like those.
TEST(Decoder, WhatIsWrittenIntoTheStreamGoesOn) {
  Loaded model("tiny_gqa_llama3rope");
  const std::size_t vocab = model.decoder.config().vocab_size;
  const std::vector<std::int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6}, others = {2, 7, 1, 8, 2, 8, 1, 8};
  std::map<std::size_t, std::vector<float>> stream;
  std::vector<float> expected(vocab), found(vocab);
  KvCache a = model.decoder.new_cache(ids.size()), b = model.decoder.new_cache(ids.size());
  model.decoder.forward_from(a, ids, ids.size() - 1, expected,
                             [&](const StreamPoint& p) { stream[p.layers].assign(p.x.begin(), p.x.end()); });
  model.decoder.forward_from(b, others, ids.size() - 1, found,
                             [&](const StreamPoint& p) { std::ranges::copy(stream.at(p.layers), p.x.begin()); });
  EXPECT_EQ(found, expected);
}

// A window's layers keep what they may still see, and what a saved point does: the same logits, however the text is
// cut.
TEST(Decoder, WindowsBoundTheCache) {
  for (const char* const name : {"tiny_mistral", "tiny_gemma2", "tiny_gemma3", "tiny_gptoss"}) {
    Loaded model(name);
    const ModelConfig& config = model.decoder.config();
    ASSERT_GT(config.sliding_window, 0u) << name;
    std::uint64_t whole = 0;
    const std::size_t vocab = config.vocab_size, n = 2600;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(config.layers); ++i)
      whole += KvLayer::bytes_of(n, config.kv_heads, config.head_dim, KvType::f32);
    std::vector<std::int32_t> ids(n);
    for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<std::int32_t>(i * 37 % vocab);
    const auto read = [&](KvCache& cache, std::size_t to, std::size_t piece) {
      std::vector<float> logits(vocab);
      for (std::size_t t = cache.length(); t < to; t = cache.length())
        model.decoder.forward(cache, std::span(ids).subspan(t, std::min(piece, to - t)), LogitsFor::last, logits);
      return logits;
    };
    KvCache cache = model.decoder.new_cache(n);
    EXPECT_EQ(cache.resident_bytes(), 0u);
    const std::vector<float> expected = read(cache, n, n);
    const std::uint64_t bounded = cache.resident_bytes();
    EXPECT_LE(bounded, model.decoder.cache_bytes(n)) << name;
    EXPECT_LT(model.decoder.cache_bytes(n), whole) << name;
    // In steps, as generation reads.
    KvCache stepped = model.decoder.new_cache(n);
    std::vector<float> logits(vocab);
    for (std::size_t t = 0; t < n; t = stepped.length()) {
      const std::span<const std::int32_t> piece = std::span(ids).subspan(t, std::min<std::size_t>(100, n - t));
      const SequenceStep step{&stepped, piece, piece.size() - 1};
      model.decoder.step({&step, 1}, logits);
    }
    EXPECT_EQ(logits, expected) << name;
    EXPECT_LE(stepped.resident_bytes(), model.decoder.cache_bytes(n)) << name;
    // A step that is stopped leaves the sequence as it was, or empty.
    stepped.clear();
    const auto read_until = [&](std::size_t to, std::size_t most) {
      const std::size_t from = stepped.length();
      const SequenceStep step{&stepped, std::span(ids).subspan(from, to - from), to - from};
      EXPECT_THROW(model.decoder.step({&step, 1}, {}, [&](const Progress& p) { return p.done < most; }), Error);
    };
    read_until(2600, 1);
    EXPECT_EQ(stepped.length(), 0u);
    EXPECT_EQ(read(stepped, 300, 300).size(), vocab);
    read_until(400, 1);
    EXPECT_EQ(stepped.length(), 300u);
    read_until(2600, 1);
    EXPECT_EQ(stepped.length(), 0u);
    EXPECT_EQ(read(stepped, n, 200), expected) << name;
    // Another text in its place, and one that goes back to where it was saved.
    cache.clear();
    EXPECT_EQ(read(cache, 700, 100).size(), vocab);
    const SavedPoint point = cache.save();
    for (const std::size_t piece : {300u, 77u, 512u}) {
      EXPECT_EQ(read(cache, n, piece), expected) << name << ", pieces of " << piece;
      EXPECT_GT(cache.resident_bytes(), bounded) << name;
      cache.restore(point);
      EXPECT_EQ(cache.length(), 700u);
    }
    cache.clear();
    EXPECT_EQ(read(cache, n, 200), expected) << name;
    // A cache that never was so long again is as large as one that never was.
    KvCache fresh = model.decoder.new_cache(n);
    EXPECT_EQ(read(fresh, n, 200), expected) << name;
    EXPECT_LE(fresh.resident_bytes(), bounded) << name;
  }
}

// Sequences of different lengths that come, go on and end at different steps, in steps longer and shorter than one
// internal batch.
TEST(Decoder, SequencesSideBySideGetTheBitsOfEachAlone) {
  for (const auto& [name, kv] :
       {std::pair("tiny_gqa_llama3rope", KvType::f32), std::pair("tiny_gqa_llama3rope", KvType::q8_0),
        std::pair("tiny_gqa_llama3rope", KvType::q4_0), std::pair("tiny_qwen35", KvType::f32)}) {
    DecoderOptions options = exact_options();
    options.kv = kv;
    Loaded model(name, 2, options);
    const std::size_t vocab = model.decoder.config().vocab_size;
    const std::vector<std::vector<std::size_t>> plan = {
        {300, 1, 1, 0}, {0, 450, 1, 3}, {7, 1, 1, 1}, {1, 0, 20, 1}};  // tokens [sequence][step]
    std::vector<std::vector<std::int32_t>> ids(plan.size());
    std::vector<std::vector<float>> alone(plan.size());
    std::vector<KvCache> caches;
    for (std::size_t s = 0; s < plan.size(); ++s) {
      std::size_t total = 0;
      for (const std::size_t count : plan[s]) total += count;
      for (std::size_t i = 0; i < total; ++i) ids[s].push_back(static_cast<std::int32_t>((i * 37 + s * 11) % vocab));
      alone[s].resize(total * vocab);
      KvCache cache = model.decoder.new_cache(total);
      model.decoder.forward(cache, ids[s], LogitsFor::all, alone[s]);
      caches.push_back(model.decoder.new_cache(total));
    }
    for (std::size_t step = 0; step < 4; ++step) {
      std::vector<SequenceStep> steps;
      std::vector<float> expected;
      for (std::size_t s = 0; s < plan.size(); ++s) {
        const std::size_t at = caches[s].length(), count = plan[s][step], first = count / 3;
        steps.push_back({&caches[s], std::span(ids[s]).subspan(at, count), first});
        expected.insert(expected.end(), alone[s].begin() + static_cast<std::ptrdiff_t>((at + first) * vocab),
                        alone[s].begin() + static_cast<std::ptrdiff_t>((at + count) * vocab));
      }
      std::vector<float> logits(expected.size());
      model.decoder.step(steps, logits);
      EXPECT_EQ(std::memcmp(logits.data(), expected.data(), expected.size() * sizeof(float)), 0) << "step " << step;
    }
    for (std::size_t s = 0; s < plan.size(); ++s) EXPECT_EQ(caches[s].length(), ids[s].size());
  }
}

TEST(Decoder, AStepThatIsRefusedLeavesAllSequencesAsTheyWere) {
  Loaded model("tiny_gqa_llama3rope");
  KvCache one = model.decoder.new_cache(8), two = model.decoder.new_cache(2);
  std::vector<float> logits(2 * model.decoder.config().vocab_size);
  const std::vector<std::int32_t> ids = {1, 2, 3};
  const std::vector<SequenceStep> too_long = {{&one, ids, 2}, {&two, ids, 2}}, twice = {{&one, ids, 2}, {&one, ids, 2}};
  EXPECT_EQ(error_of([&] { model.decoder.step(too_long, logits); }).second,
            "the cache is too short for these tokens: capacity 2, filled 0, new 3");
  EXPECT_EQ(error_of([&] { model.decoder.step(twice, logits); }).second,
            "a step takes each sequence once, but two share a cache: 0 and 1");
  EXPECT_EQ(one.length(), 0u);
}

TEST(Decoder, HalfCachesStayClose) {
  const ReferenceLogits reference = ReferenceLogits::read("tiny_gqa_llama3rope");
  DecoderOptions options = exact_options();
  options.kv = KvType::f16;
  Loaded exact("tiny_gqa_llama3rope"), half("tiny_gqa_llama3rope", 2, options);
  const double difference =
      relative_difference(all_logits(half.decoder, reference.ids), all_logits(exact.decoder, reference.ids));
  EXPECT_LT(difference, 1e-2);  // keys and values rounded to 11 bits
  EXPECT_GT(difference, 0);     // and rounded they were
  EXPECT_LT(half.decoder.cache_bytes(64), exact.decoder.cache_bytes(64));
}

TEST(Decoder, CountsWhatItHolds) {
  Loaded model("tiny_gqa_llama3rope");
  constexpr std::uint64_t kInLinears = 2 * (64 * 64 * 2 + 32 * 64 * 2 + 3 * 64 * 96);
  EXPECT_GE(model.decoder.resident_bytes(), kInLinears * 4 + 2 * 256 * 64 * 4);
}

TEST(Decoder, TokensOutsideTheVocabulary) {
  Loaded model("tiny_gqa_llama3rope");
  KvCache cache = model.decoder.new_cache(8);
  std::vector<float> logits(256);
  for (const std::int32_t id : {-1, 256}) {
    const std::vector<std::int32_t> ids = {1, 2, id};
    const auto [kind, message] = error_of([&] { model.decoder.forward(cache, ids, LogitsFor::last, logits); });
    EXPECT_EQ(kind, ErrorKind::unusable_input);
    EXPECT_EQ(message, "token 2 is outside the vocabulary of 256: id " + std::to_string(id));
  }
  EXPECT_EQ(cache.length(), 0u);
}

TEST(Decoder, CacheTooShort) {
  Loaded model("tiny_gqa_llama3rope");
  KvCache cache = model.decoder.new_cache(8);
  std::vector<float> logits(256);
  model.decoder.forward(cache, std::vector<std::int32_t>(5, 1), LogitsFor::last, logits);
  const auto [kind, message] =
      error_of([&] { model.decoder.forward(cache, std::vector<std::int32_t>(4, 1), LogitsFor::last, logits); });
  EXPECT_EQ(kind, ErrorKind::invalid_argument);
  EXPECT_EQ(message, "the cache is too short for these tokens: capacity 8, filled 5, new 4");
  EXPECT_EQ(cache.length(), 5u);
}

TEST(Decoder, ReportsLoadingAndCanBeStopped) {
  Machine machine(chosen_isa(), 1);
  DecoderOptions options = exact_options();
  std::uint64_t last = 0, total = 0;
  options.progress = [&](const Progress& p) {
    EXPECT_EQ(p.stage, "load");
    last = p.done;
    total = p.total;
    return true;
  };
  const SourceModel checkpoint = SourceModel::open(data_directory() / "tiny_tied");
  Decoder decoder(checkpoint, options, machine);
  EXPECT_EQ(last, 4u);
  EXPECT_EQ(total, 4u);
  options.progress = [](const Progress&) { return false; };
  EXPECT_EQ(error_of([&] { Decoder stopped(checkpoint, options, machine); }).first, ErrorKind::cancelled);
}

}  // namespace
}  // namespace nibble
