// SPDX-License-Identifier: Apache-2.0
//
// Tasks against lm-evaluation-harness 0.4.13: tests/data/evaluate/harness.json holds what it makes of the same
// questions with the bundled model.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "evaluate/tasks/all.h"
#include "evaluate/tasks/numbers.h"
#include "evaluate/tasks/task_file.h"
#include "evaluate/tasks/task_verdict.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

const std::filesystem::path kData = std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/evaluate";

TaskFile file_of(const std::string& name) { return {name, read_text(kData / name)}; }
TaskFile text_of(const std::string& text) { return {"q.jsonl", text}; }

class Harness : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Tasks, Harness,
                         testing::Values("hellaswag", "piqa", "arc", "winogrande", "openbookqa", "boolq", "mmlu",
                                         "blimp", "lambada"),
                         [](const auto& param) { return std::string(param.param); });

TEST_P(Harness, GivesTheSameLogLikelihoodsAndScores) {
  const std::string name = GetParam();
  const auto reference = nlohmann::json::parse(read_text(kData / "harness.json"))[name];
  const SourceModel checkpoint = SourceModel::open(std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/tale-4M");
  Machine machine(chosen_isa(), 2);
  Decoder decoder(checkpoint, exact_options(), machine);
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
  const Task& task = find_task(name);
  TaskFile file = file_of(name + ".jsonl");
  if (name == "mmlu") file.name = "simple_things_test.jsonl";
  TaskRun run(task, read_questions(task, {file}, {}), 1);
  std::vector<Answerer> answerers;
  answerers.emplace_back(decoder, tokenizer, task);
  run.ask(answerers, 0, {});
  const auto& answers = run.answers()[0];
  ASSERT_EQ(answers.size(), reference["log_likelihoods"].size());
  for (std::size_t q = 0; q < answers.size(); ++q)
    for (std::size_t i = 0; i < answers[q].scores.size(); ++i) {
      // Two f32 implementations: sums of at most some dozen log probabilities.
      EXPECT_NEAR(answers[q].scores[i].log_likelihood, reference["log_likelihoods"][q][i].get<double>(), 2e-3)
          << q << ' ' << i;
      EXPECT_EQ(answers[q].scores[i].greedy, reference["greedy"][q][i].get<bool>()) << q << ' ' << i;
    }
  const TaskVerdict verdict = judge_task(run, {"model"}, false, machine.pool);
  for (const TaskMeasure& measure : verdict.models[0].measures)
    EXPECT_NEAR(measure.figure.value, reference["metrics"][measure.name].get<double>(),
                1e-3 * (1 + measure.figure.value))
        << measure.name;
}

// One of three answers is right: Wilson's interval and the harness's standard error.
TEST(TaskScores, HaveIntervals) {
  const SourceModel checkpoint = SourceModel::open(std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/tale-4M");
  Machine machine(chosen_isa(), 2);
  Decoder decoder(checkpoint, exact_options(), machine);
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
  TaskRun run(kPiqa, read_questions(kPiqa, {file_of("piqa.jsonl")}, {}), 1);
  std::vector<Answerer> answerers;
  answerers.emplace_back(decoder, tokenizer, kPiqa);
  EXPECT_EQ(error_of([&] { judge_task(run, {"model"}, false, machine.pool); }).second,
            "not one question was answered, so there is nothing to judge: 0 of 3");
  run.ask(answerers, 0, {});
  const Figure acc = judge_task(run, {"model"}, false, machine.pool).models[0].measures[0].figure;
  EXPECT_NEAR(acc.value, 1.0 / 3, 1e-12);
  EXPECT_NEAR(acc.low, 0.0614919, 1e-6);
  EXPECT_NEAR(acc.high, 0.7923404, 1e-6);
  EXPECT_NEAR(acc.gaussian_error, 1.0 / 3, 1e-12);
}

TEST(TaskFiles, SeveralShapesOfOneTaskAreTheSameQuestions) {
  const auto same = [](const std::vector<Question>& a, const std::vector<Question>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].answer, b[i].answer);
      ASSERT_EQ(a[i].options.size(), b[i].options.size());
      for (std::size_t o = 0; o < a[i].options.size(); ++o) {
        EXPECT_EQ(a[i].options[o].context, b[i].options[o].context);
        EXPECT_EQ(a[i].options[o].continuation, b[i].options[o].continuation);
      }
    }
  };
  same(kMmlu.read(file_of("mmlu.jsonl")), kMmlu.read(file_of("simple_things_test.csv")));
  TaskFile apart = file_of("piqa_apart.jsonl");
  apart.labels = read_text(kData / "piqa_apart-labels.lst");
  same(kPiqa.read(file_of("piqa.jsonl")), kPiqa.read(apart));
  same(
      kHellaswag.read(text_of("Tom: Far away. He\n1\na\nb\nc\nd\n")),
      kHellaswag.read(text_of(
          R"({"activity_label": "Tom", "ctx_a": "Far away.", "ctx_b": "he", "endings": ["a", "b", "c", "d"], "label": "1"})")));
}

