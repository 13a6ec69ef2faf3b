// SPDX-License-Identifier: Apache-2.0
//
// Several models in one table: what is judged before the work, what is ranked, and what is said of it.
#include <string>

#include "cli/command.h"

namespace nibble {
namespace {

class CompareCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string shape = "synth --hidden 64 --ffn 96 --layers 1 --heads 4 --vocab 300 --context ";
    ASSERT_EQ(nibble_command(scratch_, shape + "64 -o m").code, 0);
    ASSERT_EQ(nibble_command(scratch_, shape + "64 --seed 2 -o n").code, 0);
    ASSERT_EQ(nibble_command(scratch_, shape + "32 -o short").code, 0);
    std::string text;
    for (int i = 0; i < 200; ++i) text += "Line number " + std::to_string(i) + ".\n";
    scratch_.write("text.txt", text);
  }
  CommandResult compare(const std::string& arguments, int code = 0) {
    CommandResult result =
        nibble_command(scratch_, "compare " + arguments + " --text text.txt -p 4 -n 2 -r 1 -t 1 --windows 3");
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    return result;
  }
  ScratchDirectory scratch_;
};

TEST_F(CompareCommand, RanksModelsThatHaveReadAlike) {
  const auto json = compare("m n -f q8_0,q4_k --json").json();
  EXPECT_EQ(json["ranked"], true);
  EXPECT_EQ(json["partial"], false);
  ASSERT_EQ(json["models"].size(), 2u);
  bool is_any = false;
  for (const auto& model : json["models"]) {
    EXPECT_EQ(model["read_bytes"], json["models"][0]["read_bytes"]);
    EXPECT_LT(model["scored_bytes"].get<int>(), model["read_bytes"].get<int>());
    is_any = is_any || model["original"]["not_beaten"].get<bool>();
    for (const auto& format : model["formats"]) is_any = is_any || format["not_beaten"].get<bool>();
  }
  EXPECT_TRUE(is_any);
  const std::string text = compare("m n -f q8_0,q4_k").out;
  EXPECT_NE(text.find("decode tok/s"), std::string::npos) << text;
  EXPECT_NE(text.find("q4_k *"), std::string::npos) << text;
  EXPECT_NE(text.find("* n, q4_k: "), std::string::npos) << text;  // its rows are too short
  EXPECT_NE(text.find("Not beaten: "), std::string::npos) << text;
}

// Three windows of one model are twice as long as the other's.
TEST_F(CompareCommand, RanksNothingWhereModelsHaveReadDifferentParts) {
  const auto json = compare("m short -f q8_0 --json").json();
  EXPECT_EQ(json["ranked"], false);
  EXPECT_FALSE(json["models"][0]["original"].contains("not_beaten"));
  const std::string text = compare("m short -f q8_0").out;
  EXPECT_NE(text.find("have read different parts of the texts"), std::string::npos) << text;
  EXPECT_EQ(text.find("Not beaten: "), std::string::npos) << text;
}

TEST_F(CompareCommand, JudgesAllModelsBeforeTheFirstIsMeasured) {
  scratch_.write("short/tokenizer.json", "{}");
  const CommandResult result = compare("m short -f q8_0", 1);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.error.find("evaluate"), std::string::npos) << result.error;
}

TEST_F(CompareCommand, NetsStandBesideNothing) {
  scratch_.write("net.onnx", "whatever");
  for (const char* const models : {"m net.onnx", "net.onnx m", "net.onnx net.onnx"})
    EXPECT_NE(compare(models, 2).error.find("name it alone: net.onnx"), std::string::npos) << models;
}

}  // namespace
}  // namespace nibble
