// SPDX-License-Identifier: Apache-2.0
//
// No output takes the place of an input or of another output: by whatever name, in whatever verb.
#include <filesystem>

#include "cli/command.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

class PlacesOfOutputs : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(
        nibble_command(scratch_, "synth --hidden 64 --ffn 96 --layers 1 --heads 4 --vocab 300 --context 64 -o m").code,
        0);
    ASSERT_EQ(nibble_command(scratch_, "quantize m -f f16 -o m.gguf").code, 0);
    std::string text;
    for (int i = 0; i < 300; ++i) text += "Line number " + std::to_string(i) + ".\n";
    scratch_.write("text.txt", text);
    scratch_.write("other.txt", text);
    scratch_.write("recipe.json", nibble_command(scratch_, "recipe show q8_0 --json").out);
    scratch_.write("questions.jsonl", "{\"text\": \"Tom and his dog ran\"}\n");
  }
  // Refused, usually as a wrong command, with every file as it was.
  void expect_refused(const std::string& arguments, const std::string& part, int code = 2) {
    const auto before = contents();
    const CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    EXPECT_NE(result.error.find(part), std::string::npos) << arguments << '\n' << result.error;
    EXPECT_TRUE(contents() == before) << arguments;
  }
  std::map<std::string, std::string> contents() const {
    std::map<std::string, std::string> result;
    for (const auto& entry : fs::recursive_directory_iterator(scratch_.path()))
      if (entry.is_regular_file()) result[entry.path().string()] = read_text(entry.path());
    return result;
  }
  ScratchDirectory scratch_;
};

TEST_F(PlacesOfOutputs, EveryOutputOfEveryVerb) {
  const std::string taken = "would take the place of what is read as ";
  expect_refused("calibrate m --text text.txt -o text.txt", taken + "--text");
  expect_refused("calibrate m.gguf --text text.txt -o m.gguf", taken + "the model");
  expect_refused("calibrate m --text text.txt -o m/model.safetensors",
                 "among the files of the directory that is read as the model");
  expect_refused("calibrate m --text text.txt -o m/statistics.safetensors", "among the files");
  expect_refused("eval m --against m.gguf --text text.txt --html text.txt", taken + "--text");
  expect_refused("eval m --against m.gguf --text text.txt --html m.gguf", taken + "--against");
  expect_refused("eval m.gguf --against m --text text.txt --html ./m.gguf", taken + "a model");
  expect_refused("eval m --task lambada questions.jsonl --answers questions.jsonl", taken + "a file of questions");
  expect_refused("eval m --task lambada questions.jsonl --html m/config.json", "among the files");
  expect_refused("compare m --text text.txt --html text.txt", taken + "--text");
  expect_refused("quantize m.gguf -f q8_0 -o m.gguf", taken + "the model");
  expect_refused("quantize m -f q8_0 -o q.gguf --save-recipe text.txt --verify text.txt", taken + "--verify");
  expect_refused("quantize m --recipe recipe.json -o q.gguf --save-recipe recipe.json", taken + "--recipe");
  expect_refused("quantize m -f q4_0 --method imatrix --text text.txt -o q.gguf --save-recipe text.txt",
                 taken + "--text");
  expect_refused("quantize m -f q4_0 --method imatrix --stats m.gguf -o m.gguf", taken + "--stats");
  expect_refused("quantize m.gguf -f int8:row -o .", "a directory that holds what is read");
}

TEST_F(PlacesOfOutputs, ByAnyNameOfTheFile) {
  fs::create_symlink("text.txt", scratch_ / "soft.txt");
  fs::create_hard_link(scratch_ / "text.txt", scratch_ / "hard.txt");
  fs::create_directory_symlink("m", scratch_ / "link");
  fs::create_hard_link(scratch_ / "m" / "model.safetensors", scratch_ / "weights.gguf");
  for (const char* name : {"soft.txt", "hard.txt", "./text.txt", "m/../text.txt"})
    expect_refused(std::string("eval m --against m.gguf --text text.txt --html ") + name, "what is read as --text");
  expect_refused("eval m --against m.gguf --text soft.txt --html text.txt", "what is read as --text");
  expect_refused("calibrate m --text text.txt -o link/model.safetensors", "among the files");
  expect_refused("calibrate link --text text.txt -o m/model.safetensors", "among the files");
  expect_refused("calibrate m --text text.txt -o weights.gguf",
                 "another name of a file that is read as part of the model");
  expect_refused("quantize m -f q8_0 -o /dev/null", "neither a file nor a directory");
}

TEST_F(PlacesOfOutputs, PartsOfASplit) {
  fs::copy_file(scratch_ / "m.gguf", scratch_ / "big-00001-of-00002.gguf");
  fs::copy_file(scratch_ / "m.gguf", scratch_ / "big-00002-of-00002.gguf");
  expect_refused("quantize big-00001-of-00002.gguf -f q8_0 -o big-00002-of-00002.gguf", "what is read as the model");
  expect_refused("calibrate big-00001-of-00002.gguf --text text.txt -o big-00002-of-00002.gguf",
                 "what is read as the model");
}

