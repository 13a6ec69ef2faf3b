// SPDX-License-Identifier: Apache-2.0
//
// What goes wrong: exit codes, one line on standard error, nothing left behind.
#include <algorithm>

#include "cli/command.h"

namespace nibble {
namespace {

class Errors : public ::testing::Test {
 protected:
  void expect(const std::string& arguments, int code, const std::string& message) {
    const CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    EXPECT_EQ(result.error, "nibble: error: " + message + "\n") << arguments;
    EXPECT_EQ(result.out, "") << arguments;
  }
  void expect_part(const std::string& arguments, int code, const std::string& part) {
    const CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    EXPECT_TRUE(result.error.starts_with("nibble: error: ")) << result.error;
    EXPECT_NE(result.error.find(part), std::string::npos) << result.error;
    EXPECT_EQ(std::ranges::count(result.error, '\n'), 1) << result.error;
  }
  ScratchDirectory scratch_;
};

// A word that is none is the command's fault; a model or a container that cannot have what it names is the input's.
TEST_F(Errors, OfTransforms) {
  const std::string quantize = "quantize " NIBBLE_SOURCE_DIR "/tests/data/";
  expect_part(quantize + "tiny_qwen3 -f int4:g32 --transform hadamard:twice -o x", 2, "unknown transform");
  expect_part(quantize + "tiny_gemma2 -f int4:g32 --transform hadamard:fold -o x", 1, "cannot be rotated for good");
  expect_part(quantize + "tiny_qwen3 -f q4_0 --transform hadamard -o x.gguf", 1, "cannot record that inputs");
}

TEST_F(Errors, OfUsage) {
  expect("", 2, "A subcommand is required; 'nibble --help' tells more");
  expect("fly", 2,
         "unknown verb 'fly'; known are compare, quantize, convert, calibrate, eval, run, chat, serve, bench, inspect, "
         "check, "
         "tokenize, formats, explain, plan, recipe, train, distill, train-net, train-tokenizer, synth, info");
  expect_part("inspect", 2, "model is required; 'nibble inspect --help' tells more");
  expect_part("eval m --text t --windows many", 2, "many");
  expect_part("bench m -t 0", 2, "'nibble bench --help' tells more");
  expect("quantize " + kTied + " -o x.gguf", 2,
         "name one of a format (-f q4_k_m), a recipe (--recipe FILE) and a budget (--bpw, --size, --max-kl, --pareto); "
         "'nibble formats' lists the formats");
  expect("quantize " + kTied + " -f q8_0", 2, "no output is named; add -o OUT.gguf or -o DIRECTORY");
  expect_part("quantize " + kTied + " -f q4_z -o x.gguf", 2, "q4_z");
  expect_part("quantize " + kTied + " -f q4_k_n -o x.gguf", 2, "q4_k_m");
  expect("quantize " + kTied + " -f q8_0 --method magic -o x.gguf", 2,
         "unknown method 'magic'; known are rtn, mse, imatrix, table, awq, smoothquant, gptq, descent, signround, "
         "blockwise");
  expect_part("quantize " + kTied + " -f q8_0 --method adaround -o x.gguf", 2,
              "adaround rounds the weights of nets (.onnx, .tflite)");
  expect("bench " + kTied + " --kv q8_0 --kv q4_0", 2,
         "--kv is given 2 times; once is enough; 'nibble bench --help' tells more");
  expect("quantize " + kTied + " -f q8_0 --fit tight -o x.gguf", 2,
         "unknown fit 'tight'; known are auto, absmax, minmax, search, percentile, entropy, absmean, threshold");
  expect_part("convert " + kTied + " -o x --to gptq,awq", 2,
              "one container is written; give the command once for each");
  expect_part("convert " + kTied + " -o x --to tensorrt", 2, "write onnx, for tensorrt");
  for (const char* const size : {"0", "0GB"})
    expect_part("convert " + kTied + " -o x --shard-size " + size, 2, "a weight file has more than 0 bytes");
  expect_part("quantize " + kTied + " --text t -o x.gguf --size 10000000000GB", 2, "more bytes than there are on any");
  expect_part("tokenize " + kTied + " --chat c.jsonl --lines", 2, "renders whole conversations, which no lines are");
  expect_part("tokenize " + kTied + " --chat c.jsonl --no-special", 2, "whose control tokens are tokens");
  expect_part("quantize " + kTied + " -f int4:g32:asym --to gptq -o x", 2, "and gptq_v2 those with zero points");
  expect_part("synth --shape llama-9 -o x", 2, "unknown shape 'llama-9'; known are llama-3.2-1b, llama-3.2-3b, ");
  expect("synth -o x", 2, "name a shape (--shape llama-3.2-1b) or give at least --hidden, --ffn, --layers and --heads");
  expect("run " + kTied, 2, "give a prompt: -p TEXT, or --prompt-file FILE ('-' for standard input)");
  expect(
      "compare " + kTied, 2,
      "no text to measure on: add --text FILE (a file heldout.txt in the model's directory would be taken): " + kTied);
  EXPECT_EQ(scratch_.num_entries(), 0u);
}

TEST_F(Errors, OfInput) {
  expect_part("inspect no/such/model", 1, "no/such/model");
  expect_part("eval " + kTied + " --text missing.txt", 1,
              "cannot read the text 'missing.txt': No such file or directory");
  scratch_.write("bad.gguf", "GGUF but not really, this is no header at all");
  expect_part("inspect bad.gguf", 1, "bad.gguf");
  expect_part("check bad.gguf", 1, "bad.gguf");
  expect_part("quantize bad.gguf -f q8_0 -o x.gguf", 1, "bad.gguf");
  expect_part("run " + kTied + " -p Tom", 1, "token");  // it has no tokenizer
  scratch_.write("recipe.json", "{\"rules\": []}");
  expect("quantize " + kTied + " --recipe recipe.json -o x.gguf", 1,
         "recipe.json: a recipe needs \"rules\", a list with at least one rule");
  EXPECT_EQ(scratch_.num_entries(), 2u);
}

TEST_F(Errors, OfOutput) {
  expect_part("quantize " + kTied + " -f q8_0 -o no/such/place/x.gguf", 1, "no/such/place/x.gguf");
  scratch_.write("taken", "a file where a directory is wanted");
  expect_part("quantize " + kTied + " -f int8:row -o taken", 1, "taken");
  EXPECT_EQ(read_text(scratch_ / "taken"), "a file where a directory is wanted");
  EXPECT_EQ(scratch_.num_entries(), 1u);
  // A file size limit stands for a full disk: 64 kB where 200 kB are needed.
  const CommandResult full =
      nibble_command(scratch_, "quantize " + kTied + " -f f32 -o x.gguf", "trap '' XFSZ; ulimit -f 64;");
  EXPECT_EQ(full.code, 1) << full.error;
  EXPECT_NE(full.error.find("x.gguf"), std::string::npos) << full.error;
  EXPECT_EQ(scratch_.num_entries(), 1u);
  const int status =
      std::system(("'" NIBBLE_BINARY "' formats >/dev/full 2>'" + (scratch_ / "error.txt").string() + "'").c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_EQ(read_text(scratch_ / "error.txt"),
            "nibble: error: cannot write to standard output: No space left on device\n");
}

TEST_F(Errors, OfTheInstructionSet) {
  const CommandResult result = nibble_command(scratch_, "info", "NIBBLE_ISA=mmx");
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.error.find("mmx"), std::string::npos);
}

TEST_F(Errors, DamageIsFoundByCheck) {
  ASSERT_EQ(nibble_command(scratch_, "quantize " + kGrouped + " -f q8_0 -o m.gguf").code, 0);
  CommandResult result = nibble_command(scratch_, "check m.gguf");
  EXPECT_EQ(result.code, 0);
  EXPECT_TRUE(result.out.starts_with("sound: 22 tensors")) << result.out;
  std::string file = read_text(scratch_ / "m.gguf");
  const auto listing = nibble_command(scratch_, "inspect m.gguf --json").json();
  for (const auto& tensor : listing["tensors"])
    if (tensor["name"] == "blk.1.ffn_down.weight")
      file.replace(tensor["offset"].get<std::size_t>() + 34 * 3 * 5, 2, std::string("\x00\x7c", 2));
  scratch_.write("m.gguf", file);
  result = nibble_command(scratch_, "check m.gguf --json");
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.json()["sound"], false);
  EXPECT_EQ(result.json()["shown"][0]["tensor"], "blk.1.ffn_down.weight");
  EXPECT_EQ(result.json()["shown"][0]["row"], 5);
  EXPECT_EQ(result.error,
            "nibble: error: m.gguf: 1 rows hold values that no writer should have stored; get the file anew\n");
  scratch_.write("m.gguf", file + "more");
  result = nibble_command(scratch_, "check m.gguf");
  EXPECT_EQ(result.code, 1);
  const std::string line =
      "m.gguf: goes on behind its last tensor at offset " + std::to_string(file.size()) + ": 4 bytes too many\n";
  EXPECT_NE(result.out.find(line), std::string::npos) << result.out;
  EXPECT_EQ(result.error,
            "nibble: error: m.gguf: 1 rows hold values that no writer should have stored, 1 files go on behind their "
            "last tensor; get the file anew\n");
  result = nibble_command(scratch_, "check m.gguf --json");
  EXPECT_EQ(result.json()["defects"], 2);
  EXPECT_TRUE(result.json()["shown"][1]["tensor"].is_null());
  scratch_.write("m.gguf", file.substr(0, file.size() / 2));
  result = nibble_command(scratch_, "check m.gguf --json");
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.json()["sound"], false);
  EXPECT_EQ(result.error, "nibble: error: " + result.json()["obstacle"].get<std::string>() + "\n");
}

// Numbers that any writer may have stored, but this one did not.
TEST_F(Errors, ChangedWeightsAreFoundByTheManifest) {
  ASSERT_EQ(nibble_command(scratch_, "quantize " + kGrouped + " -f int8:row -o m").code, 0);
  ASSERT_EQ(nibble_command(scratch_, "check m").code, 0);
  const std::string name = "m/model.safetensors";
  std::string file = read_text(scratch_ / name);
  file.back() = static_cast<char>(file.back() ^ 1);
  scratch_.write(name, file);
  const CommandResult result = nibble_command(scratch_, "check m --json");
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.json()["shown"][0]["file"], "model.safetensors");
  EXPECT_EQ(result.error, "nibble: error: m: 1 weight files are not those that were written; get the file anew\n");
}

}  // namespace
}  // namespace nibble
