// SPDX-License-Identifier: Apache-2.0
//
// The installed headers on models that run: the engine, generation, verdicts and tasks.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

#include "base/error_kind.h"
#include "engine/decoder.h"
#include "evaluate/acceptance.h"
#include "nibble/chat.h"
#include "nibble/engine.h"
#include "nibble/evaluate.h"
#include "nibble/generate.h"
#include "nibble/quantize.h"
#include "nibble/tasks.h"
#include "pipeline/judge/judge_models.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

const std::filesystem::path kTale = NIBBLE_SOURCE_DIR "/tests/data/tale-4M";

std::vector<std::int32_t> some_tokens(std::size_t count, std::int32_t vocabulary, std::int32_t seed) {
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<std::int32_t>((i * 7919 + static_cast<std::size_t>(seed) * 31) % vocabulary));
  return tokens;
}

class ApiEngine : public testing::Test {
 protected:
  std::vector<std::int32_t> tokens(std::size_t count, std::int32_t seed) const {
    return some_tokens(count, static_cast<std::int32_t>(loaded_.vocabulary()), seed);
  }
  LoadedModel loaded_{open_model(kTiedModel), {.machine = {.threads = 2}}};
};

TEST_F(ApiEngine, GivesTheLogitsOfTheHouse) {
  Machine machine(best_isa(detect_cpu()), 1);
  Decoder decoder(SourceModel::open(kTiedModel), {.kernels = {.activations = ActivationMode::native}}, machine);
  KvCache cache = decoder.new_cache(16);
  const std::vector<std::int32_t> ids = tokens(9, 1);
  std::vector<float> expected(loaded_.vocabulary());
  decoder.forward(cache, ids, LogitsFor::last, expected);

  Sequence sequence = loaded_.new_sequence(16);
  EXPECT_EQ(loaded_.next_logits(sequence, ids), expected);
  EXPECT_EQ(sequence.length(), 9u);
  EXPECT_EQ(sequence.capacity(), 16u);
  EXPECT_NE(loaded_.instruction_set(), InstructionSet::best);
  EXPECT_EQ(loaded_.keys_values(), KeyValueStorage::f16);
}

TEST_F(ApiEngine, SeveralSequencesGetWhatEachGetsAlone) {
  std::vector<Sequence> together;
  std::vector<SequenceInput> inputs;
  const std::vector<std::vector<std::int32_t>> texts = {tokens(5, 1), tokens(1, 2), tokens(8, 3)};
  for (std::size_t s = 0; s < texts.size(); ++s) together.push_back(loaded_.new_sequence(12));
  for (std::size_t s = 0; s < texts.size(); ++s) inputs.push_back({&together[s], texts[s], texts[s].size() - 1});
  std::vector<float> logits(3 * loaded_.vocabulary());
  loaded_.step(inputs, logits);
  for (std::size_t s = 0; s < texts.size(); ++s) {
    Sequence alone = loaded_.new_sequence(12);
    const std::vector<float> expected = loaded_.next_logits(alone, texts[s]);
    EXPECT_TRUE(std::ranges::equal(expected, std::span(logits).subspan(s * expected.size(), expected.size()))) << s;
  }
}

TEST_F(ApiEngine, ASequenceGoesBackToItsPoints) {
  Sequence sequence = loaded_.new_sequence(16);
  loaded_.next_logits(sequence, tokens(4, 1));
  const SequencePoint point = sequence.save();
  const std::vector<float> before = loaded_.next_logits(sequence, tokens(3, 2));
  sequence.restore(point);
  EXPECT_EQ(sequence.length(), point.length());
  loaded_.next_logits(sequence, tokens(5, 3));
  sequence.restore(point);
  EXPECT_EQ(loaded_.next_logits(sequence, tokens(3, 2)), before);

  Sequence other = loaded_.new_sequence(16);
  EXPECT_EQ(kind_of([&] { other.restore(point); }), ErrorKind::invalid_argument);
  sequence.clear();
  EXPECT_EQ(kind_of([&] { sequence.restore(point); }), ErrorKind::invalid_argument);
}