TEST(TaskFiles, ThatAreMalformedSayWhere) {
  const auto message = [](const Task& task, const std::string& text) {
    return error_of([&] { task.read(text_of(text)); }).second;
  };
  EXPECT_EQ(message(kPiqa, "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 0}\nnot json\n"),
            "q.jsonl, line 2: this is not JSON");
  EXPECT_EQ(message(kPiqa, R"({"goal": "g", "sol1": "", "sol2": "b", "label": 0})"),
            "q.jsonl, line 1: choice 1 is empty");
  EXPECT_EQ(message(kPiqa, R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 2})"),
            "q.jsonl, line 1: \"label\" must be a number from 0 to 1: 2");
  EXPECT_EQ(message(kPiqa, R"({"goal": "g", "sol1": "a", "label": 1})"), "q.jsonl, line 1: \"sol2\" is missing");
  EXPECT_EQ(
      message(kArc, R"({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "C"})"),
      "q.jsonl, line 1: no choice is labelled 'C'");
  EXPECT_EQ(message(kArc, R"({"question": "q", "choices": {"text": [], "label": []}, "answerKey": "A"})"),
            "q.jsonl, line 1: a question needs at least two choices");
  EXPECT_EQ(message(kMmlu, "a,b,c\n"), "q.jsonl, line 1: six cells are needed, question, four choices and answer: 3");
  EXPECT_EQ(message(kWinogrande, R"({"sentence": "no blank", "option1": "a", "option2": "b", "answer": "1"})"),
            "q.jsonl, line 1: the sentence has no blank '_'");
  EXPECT_EQ(message(kHellaswag, "context\n0\na\nb\n"),
            "q.jsonl, line 1: a question has six lines: context, number of the right ending, four endings");
  EXPECT_EQ(message(kPiqa,
                    "[\n  {\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 0},\n  {\"goal\":\n\"g\"}\n]"),
            "q.jsonl, line 3: \"label\" is missing, and there is no file of labels beside this one");
  EXPECT_EQ(message(kPiqa, "[\n{\"goal\": \"a, [b]\"},\n7]"), "q.jsonl, line 3: an object is expected here");
  EXPECT_EQ(message(kPiqa, "[\n{\"goal\": \"g\"},\n{\"goal\": }\n]"), "q.jsonl, line 3: this is not JSON");
  EXPECT_EQ(message(kPiqa, "{\"goal\": \"g\"}\n{\"goal\": \"\xff\"}"), "q.jsonl, line 2: this is not text in UTF-8");
  EXPECT_EQ(message(kPiqa, std::string(100, '[')), "q.jsonl, line 1: JSON nested deeper than 64 levels");
  EXPECT_EQ(message(kHellaswag, R"({"activity_label": "a", "ctx_a": "b", "ctx_b": "c", "endings": [], "label": 0})"),
            "q.jsonl, line 1: \"endings\" must be a list of texts");
  EXPECT_EQ(message(kHellaswag,
                    R"({"activity_label": "a", "ctx_a": "b", "ctx_b": "c", "endings": ["x", "[step]"], "label": 0})"),
            "q.jsonl, line 1: choice 2 is empty");
  EXPECT_EQ(message(kHellaswag, "c\n0\na\n\nc\nd\n"), "q.jsonl, line 4: choice 2 is empty");
  EXPECT_EQ(message(kHellaswag, "\n\n"), "q.jsonl: there are no questions in it");
  EXPECT_EQ(message(kGsm8k, R"({"question": "q", "answer": "4"})"),
            "q.jsonl, line 1: \"answer\" must end in \"#### \" and the number");
  EXPECT_EQ(message(kLambada, R"({"text": "word"})"), "q.jsonl, line 1: the text must end in a word after a space");
  EXPECT_EQ(message(kMmlu, "q,a,b,c,d,A\nq,a,,c,d,A\n"), "q.jsonl, line 2: choice 2 is empty");
  EXPECT_EQ(message(kMmlu, "\"q\nr\",a,b,c,d,A\nq,a,b,c,d,E\n"),
            "q.jsonl, line 3: the answer must be A to D, or 0 to 3: 'E'");
  EXPECT_EQ(message(kMmlu, "q,a,b,c,d,A\n\"q"), "q.jsonl, line 2: a quote is not closed");
  EXPECT_EQ(message(kBlimp, ""), "q.jsonl: there are no questions in it");
  EXPECT_EQ(message(kLambada, "BZh91AY"), "q.jsonl: this is a bzip2 archive; unpack it first");
  EXPECT_TRUE(error_of([] { find_task("chess"); }).second.starts_with("unknown task 'chess'; known are hellaswag, "));
}

