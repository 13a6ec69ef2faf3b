// SPDX-License-Identifier: Apache-2.0
//
// eval --task: what it prints, and what it refuses.
#include <sstream>

#include "cli/command.h"

namespace nibble {
namespace {

const std::string kQuestions = NIBBLE_SOURCE_DIR "/tests/data/evaluate/";

class Tasks : public ::testing::Test {
 protected:
  CommandResult run(const std::string& arguments) {
    CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, 0) << arguments << '\n' << result.error;
    return result;
  }
  void expect(const std::string& arguments, int code, const std::string& message) {
    const CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    EXPECT_EQ(result.error, "nibble: error: " + message + "\n") << arguments;
    EXPECT_EQ(result.out, "") << arguments;
  }
  ScratchDirectory scratch_;
};

TEST_F(Tasks, AgainstTheOriginal) {
  run("quantize " + kTale + " -f q2_k -o q.gguf");
  const std::string eval =
      "eval q.gguf --against " + kTale + " -t 1 --task hellaswag " + kQuestions + "hellaswag.jsonl";
  const auto json = run(eval + " --json").json();
  EXPECT_EQ(json["task"], "hellaswag");
  EXPECT_EQ(json["questions"], 4);
  EXPECT_EQ(json["partial"], false);
  ASSERT_EQ(json["models"].size(), 2u);
  EXPECT_EQ(json["models"][0]["model"], kTale);
  EXPECT_FALSE(json["models"][0].contains("changes"));
  for (const char* measure : {"acc", "acc_norm"}) {
    const auto& before = json["models"][0]["measures"][measure];
    const auto& after = json["models"][1]["measures"][measure];
    const auto& change = json["models"][1]["changes"][measure];
    EXPECT_LE(after["low"], after["value"]);
    EXPECT_GE(after["high"], after["value"]);
    EXPECT_NEAR(change["difference"]["value"].get<double>(),
                after["value"].get<double>() - before["value"].get<double>(), 1e-12);
    EXPECT_LE(change["to_wrong"].get<int>() + change["to_right"].get<int>(), change["changed"].get<int>());
    EXPECT_LE(change["mcnemar_p"], 1);
  }
  const std::string text = run(eval).out;
  for (const char* part : {"hellaswag: 4 questions", "acc_norm", "answers changed", "McNemar's p"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
  EXPECT_TRUE(run(eval + " --markdown").out.starts_with("## hellaswag\n")) << text;
  run(eval + " --limit 2 --html page.html");
  const std::string page = read_text(scratch_ / "page.html");
  EXPECT_NE(page.find("\"mcnemar_p\""), std::string::npos);
  EXPECT_NE(page.find("2 of 2 questions answered"), std::string::npos);
}

// What is told of changes, counted again from the answers.
TEST_F(Tasks, AnswersAreWritten) {
  run("quantize " + kTale + " -f q2_k -o q.gguf");
  const auto verdict = run("eval q.gguf --against " + kTale + " --json -t 1 --answers answers.jsonl --task hellaswag " +
                           kQuestions + "hellaswag.jsonl")
                           .json();
  std::istringstream lines(read_text(scratch_ / "answers.jsonl"));
  int line = 0, changed = 0, to_wrong = 0, right = 0;
  for (std::string text; std::getline(lines, text);) {
    const auto question = nlohmann::json::parse(text);
    EXPECT_EQ(question["line"], ++line);
    ASSERT_EQ(question["models"].size(), 2u);
    const auto &before = question["models"][0], &after = question["models"][1];
    EXPECT_EQ(after["model"], "q.gguf");
    ASSERT_EQ(after["log_likelihoods"].size(), 4u);
    EXPECT_EQ(after["acc"], after["chosen"] == question["right"]);
    changed += before["chosen_norm"] != after["chosen_norm"] ? 1 : 0;
    to_wrong += before["acc_norm"] == true && after["acc_norm"] == false ? 1 : 0;
    right += after["acc_norm"] == true ? 1 : 0;
  }
  EXPECT_EQ(line, 4);
  const auto& change = verdict["models"][1]["changes"]["acc_norm"];
  EXPECT_EQ(change["changed"], changed);
  EXPECT_EQ(change["to_wrong"], to_wrong);
  EXPECT_EQ(verdict["models"][1]["measures"]["acc_norm"]["value"], right / 4.0);
}

TEST_F(Tasks, AgainstItselfNothingChanges) {
  const auto json = run("eval " + kTale + " --against " + kTale + " --json -t 1 --task piqa " + kQuestions +
                        "piqa.jsonl " + kQuestions + "piqa_apart.jsonl")
                        .json();
  EXPECT_EQ(json["questions"], 6);
  EXPECT_EQ(json["models"][1]["files"].size(), 2u);
  EXPECT_EQ(json["models"][1]["files"][0],
            json["models"][1]["files"][1]);  // the same questions, labels inside and apart
  for (const char* measure : {"acc", "acc_norm"}) {
    const auto& change = json["models"][1]["changes"][measure];
    EXPECT_EQ(change["changed"], 0);
    EXPECT_EQ(change["difference"]["value"], 0);
    EXPECT_EQ(change["mcnemar_p"], 1);
  }
}

TEST_F(Tasks, ShotsStandBeforeEachQuestion) {
  const std::string eval = "eval " + kTale + " --json -t 1 --task mmlu " + kQuestions + "simple_things_test.csv";
  run(eval + " --num-shots 1 --shots " + kQuestions + "simple_things_test.csv");
  expect(eval + " --num-shots 3 --shots " + kQuestions + "simple_things_test.csv", 1,
         "there are fewer solved examples than are to be shown: 2 of 3");
}

TEST_F(Tasks, Generated) {
  scratch_.write("sums.jsonl",
                 R"({"question": "Tom has 2 balls and gets 3 more. How many has he?", "answer": "2 + 3 = 5\n#### 5"})");
  scratch_.write("pairs.jsonl", R"({"prompt": "Once upon a time,", "target": "there was a little girl named Lily."})");
  const auto sums = run("eval " + kTale + " --json -t 1 --max-tokens 8 --task gsm8k sums.jsonl").json();
  EXPECT_EQ(sums["models"][0]["measures"]["exact_match"]["value"], 0);
  const auto pairs = run("eval " + kTale + " --json -t 1 --max-tokens 8 --task bleu pairs.jsonl").json();
  EXPECT_GE(pairs["models"][0]["measures"]["bleu"]["value"], 0);
  EXPECT_EQ(pairs["models"][0]["measures"]["bleu"]["no_interval"], "too few blocks");
}

TEST_F(Tasks, BadFiles) {
  const std::string eval = "eval " + kTale + " -t 1 --task piqa ";
  const std::string good = R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 0})";
  scratch_.write("broken.jsonl", good + "\n{\"goal\": \"g\",\n");
  expect(eval + "broken.jsonl", 1, "broken.jsonl, line 2: this is not JSON");
  scratch_.write("choice.jsonl", good + "\n\n" + R"({"goal": "g", "sol1": "", "sol2": "b", "label": 0})");
  expect(eval + "choice.jsonl", 1, "choice.jsonl, line 3: choice 1 is empty");
  expect("eval " + kTale + " --task piqa choice.jsonl --limit 1", 1, "choice.jsonl, line 3: choice 1 is empty");
  scratch_.write("none.jsonl", "\n \n");
  expect(eval + "none.jsonl", 1, "none.jsonl: there are no questions in it");
  scratch_.write("empty.jsonl", "");
  expect(eval + "empty.jsonl", 1, "the text is empty: empty.jsonl");
  expect(eval + "missing.jsonl", 1, "cannot read the text 'missing.jsonl': No such file or directory");
  scratch_.write("choices.jsonl", R"({"question": "q", "choices": {"text": [], "label": []}, "answerKey": "A"})");
  expect("eval " + kTale + " --task arc choices.jsonl", 1,
         "choices.jsonl, line 1: a question needs at least two choices");
  std::string words;
  for (int i = 0; i < 600; ++i) words += " word";
  scratch_.write("long.jsonl", good + "\n" + R"({"goal": "g", "sol1": "a", "sol2": ")" + words + R"(", "label": 0})");
  const CommandResult result = nibble_command(scratch_, eval + "long.jsonl");
  EXPECT_EQ(result.code, 1);
  EXPECT_TRUE(result.error.starts_with(
      "nibble: error: long.jsonl, line 2: a continuation is longer than the model's context of 512 tokens: "))
      << result.error;
}

TEST_F(Tasks, BadCommands) {
  const std::string file = kQuestions + "piqa.jsonl";
  expect("eval " + kTale, 2,
         "name what to read: --text FILE... (or --chat FILE...), or --task NAME FILE... (one of the two)");
  expect("eval " + kTale + " --text " + file + " --task piqa " + file, 2,
         "name what to read: --text FILE... (or --chat FILE...), or --task NAME FILE... (one of the two)");
  expect("eval " + kTale + " --against " + kTale + " --accept 'kl<=1' --task piqa " + file, 2,
         "--accept judges texts, not tasks; leave out one of the two");
  expect("eval " + kTale + " --task chess " + file, 2,
         "unknown task 'chess'; known are hellaswag, piqa, arc, winogrande, openbookqa, boolq, mmlu, blimp, lambada, "
         "gsm8k, bleu");
  EXPECT_EQ(nibble_command(scratch_, "eval " + kTale + " --task piqa").code, 2);
}

// Two models are compared token by token only when they mean the same by a token.
TEST_F(Tasks, ModelsThatCannotBeComparedByText) {
  const std::string shape = "synth --hidden 64 --ffn 128 --layers 1 --heads 4 --kv-heads 2 --context 64 --tied ";
  run(shape + "--vocab 300 -o m");
  run(shape + "--vocab 300 -o other");
  run(shape + "--vocab 320 -o padded");
  std::string text;
  for (int i = 0; i < 40; ++i) text += "Line number " + std::to_string(i) + " of the text.\n";
  scratch_.write("text.txt", text);
  // Two bytes change places in the other's vocabulary.
  std::string tokenizer = read_text(scratch_ / "m" / "tokenizer.json");
  const auto swap = [&](const std::string& from, const std::string& to) {
    tokenizer.replace(tokenizer.find(from), from.size(), to);
  };
  swap("\"<0x6E>\"", "\"<swap>\"");
  swap("\"<0x6F>\"", "\"<0x6E>\"");
  swap("\"<swap>\"", "\"<0x6F>\"");
  scratch_.write("other/tokenizer.json", tokenizer);
  CommandResult result = nibble_command(scratch_, "eval other --against m --text text.txt -t 1");
  EXPECT_EQ(result.code, 1);
  EXPECT_TRUE(
      result.error.starts_with("nibble: error: other, text.txt: the two models cut this text into different tokens, so "
                               "they cannot be compared token by "
                               "token; lengths "))
      << result.error;
  EXPECT_EQ(result.out, "");
  // The same tokenizer, but rows that stand for nothing at the end of one embedding.
  std::filesystem::copy_file(scratch_ / "m" / "tokenizer.json", scratch_ / "padded" / "tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
  expect("eval padded --against m --text text.txt -t 1", 1,
         "padded: models whose vocabularies differ in size (one may be padded) cannot be compared; make the candidate "
         "from this very original: "
         "original 300, candidate 320");
  scratch_.write("short.txt", "Too short.");
  result = nibble_command(scratch_, "eval m --against m --text text.txt short.txt -t 1");
  EXPECT_EQ(result.code, 1);
  EXPECT_TRUE(
      result.error.starts_with("nibble: error: short.txt: the text is shorter than one window; give a longer text or a "
                               "smaller context: the text has "))
      << result.error;
  scratch_.write("empty.txt", "");
  expect("eval m --text empty.txt -t 1", 1, "the text is empty: empty.txt");
}

}  // namespace
}  // namespace nibble