TEST_F(ApiEngine, PointsOfATextThatIsNoMoreAreRefusedAtAnyLength) {
  Sequence sequence = loaded_.new_sequence(16);
  const SequencePoint empty = sequence.save();
  loaded_.next_logits(sequence, tokens(3, 1));
  const SequencePoint early = sequence.save();
  loaded_.next_logits(sequence, tokens(3, 2));
  const SequencePoint late = sequence.save(), copy = late;
  sequence.restore(early);
  loaded_.next_logits(sequence, tokens(6, 3));
  EXPECT_EQ(kind_of([&] { sequence.restore(late); }), ErrorKind::invalid_argument);
  EXPECT_EQ(kind_of([&] { sequence.restore(copy); }), ErrorKind::invalid_argument);
  EXPECT_EQ(sequence.length(), 9u);
  sequence.restore(early);
  sequence.clear();
  loaded_.next_logits(sequence, tokens(9, 4));
  EXPECT_EQ(kind_of([&] { sequence.restore(early); }), ErrorKind::invalid_argument);
  sequence.restore(empty);
  EXPECT_EQ(sequence.length(), 0u);
}

TEST_F(ApiEngine, StepsThatMakeNoSenseAreRefusedAndChangeNothing) {
  Sequence a = loaded_.new_sequence(8), b = loaded_.new_sequence(8);
  const std::vector<std::int32_t> three = tokens(3, 1), nine = tokens(9, 1), outside = {1, 1 << 20};
  std::vector<float> logits(2 * loaded_.vocabulary());
  const auto refused = [&](std::vector<SequenceInput> inputs) {
    const ErrorKind kind = kind_of([&] { loaded_.step(inputs, logits); });
    EXPECT_EQ(a.length() + b.length(), 0u);
    return kind;
  };
  EXPECT_EQ(refused({{&a, three, 2}, {&b, outside, 1}}), ErrorKind::unusable_input);
  EXPECT_EQ(refused({{&a, three, 2}, {&b, nine, 8}}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused({{&a, three, 2}, {&a, three, 2}}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused({{&a, three, 2}}), ErrorKind::invalid_argument);  // room for two
  EXPECT_EQ(refused({{&a, three, 4}}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused({{nullptr, three, 2}, {&b, three, 2}}), ErrorKind::invalid_argument);
  EXPECT_EQ(kind_of([&] { loaded_.next_logits(a, {}); }), ErrorKind::unusable_input);

  std::optional<LoadedModel> other(std::in_place, open_model(kTiedModel));
  Sequence foreign = other->new_sequence(8);
  EXPECT_EQ(kind_of([&] { loaded_.next_logits(foreign, three); }), ErrorKind::invalid_argument);
  other.reset();
  EXPECT_EQ(foreign.length(), 0u);  // outlives its model
}

TEST_F(ApiEngine, AStoppedStepLeavesSequencesAsTheyWere) {
  Sequence sequence = loaded_.new_sequence(2000);
  loaded_.next_logits(sequence, tokens(3, 1));
  const std::vector<std::int32_t> much = tokens(1800, 2);
  std::uint64_t read = 0;
  const auto stop = [&](const Progress& progress) {
    EXPECT_EQ(progress.stage, "read");
    EXPECT_EQ(progress.total, much.size());
    read = progress.done;
    return false;
  };
  EXPECT_EQ(kind_of([&] { loaded_.next_logits(sequence, much, stop); }), ErrorKind::cancelled);
  EXPECT_GT(read, 0u);
  EXPECT_LT(read, much.size());
  EXPECT_EQ(sequence.length(), 3u);
  Sequence fresh = loaded_.new_sequence(2000);
  loaded_.next_logits(fresh, tokens(3, 1));
  EXPECT_EQ(loaded_.next_logits(sequence, much), loaded_.next_logits(fresh, much));
}

TEST_F(ApiEngine, ThreadsShareAModel) {
  const std::vector<std::int32_t> text = tokens(6, 1);
  Sequence alone = loaded_.new_sequence(8);
  const std::vector<float> expected = loaded_.next_logits(alone, text);
  std::vector<std::vector<float>> got(4);
  std::vector<std::thread> threads;
  for (std::vector<float>& logits : got)
    threads.emplace_back([&] {
      Sequence sequence = loaded_.new_sequence(8);
      logits = loaded_.next_logits(sequence, text);
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<float>& logits : got) EXPECT_EQ(logits, expected);
}

TEST(ApiGenerate, StreamsWhatItReturnsAndStops) {
  LoadedModel loaded(open_model(kTale));
  std::string streamed;
  const GenerateOptions options{.sampler = {.temperature = 0.9, .seed = 5}, .max_tokens = 12};
  const Generated made = generate(loaded, "Once upon a time", options, [&](std::string_view piece) {
    streamed += piece;
    // The model is free while text is handed out.
    Sequence other = loaded.new_sequence(4);
    EXPECT_EQ(loaded.next_logits(other, loaded.model().encode("Tom")).size(), loaded.vocabulary());
    return true;
  });
  EXPECT_EQ(made.tokens.size(), 12u);
  EXPECT_EQ(streamed, made.text);

  // By hand.
  std::vector<std::int32_t> history = loaded.model().encode("Once upon a time");
  Sequence sequence = loaded.new_sequence(64);
  TokenSampler sampler(options.sampler);
  std::vector<float> logits = loaded.next_logits(sequence, history);
  for (const std::int32_t token : made.tokens) {
    const std::int32_t next = sampler.choose(logits, history);
    ASSERT_EQ(next, token);
    history.push_back(next);
    logits = loaded.next_logits(sequence, std::span(&next, 1));
  }

  EXPECT_EQ(generate(loaded, "Once", options, [](std::string_view) { return false; }).reason, StopReason::caller);
  EXPECT_EQ(kind_of([&] { generate(loaded, std::span<const std::int32_t>{}, options); }), ErrorKind::unusable_input);
  EXPECT_EQ(kind_of([&] { generate(loaded, "Once", {.sampler = {.temperature = -1}}); }), ErrorKind::invalid_argument);
  for (const std::string_view stage : {"read", "generate"})
    EXPECT_EQ(kind_of([&] {
                generate(loaded, "Once", {.progress = [&](const Progress& now) { return now.stage != stage; }});
              }),
              ErrorKind::cancelled)
        << stage;
}

// Roles as lines, with the names of tools before them and a thought begun where that is asked for.
constexpr const char* kLines =
    "{% for tool in tools or [] %}[{{ tool.name }}]{% endfor %}{% for m in messages %}{{ m.role }}: {{ m.content "
    "}}\n{% "
    "endfor %}"
    "{% if add_generation_prompt %}assistant:{% if think %}<think>{% endif %}{% endif %}";

class ApiChat : public testing::Test {
 protected:
  ApiChat() { std::ofstream(template_) << kLines; }
  ScratchDirectory scratch_;
  std::string template_ = (scratch_ / "lines.jinja").string();
  LoadedModel loaded_{open_model(kTale)};
  const GenerateOptions options_ = {.max_tokens = 12, .ignore_end = true};
};

TEST_F(ApiChat, ConversationsBecomeTheTemplatesText) {
  const Model& model = loaded_.model();
  const std::string one = R"([{"role": "user", "content": "Hi"}])";
  EXPECT_EQ(apply_chat_template(model, one, {.chat_template = template_}), "user: Hi\nassistant:");
  EXPECT_EQ(apply_chat_template(
                model, one,
                {.chat_template = template_, .tools = R"([{"name": "look"}])", .variables = R"({"think": true})"}),
            "[look]user: Hi\nassistant:<think>");
  EXPECT_EQ(apply_chat_template(model, one, {.chat_template = template_, .add_generation_prompt = false}),
            "user: Hi\n");
  const auto refused = [&](std::string_view messages, const ChatTemplateOptions& options) {
    return kind_of([&] { apply_chat_template(model, messages, options); });
  };
  EXPECT_EQ(refused(one, {}), ErrorKind::not_found);  // it was not taught to talk
  EXPECT_EQ(refused("{", {.chat_template = template_}), ErrorKind::corrupt);
  EXPECT_EQ(refused("{}", {.chat_template = template_}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused("[1]", {.chat_template = template_}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused(one, {.chat_template = template_, .tools = "{}"}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused(one, {.chat_template = template_, .variables = "[]"}), ErrorKind::invalid_argument);
}

TEST_F(ApiChat, AnswersAreThoseOfTheRenderedTextAndReadOnlyWhatIsNew) {
  Chat chat(loaded_, 256, template_);
  const std::string first = R"([{"role": "user", "content": "Tom had a red ball."})";
  std::string streamed;
  const ChatAnswer answer = chat.answer(first + "]", {}, options_, [&](bool is_reasoning, std::string_view text) {
    EXPECT_FALSE(is_reasoning);
    streamed += text;
    return true;
  });
  const std::vector<std::int32_t> ids =
      loaded_.model().encode("user: Tom had a red ball.\nassistant:", {.add_special = false, .parse_special = true});
  const Generated made = generate(loaded_, ids, options_);
  EXPECT_EQ(answer.text, made.text);
  EXPECT_EQ(streamed, made.text);
  EXPECT_EQ(answer.prompt_tokens, ids.size());
  EXPECT_EQ(answer.kept_tokens, 0u);

  const std::string second =
      first + R"(, {"role": "assistant", "content": "He"}, {"role": "user", "content": "Why?"}])";
  const ChatAnswer went_on = chat.answer(second, {}, options_);
  EXPECT_GT(went_on.kept_tokens, ids.size() / 2);
  EXPECT_EQ(went_on.text, Chat(loaded_, 256, template_).answer(second, {}, options_).text);

  EXPECT_EQ(kind_of([&] { Chat(loaded_, loaded_.context() + 1, template_); }), ErrorKind::invalid_argument);
  EXPECT_EQ(kind_of([&] { Chat{loaded_}; }), ErrorKind::not_found);
  EXPECT_EQ(kind_of([&] { Chat(loaded_, 8, template_).answer(second, {}, options_); }), ErrorKind::unusable_input);
}

TEST(ApiLoad, SaysWhatItCannotDo) {
  const Model model = open_model(kTiedModel);
  EXPECT_EQ(kind_of([&] { LoadedModel(model, {.progress = [](const Progress&) { return false; }}); }),
            ErrorKind::cancelled);
  const auto with = [&](const ArithmeticOptions& arithmetic) {
    return kind_of([&] { LoadedModel(model, {.arithmetic = arithmetic}); });
  };
  EXPECT_EQ(with({.activation_format = "a8:g32"}), ErrorKind::invalid_argument);
  EXPECT_EQ(with({.activations = ActivationArithmetic::int8, .activation_format = "a9"}), ErrorKind::invalid_argument);
  EXPECT_EQ(with({.activations = ActivationArithmetic::int8, .activation_format = "a8:static"}),
            ErrorKind::invalid_argument);
  const LoadedModel scalar(model, {.arithmetic = {.keys_values = KeyValueStorage::q4_0},
                                   .machine = {.threads = 1, .instruction_set = InstructionSet::scalar}});
  EXPECT_EQ(scalar.instruction_set(), InstructionSet::scalar);
  EXPECT_EQ(scalar.keys_values(), KeyValueStorage::q4_0);
}

TEST(ApiLoad, CachesOfEveryTypeSayNearlyTheSame) {
  const Model model = open_model(kTale);
  std::vector<std::vector<float>> seen;
  for (const auto& [storage, most] :
       {std::pair(KeyValueStorage::f32, 0.0), std::pair(KeyValueStorage::f16, 1e-6),
        std::pair(KeyValueStorage::q8_0, 1e-3), std::pair(KeyValueStorage::q8_0_rotated, 1e-3),
        std::pair(KeyValueStorage::q4_0, 0.1), std::pair(KeyValueStorage::q4_0_rotated, 0.1)}) {
    LoadedModel loaded(model, {.arithmetic = {.keys_values = storage}});
    EXPECT_EQ(loaded.keys_values(), storage);
    Sequence sequence = loaded.new_sequence(40);
    const auto logits =
        loaded.next_logits(sequence, some_tokens(33, static_cast<std::int32_t>(loaded.vocabulary()), 1));
    const std::vector<float>& now = seen.emplace_back(logits.begin(), logits.end());
    double squares = 0, differences = 0;
    for (std::size_t i = 0; i < now.size(); ++i) {
      squares += seen.front()[i] * seen.front()[i];
      differences += (now[i] - seen.front()[i]) * (now[i] - seen.front()[i]);
    }
    EXPECT_LE(differences, most * squares) << static_cast<int>(storage);
    EXPECT_EQ(std::ranges::count(seen, now), 1) << static_cast<int>(storage);
  }
}

class ApiVerdict : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 300; ++i) text_ += "Tom had a dog, number " + std::to_string(i) + ". The dog was red.\n";
    const std::filesystem::path output = scratch_ / "q.gguf";
    quantize(original_, {.format = "q4_0", .output = output});
    candidate_ = open_model(output);
  }
  ScratchDirectory scratch_;
  std::string text_;
  Model original_ = open_model(kTale), candidate_ = original_;
};

TEST_F(ApiVerdict, IsTheHouses) {
  const EvaluateRequest request{
      .context = 32, .max_windows = 30, .layers = true, .split_windows = 2, .machine = {.threads = 1}};
  const PairedVerdict verdict = evaluate_against({{"q", candidate_}}, original_, {{"text", text_}}, request);
  Machine machine(best_isa(detect_cpu()), 2);
  const SourceModel original = SourceModel::open(original_.path()), candidate = SourceModel::open(candidate_.path());
  JudgeOptions options{.windows = {.context = 32, .max_windows = 30}, .layers = true, .split_windows = 2};
  const PairedVerdict expected = judge_models(original, {{"q", &candidate}}, {{"text", text_}}, options, machine);
  ASSERT_EQ(verdict.candidates.size(), 1u);
  for (std::size_t i = 0; i < kNumMetrics; ++i)
    EXPECT_EQ(verdict.candidates[0].overall.figures[i].value, expected.candidates[0].overall.figures[i].value) << i;
  EXPECT_EQ(verdict.candidates[0].overall[Metric::kl_mean].low, expected.candidates[0].overall[Metric::kl_mean].low);
  EXPECT_TRUE(verdict.candidates[0].layers.has_value());
  EXPECT_TRUE(verdict.candidates[0].split.has_value());
  EXPECT_EQ(evaluate(original_, {{"text", text_}}, request).original_perplexity.value,
            verdict.original_perplexity.value);
  EXPECT_EQ(describe_metric(Metric::kl_mean).key, describe(Metric::kl_mean).key);

  const Acceptance loose = judge_acceptance(verdict, 0, read_requirements("kl<=5"));
  EXPECT_EQ(loose.judgement, Judgement::accepted);
  EXPECT_EQ(judge_acceptance(verdict, 0, {{.metric = Metric::kl_mean, .value = 1e-9}}).judgement, Judgement::rejected);
  EXPECT_EQ(kind_of([&] { judge_acceptance(verdict, 1, {}); }), ErrorKind::invalid_argument);
  EXPECT_EQ(kind_of([] { read_requirements("what<=1"); }), ErrorKind::invalid_argument);
}

TEST_F(ApiVerdict, WantsTextAndCanBeStopped) {
  EXPECT_EQ(kind_of([&] { evaluate(original_, {}, {}); }), ErrorKind::unusable_input);
  EXPECT_EQ(kind_of([&] { evaluate(original_, {{"empty", ""}}, {}); }), ErrorKind::unusable_input);
  EXPECT_EQ(kind_of([&] { evaluate(original_, {{"text", text_}}, {.context = 1 << 20}); }),
            ErrorKind::invalid_argument);
  bool stop = false;
  EvaluateRequest request{.context = 64, .keep_partial = true};
  request.progress = [&](const Progress& now) { return now.stage != "evaluate" || !std::exchange(stop, true); };
  const PairedVerdict partial = evaluate_against({{"q", candidate_}}, original_, {{"text", text_}}, request);
  EXPECT_TRUE(partial.partial());
}

TEST_F(ApiVerdict, TasksAreAskedAndPaired) {
  const std::string line = R"({"goal": "To keep milk fresh,", "sol1": "cool it.", "sol2": "heat it.", "label": 0})";
  EvaluateTaskRequest request{.task = "piqa", .files = {{"piqa.jsonl", line + "\n" + line + "\n"}}, .paired = true};
  const TaskVerdict verdict = evaluate_task({{"original", original_}, {"itself", original_}}, request);
  EXPECT_EQ(verdict.questions, 2u);
  ASSERT_EQ(verdict.models.size(), 2u);
  for (const TaskChange& change : verdict.models[1].changes) EXPECT_EQ(change.changed, 0u);

  request.task = "no such";
  EXPECT_EQ(kind_of([&] { evaluate_task({{"original", original_}}, request); }), ErrorKind::invalid_argument);
  request.task = "piqa";
  EXPECT_EQ(kind_of([&] { evaluate_task({}, request); }), ErrorKind::invalid_argument);
  request.files = {{"piqa.jsonl", "no JSON\n"}};
  EXPECT_EQ(kind_of([&] { evaluate_task({{"original", original_}}, request); }), ErrorKind::corrupt);
  const auto tasks = list_task_descriptions();
  EXPECT_NE(std::ranges::find(tasks, "piqa", &TaskDescription::name), tasks.end());
}

}  // namespace
}  // namespace nibble