TEST_F(PlacesOfOutputs, OutputsAmongThemselves) {
  expect_refused("quantize m -f q8_0 -o q.gguf --save-recipe ./q.gguf", "name the same place");
  expect_refused("quantize m -f int8:row -o q --save-recipe q/recipe.json", "in the directory that --output writes");
  expect_refused("eval m --task lambada questions.jsonl --answers page.html --html page.html", "name the same place");
  expect_refused("quantize m.gguf -f int4:row -o . --save-recipe r.json", "directory");
}

// An earlier output may be replaced, and nothing else that lies there.
TEST_F(PlacesOfOutputs, OnlyOutputsOfBeforeAreReplaced) {
  scratch_.write("notes.gguf", "my notes");
  fs::create_directory(scratch_ / "folder");
  scratch_.write("folder/notes.txt", "my notes");
  fs::create_directory(scratch_ / "empty.gguf");
  const std::string advice = "; choose another output or remove it\n";
  const std::string synth = "synth --hidden 64 --ffn 96 --layers 1 --heads 4 --vocab 300 --context 64 -o ";
  expect_refused("quantize m -f q8_0 -o notes.gguf", "error: notes.gguf: exists and is no GGUF file" + advice, 1);
  expect_refused("quantize m -f q8_0 --to gguf -o text.txt", "text.txt: exists and is no GGUF file" + advice, 1);
  expect_refused("quantize m --bpw 5 --text text.txt -o notes.gguf", "notes.gguf: exists and is no GGUF file" + advice,
                 1);
  expect_refused("quantize m -f q8_0 -o empty.gguf", "empty.gguf: exists and is a directory" + advice, 1);
  expect_refused("quantize m -f int8:row -o text.txt", "text.txt: exists and is a file" + advice, 1);
  expect_refused("quantize m -f int8:row -o folder", "folder: exists and was not written by nibble" + advice, 1);
  expect_refused(synth + "folder", "folder: exists and was not written by nibble" + advice, 1);
  ASSERT_EQ(nibble_command(scratch_, "quantize m -f int8:row -o q").code, 0);
  scratch_.write("q/notes.txt", "my notes");
  expect_refused("quantize m -f int8:row -o q", "q: exists and holds more than a model, 'notes.txt'" + advice, 1);
  expect_refused(synth + "q", "q: exists and holds more than a model, 'notes.txt'" + advice, 1);
  // Somebody else's model, made of ours without its manifest.
  ASSERT_EQ(nibble_command(scratch_, "quantize m -f q8_0 -o other.gguf").code, 0);
  std::string bytes = read_text(scratch_ / "other.gguf");
  const std::size_t key = bytes.find("nibble.manifest");
  ASSERT_NE(key, std::string::npos);
  bytes.replace(key, 15, "someone.comment");
  scratch_.write("other.gguf", bytes);
  expect_refused("quantize m -f q8_0 -o other.gguf", "other.gguf: exists and was not written by nibble" + advice, 1);
  scratch_.write("blank.gguf", "");
  for (const char* arguments : {"quantize m -f q8_0 -o blank.gguf", "quantize m -f q8_0 --dry-run -o notes.gguf"})
    EXPECT_EQ(nibble_command(scratch_, arguments).code, 0) << arguments;
}

// Said before any work is done.
TEST_F(PlacesOfOutputs, TheDirectoryMustBeThere) {
  const std::string message = "cannot write: what it would lie in is not there; create the directory first: nodir\n";
  for (const char* arguments :
       {"quantize m -f q8_0 -o nodir/z.gguf", "quantize m -f int8:row -o nodir/z",
        "calibrate m --text text.txt -o nodir/z.gguf", "compare m --text text.txt -f q8_0 --html nodir/z.html",
        "quantize m -f q8_0 -o q.gguf --save-recipe nodir/z.json"}) {
    const CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_NE(result.error.find(message), std::string::npos) << result.error;
  }
  EXPECT_FALSE(fs::exists(scratch_ / "q.gguf"));
}

// What only looks alike is not refused: a GGUF file in the model's directory, another model's output, an output of
// before.
TEST_F(PlacesOfOutputs, WhatMayBe) {
  for (const char* arguments :
       {"quantize m -f q8_0 -o m/q8_0.gguf", "quantize m -f q8_0 -o m/q8_0.gguf", "quantize m.gguf -f q8_0 -o q.gguf",
        "quantize m.gguf -f q8_0 -o q.gguf", "quantize m -f int8:row -o q", "quantize m -f int8:row -o q"})
    EXPECT_EQ(nibble_command(scratch_, arguments).code, 0) << arguments;
}

}  // namespace
}  // namespace nibble