// Python's str.strip() and str.capitalize().
TEST(TaskFiles, TextIsPreparedAsPythonDoes) {
  EXPECT_EQ(trimmed_text(" \t\x1c\u00a0\u3000a\u2003b\u2003\x1f\xc2\x85\u2028"), "a\u2003b");
  EXPECT_EQ(trimmed_text("\u200b"), "\u200b");  // of no width, and no white space
  EXPECT_EQ(trimmed_text(" \n"), "");
  const auto context = [](const std::string& ctx_b) {
    return kHellaswag
        .read(text_of(R"({"activity_label": "L", "ctx_a": "A", "ctx_b": ")" + ctx_b +
                      R"(", "endings": ["x", "y"], "label": 0})"))[0]
        .options[0]
        .context;
  };
  EXPECT_EQ(context("\u00e9COLE \u00c9T\u00c9"), "L: A \u00c9cole \u00e9t\u00e9");
  EXPECT_EQ(context("[step] He  ran   [a\\nb] off[x]"), "L: A he ran  [a\nb] off");
  EXPECT_EQ(context(""), "L: A");
}

TEST(TaskFiles, AByteOrderMarkIsSkipped) {
  EXPECT_EQ(kBlimp.read(text_of("\xef\xbb\xbf{\"sentence_good\": \"a\", \"sentence_bad\": \"b\"}")).size(), 1u);
  EXPECT_EQ(kMmlu.read(text_of("\xef\xbb\xbfq,a,b,c,d,B\r\n"))[0].options[0].context,
            "q\nA. a\nB. b\nC. c\nD. d\nAnswer:");
}

TEST(Numbers, AreFoundAsTheHarnessFindsThem) {
  EXPECT_EQ(strict_number("so 2 + 2 = 4\n#### 1,234."), "1234");
  EXPECT_EQ(strict_number("#### -7 apples"), "-7");
  EXPECT_EQ(strict_number("4"), "");
  EXPECT_EQ(last_number("I have 3 apples and $18.50 left."), "18.50");
  EXPECT_EQ(last_number("it is 7"), "7");
  EXPECT_EQ(last_number("none"), "");
}

// sacrebleu 2.6.0's figures.
TEST(Bleu, IsSacrebleus) {
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"The cat sat on the mat, and it was happy.", "The cat sat on the mat and was very happy."},
      {"It cost 1,000.50 dollars - in 1990-95.", "It cost $1,000.50 in 1990-95!"},
      {"no overlap here", "something else entirely different"}};
  BleuCounts corpus;
  for (const auto& [made, reference] : pairs) corpus += count_bleu(made, reference);
  EXPECT_EQ(corpus.matches, (std::array<std::uint64_t, 4>{17, 10, 6, 4}));
  EXPECT_EQ(corpus.totals, (std::array<std::uint64_t, 4>{25, 22, 19, 16}));
  EXPECT_NEAR(bleu_of(corpus), 39.52355241681996, 1e-10);
  EXPECT_NEAR(bleu_of(count_bleu(pairs[0].first, pairs[0].second)), 49.616830003403635, 1e-10);
  EXPECT_NEAR(bleu_of(count_bleu("the cat sat on the mat today", "the dog stood at a door today")), 7.809849842300637,
              1e-10);
  EXPECT_EQ(bleu_of(count_bleu("no overlap here", "something else entirely different")), 0);
  std::string joined;
  for (const std::string& token : bleu_tokens("Hello, world! (yes) a.b,c 3.x x.3 &quot;hi&quot; don't 5-6"))
    joined += token + " ";
  EXPECT_EQ(joined, "Hello , world ! ( yes ) a . b , c 3 . x x . 3 \" hi \" don't 5 - 6 ");
}

}  // namespace
}  // namespace nibble
