// SPDX-License-Identifier: Apache-2.0
//
// Every verb once, on models of a few kilobytes: exit code, and the JSON keys that scripts rely on.
#include <set>
#include <sstream>

#include "cli/command.h"

namespace nibble {
namespace {

class Verbs : public ::testing::Test {
 protected:
  CommandResult run(const std::string& arguments, const std::string& environment = "") {
    CommandResult result = nibble_command(scratch_, arguments, environment);
    EXPECT_EQ(result.code, 0) << arguments << '\n' << result.error;
    return result;
  }
  nlohmann::json json(const std::string& arguments) {
    const CommandResult result = run(arguments + " --json");
    const nlohmann::json value = result.json();
    EXPECT_FALSE(value.is_discarded()) << result.out;
    return value;
  }
  // A tiny model with a tokenizer, in the directory "m".
  void make_model() {
    run("synth --hidden 64 --ffn 128 --layers 2 --heads 4 --kv-heads 2 --vocab 300 --context 128 --tied -o m");
  }
  void make_text() {
    std::string text;
    for (int i = 0; i < 60; ++i) text += "Line number " + std::to_string(i) + " of the text.\n";
    scratch_.write("text.txt", text);
  }
  // The verbs that the command itself lists.
  std::set<std::string> verbs_of_help() {
    std::set<std::string> verbs;
    std::istringstream lines(run("--help").out);
    bool listed = false;
    for (std::string line; std::getline(lines, line);) {
      if (listed && line.starts_with("  ") && line.size() > 2 && line[2] != ' ')
        verbs.insert(line.substr(2, line.find(' ', 2) - 2));
      if (line.starts_with("Subcommands:") || line.starts_with("SUBCOMMANDS:"))
        listed = true;
      else if (!line.starts_with(' '))
        listed = false;
    }
    return verbs;
  }
  ScratchDirectory scratch_;
};

TEST_F(Verbs, VersionAndHelp) {
  EXPECT_EQ(run("--version").out, "nibble 0.1.0\n");
  const std::set<std::string> verbs = verbs_of_help();
  EXPECT_EQ(verbs, (std::set<std::string>{
                       "bench",   "calibrate", "chat",     "check",   "compare",   "convert",        "distill", "eval",
                       "explain", "formats",   "info",     "inspect", "plan",      "quantize",       "recipe",  "run",
                       "serve",   "synth",     "tokenize", "train",   "train-net", "train-tokenizer"}));
  for (const std::string& verb : verbs) {
    const std::string own = run(verb + " --help").out;
    EXPECT_NE(own.find("Examples:"), std::string::npos) << verb;
    EXPECT_NE(own.find("nibble " + verb), std::string::npos) << verb;
    EXPECT_EQ(nibble_command(scratch_, verb + " --no-such-option").code, 2) << verb;
  }
}

TEST_F(Verbs, Formats) {
  const auto list = json("formats")["formats"];
  std::set<std::string> names;
  for (const auto& format : list) {
    EXPECT_TRUE(names.insert(format["name"]).second) << format;
    EXPECT_FALSE(format["description"].get<std::string>().empty()) << format;
    EXPECT_TRUE(format["kind"] == "mix" || format["bits_per_weight"].get<double>() > 0);
    if (format["name"] == "q4_k") {
      EXPECT_EQ(format["bits_per_weight"], 4.5);
    }
  }
  for (const char* name : {"f16", "q8_0", "q4_k", "q4_k_m"}) EXPECT_TRUE(names.contains(name)) << name;
  EXPECT_EQ(run("formats", "LC_ALL=C").out.find('\xe2'), std::string::npos);  // plain ASCII where the terminal is
}

TEST_F(Verbs, Info) {
  const auto info = json("info");
  EXPECT_FALSE(info["processor"].get<std::string>().empty());
  EXPECT_FALSE(info["kernels"].empty());
  const CommandResult scalar = run("info --json", "NIBBLE_ISA=scalar");
  EXPECT_EQ(scalar.json()["isa"], "scalar");
  EXPECT_EQ(scalar.json()["isa_reason"], "asked for by NIBBLE_ISA");
  EXPECT_EQ(scalar.json()["bf16_products"], false);
}

TEST_F(Verbs, Inspect) {
  const auto model = json("inspect " + kGrouped + " --stats");
  EXPECT_EQ(model["architecture"], "llama");
  EXPECT_EQ(model["num_tensors"], 21);
  EXPECT_EQ(model["parameters"], 94528);
  ASSERT_EQ(model["tensors"].size(), 21u);
  const auto& tensor = model["tensors"][0];
  for (const char* key : {"name", "shape", "format", "bytes", "file", "offset", "statistics"})
    EXPECT_TRUE(tensor.contains(key)) << key;
  for (const char* key : {"mean", "deviation", "absmax", "kurtosis", "beyond_6_sigma", "asymmetry"})
    EXPECT_TRUE(tensor["statistics"].contains(key)) << key;
  EXPECT_NE(run("inspect " + kGrouped + " --stats").out.find("model.layers.1.mlp.down_proj.weight"), std::string::npos);
}

TEST_F(Verbs, QuantizeAndRecipe) {
  const auto summary = json("quantize " + kGrouped + " -f q8_0 -o m.gguf");
  EXPECT_EQ(summary["output"], "m.gguf");
  EXPECT_EQ(summary["output_bytes"], std::filesystem::file_size(scratch_ / "m.gguf"));
  EXPECT_EQ(summary["substitutions"], 0);
  EXPECT_EQ(json("inspect m.gguf")["container"], "gguf");

  const CommandResult fallback = run("quantize " + kGrouped + " -f q4_k -o k.gguf");
  EXPECT_EQ(fallback.error,
            "nibble: note: no tokenizer lies beside the weights, so the GGUF file has none, and programs that read "
            "text cannot run it\n"
            "nibble: note: 16 of 21 tensors, 99.7 % of parameters, are not q4_k because their rows do not fit its "
            "blocks: q4_k became "
            "q5_0 in 16 (64 is not a multiple of 256); about 4 bits for such rows: iq4_nl, q4_1 or q4_0 --fit search "
            "in a GGUF file, int4:g32 in a "
            "directory\n");

  const std::size_t before = scratch_.num_entries();
  const CommandResult dry = run("quantize " + kGrouped + " -f q8_0 --dry-run");
  EXPECT_EQ(dry.out.find("blk.1.ffn_down.weight"), std::string::npos);
  EXPECT_NE(run("quantize " + kGrouped + " -f q8_0 --dry-run --verbose").out.find("blk.1.ffn_down.weight"),
            std::string::npos);
  // What is forecast is what is written, header and padding included.
  for (const char* output : {"-f q8_0 -o forecast.gguf", "-f int4:g32 -o forecast", "-f q4_k_m -o forecast2.gguf"}) {
    const std::string arguments = "quantize " + kGrouped + " " + output;
    const auto forecast = json(arguments + " --dry-run");
    const auto written = json(arguments);
    for (const char* key : {"output_bytes", "bits_per_weight"}) EXPECT_EQ(forecast[key], written[key]) << output;
  }
  for (const char* name : {"forecast.gguf", "forecast", "forecast2.gguf"}) std::filesystem::remove_all(scratch_ / name);
  EXPECT_EQ(scratch_.num_entries(), before);

  // A recipe that is printed, changed and used.
  std::string recipe = run("recipe show int4:g32 --json").out;
  recipe.insert(recipe.find("[") + 1, R"({"tensors": "*.attn_v.weight", "format": "int8:row"},)");
  scratch_.write("mine.json", recipe);
  run("quantize " + kGrouped + " --recipe mine.json -o planar");
  std::set<std::string> formats;
  const auto planar = json("inspect planar");
  for (const auto& tensor : planar["tensors"]) formats.insert(tensor["format"]);
  EXPECT_EQ(formats, (std::set<std::string>{"f16", "f32", "int4:g32", "int8:row"}));
  EXPECT_NE(run("recipe show q4_k_m").out.find("layer more_bits"), std::string::npos);
  EXPECT_GT(json("recipe list")["mixes"].size(), 20u);
}

TEST_F(Verbs, EvalKeys) {
  make_model();
  make_text();
  run("quantize m -f q4_0 -o q.gguf");
  const auto alone = json("eval m --text text.txt --context 64 -t 1");
  for (const char* key : {"perplexity", "perplexity_stderr", "protocol"}) EXPECT_TRUE(alone.contains(key)) << key;
  EXPECT_EQ(alone["protocol"], "llama.cpp");
  EXPECT_FALSE(alone.contains("kl_mean"));
  const auto against = json("eval q.gguf --against m --text text.txt --context 64 --protocol paper -t 1");
  for (const char* key :
       {"perplexity", "perplexity_stderr", "protocol", "kl_mean", "kl_p999", "top1_agreement", "perplexity_ratio"})
    EXPECT_TRUE(against.contains(key)) << key;
  EXPECT_EQ(against["protocol"], "paper");
  EXPECT_GT(against["kl_mean"].get<double>(), 0);
  const auto self = json("eval m --against m --text text.txt --context 64 -t 1");
  EXPECT_EQ(self["kl_mean"], 0);
  EXPECT_EQ(self["top1_agreement"], 1);
  EXPECT_EQ(self["perplexity_ratio"], 1);
  EXPECT_NE(run("eval m --text text.txt --context 64 -t 1").out.find("Protocol llama.cpp: "), std::string::npos);

  const auto layers = json("eval q.gguf m --against m --text text.txt --context 64 --layers -t 1")["candidates"];
  ASSERT_EQ(layers[0]["layers"].size(), 2u);
  EXPECT_GT(layers[0]["embedding_error"].get<double>(), 0);
  EXPECT_GT(layers[0]["layers"][1]["local"].get<double>(), 0);
  EXPECT_EQ(layers[1]["embedding_error"], 0);
  for (const char* key : {"residual", "output", "local"}) EXPECT_EQ(layers[1]["layers"][1][key], 0) << key;
  EXPECT_EQ(nibble_command(scratch_, "eval m --text text.txt --context 64 --layers").code, 2);

  scratch_.write("short.txt", "Too short.");
  const CommandResult too_short = nibble_command(scratch_, "eval m --text short.txt --context 64 -t 1");
  EXPECT_EQ(too_short.code, 1);
  EXPECT_TRUE(too_short.error.starts_with("nibble: error: ")) << too_short.error;
}

TEST_F(Verbs, EvalOfSeveralModelsAndTexts) {
  make_model();
  make_text();
  run("quantize m -f q8_0 -o q8.gguf");
  run("quantize m -f q4_0 -o q4.gguf");
  const auto verdict = json("eval q8.gguf q4.gguf --against m --text text.txt text.txt --context 16 -t 1");
  ASSERT_EQ(verdict["candidates"].size(), 2u);
  EXPECT_EQ(verdict["candidates"][1]["model"], "q4.gguf");
  ASSERT_EQ(verdict["texts"].size(), 2u);
  EXPECT_EQ(verdict["contests"][0]["better"], "first");
  EXPECT_LT(verdict["contests"][0]["kl_difference"]["high"].get<double>(), 0);
  EXPECT_EQ(json("eval m --text text.txt text.txt --context 16 -t 1")["texts"].size(), 2u);
  const std::string card = run("eval q8.gguf q4.gguf --against m --text text.txt --context 16 -t 1 --markdown").out;
  EXPECT_TRUE(card.starts_with("## Quality against `m`")) << card;
  EXPECT_EQ(nibble_command(scratch_, "eval q8.gguf q4.gguf --text text.txt").code, 2);
}

TEST_F(Verbs, Acceptance) {
  make_model();
  make_text();
  run("quantize m -f q4_0 -o q.gguf");
  const std::string eval = "eval q.gguf --against m --text text.txt --context 16 -t 1 ";
  EXPECT_EQ(nibble_command(scratch_, eval + "--accept 'kl<=10'").code, 0);
  EXPECT_EQ(nibble_command(scratch_, eval + "--accept 'kl<=1e-9'").code, 3);
  const CommandResult undecided = nibble_command(scratch_, eval + "--windows 20 --accept 'kl<=10' --json");
  EXPECT_EQ(undecided.code, 4);
  EXPECT_EQ(undecided.json()["candidates"][0]["acceptance"]["windows_needed"], 30);
  EXPECT_EQ(nibble_command(scratch_, eval + "--accept 'kl<10'").code, 2);
  EXPECT_EQ(nibble_command(scratch_, eval + "--accept 'kl_weights<=10'").code, 0);
  EXPECT_EQ(nibble_command(scratch_, eval + "--accept 'kl_weights<=1e-9'").code, 3);
  const CommandResult unsplit = nibble_command(scratch_, eval + "--accept 'kl_weights<=10' --split 0");
  EXPECT_EQ(unsplit.code, 2);
  EXPECT_NE(unsplit.error.find("allow some; see --split 32"), std::string::npos) << unsplit.error;
  EXPECT_EQ(nibble_command(scratch_, "eval q.gguf --text text.txt --accept 'kl<=1'").code, 2);
}

// A model that is not good enough never takes another's place.
TEST_F(Verbs, QuantizeVerifiesBeforeItReplaces) {
  make_model();
  std::string text;
  for (int i = 0; i < 1500; ++i) text += "Line number " + std::to_string(i) + " of the text.\n";
  scratch_.write("text.txt", text);
  run("quantize m -f q8_0 -o q.gguf");
  const std::string good = read_text(scratch_ / "q.gguf");
  const std::size_t entries = scratch_.num_entries();
  const CommandResult refused =
      nibble_command(scratch_, "quantize m -f q4_0 -o q.gguf --verify text.txt --accept 'kl<=1e-9' -t 1");
  EXPECT_EQ(refused.code, 3) << refused.error;
  EXPECT_NE(refused.out.find("q.gguf was not written"), std::string::npos) << refused.out;
  EXPECT_EQ(read_text(scratch_ / "q.gguf"), good);
  EXPECT_EQ(scratch_.num_entries(), entries);
  EXPECT_EQ(nibble_command(scratch_, "quantize m -f int4:g32 -o dir --verify text.txt --accept 'kl<=1e-9' -t 1").code,
            3);
  EXPECT_EQ(scratch_.num_entries(), entries);

  const auto accepted = json("quantize m -f q4_0 -o q.gguf --verify text.txt --accept 'kl<=10' -t 1");
  EXPECT_EQ(accepted["released"], true);
  EXPECT_EQ(accepted["acceptance"]["judgement"], "accepted");
  EXPECT_GT(accepted["verdict"]["kl_mean"].get<double>(), 0);
  EXPECT_NE(read_text(scratch_ / "q.gguf"), good);
  EXPECT_EQ(nibble_command(scratch_, "quantize m -f q4_0 -o q.gguf --accept 'kl<=10'").code, 2);
}

TEST_F(Verbs, InspectTellsWhatCalibrationSaw) {
  make_model();
  make_text();
  const auto calibrated = json("calibrate m --text text.txt --samples 3 --length 32 --full -o s.stats");
  EXPECT_TRUE(calibrated["experts"].empty());
  run("calibrate m --text text.txt --samples 3 --length 32 -o i.gguf");
  for (const std::string name : {"s.stats", "i.gguf"}) {
    const auto listing = json("inspect " + name);
    EXPECT_EQ(listing["samples"], 3) << name;
    EXPECT_EQ(listing["length"], 32) << name;
    EXPECT_EQ(listing["texts"][0], "text.txt") << name;
    EXPECT_EQ(listing["sites"][0]["median_vectors"], 96) << name;
    EXPECT_EQ(listing["sites"][0]["second_moment"], name == "s.stats") << name;
    EXPECT_TRUE(listing["experts"].empty()) << name;
    EXPECT_NE(run("inspect " + name).out.find("3 windows of 32 tokens of text.txt"), std::string::npos) << name;
    EXPECT_EQ(nibble_command(scratch_, "inspect " + name + " --stats").code, 2) << name;
  }
}

TEST_F(Verbs, BenchKeys) {
  make_model();
  const auto bench = json("bench m -p 16 -n 4 -r 2 -t 1");
  EXPECT_EQ(bench["threads"], 1);
  ASSERT_EQ(bench["results"].size(), 2u);
  EXPECT_EQ(bench["results"][0]["test"], "pp16");
  EXPECT_EQ(bench["results"][1]["test"], "tg4");
  for (const auto& result : bench["results"]) {
    EXPECT_GT(result["tokens_per_second"].get<double>(), 0);
    EXPECT_GE(result["spread"].get<double>(), 0);
  }
}

TEST_F(Verbs, BenchOfTraining) {
  make_model();
  const auto bench = json("bench m -p 0 -n 0 --train 1100 -r 2 -t 2 --limits");
  ASSERT_EQ(bench["results"].size(), 1u);
  const auto& result = bench["results"][0];
  EXPECT_EQ(result["test"], "train1024");
  EXPECT_EQ(result["sequences"], 2);
  EXPECT_EQ(result["samples"].size(), 2u);
  EXPECT_GT(result["share_of_limit"].get<double>(), 0);
  EXPECT_TRUE(result["arithmetic"] == "f32" || result["arithmetic"] == "bf16");
  EXPECT_NE(run("bench m -p 0 -n 0 --train 40 -r 1 -t 2").out.find("train40"), std::string::npos);
}

// What is written from a model without a tokenizer can be looked at, quantized again and timed.
TEST_F(Verbs, ModelsWithoutATokenizer) {
  run("quantize " + kGrouped + " -f f16 -o m.gguf");
  EXPECT_EQ(json("inspect m.gguf")["layers"], 2);
  run("quantize m.gguf -f q8_0 -o q.gguf");
  const auto bench = json("bench q.gguf -p 8 -n 2 -r 1 -t 1 --limits");
  for (const char* key : {"read_bytes_per_second", "int8_operations_per_second"})
    EXPECT_GT(bench["limits"][key].get<double>(), 0) << key;
  EXPECT_EQ(bench["arithmetic"], "int8");
  EXPECT_GT(bench["results"][0]["share_of_limit"].get<double>(), 0);
}

TEST_F(Verbs, Run) {
  make_model();
  const auto made = json("run m -p Tom -n 4 --ignore-end -t 1");
  EXPECT_EQ(made["prompt"], "Tom");
  EXPECT_EQ(made["generated_tokens"], 4);
  EXPECT_EQ(made["stop"], "length");
  const CommandResult text = run("run m -p Tom -n 4 --ignore-end -t 1");
  EXPECT_TRUE(text.out.starts_with("Tom")) << text.out;
  EXPECT_EQ(text.out, "Tom" + made["text"].get<std::string>() + "\n");
}

TEST_F(Verbs, Compare) {
  make_model();
  make_text();
  const std::string arguments = "compare m -f q8_0,int4:g32 --text text.txt --context 64 -p 8 -n 2 -r 1 -t 1";
  const auto comparison = json(arguments);
  ASSERT_EQ(comparison["formats"].size(), 2u);
  for (const char* key : {"format", "bits_per_weight", "bytes", "share", "perplexity", "perplexity_ratio", "kl_mean",
                          "top1_agreement", "prefill_tokens_per_second", "decode_tokens_per_second"})
    EXPECT_TRUE(comparison["formats"][1].contains(key)) << key;
  EXPECT_EQ(comparison["formats"][1]["format"], "int4:g32");
  const std::string card = run(arguments + " --layers --markdown").out;
  EXPECT_TRUE(card.starts_with("| format | bits/weight |")) << card;
  EXPECT_NE(card.find("\n| layer | q8_0 | int4:g32 |\n"), std::string::npos) << card;
}

// What is no text is refused by name wherever text is measured or calibrated on.
TEST_F(Verbs, TextsThatAreNone) {
  make_model();
  make_text();
  const std::string story = read_text(scratch_ / "text.txt");
  std::string lines, wide = "\xff\xfe";
  for (int i = 0; i < 60; ++i) lines += "{\"text\": \"Line number " + std::to_string(i) + " of the text.\"}\n";
  for (const char c : story) wide += {c, '\0'};
  const std::pair<std::string, std::string> files[] = {{lines, "JSON lines"},
                                                       {wide, "UTF-16"},
                                                       {"\x1f\x8b\x08" + story, "a gzip archive"},
                                                       {"PAR1" + story, "a Parquet file"},
                                                       {story + std::string(1, '\0'), "binary"}};
  const std::string commands[] = {"eval m --text other.txt --context 16 -t 1",
                                  "calibrate m --text other.txt --length 16 -o s -t 1",
                                  "quantize m -f q4_0 --method imatrix --text other.txt --length 16 -o q.gguf -t 1",
                                  "quantize m -f q4_0 --verify other.txt -o q.gguf -t 1",
                                  "compare m -f q8_0 --text other.txt --context 16 -p 4 -n 1 -r 1 -t 1"};
  for (const auto& [bytes, word] : files) {
    scratch_.write("other.txt", bytes);
    for (const std::string& command : commands) {
      const CommandResult refused = nibble_command(scratch_, command);
      EXPECT_EQ(refused.code, 1) << command;
      EXPECT_NE(refused.error.find("other.txt: looks like " + word), std::string::npos)
          << command << ": " << refused.error;
    }
  }
  scratch_.write("other.txt", lines);
  run(commands[0] + " --force-text");

  scratch_.write("other.txt", "\xef\xbb\xbf" + story);
  EXPECT_EQ(json(commands[0])["perplexity"], json("eval m --text text.txt --context 16 -t 1")["perplexity"]);
  scratch_.write("other.txt", "caf\xe9 " + story);
  EXPECT_NE(run(commands[0]).error.find("other.txt: a sequence of bytes that is no UTF-8, read as U+FFFD"),
            std::string::npos);
}

// A second head, which is stored in doubles, too.
TEST_F(Verbs, WhatIsReadOtherwiseThanItStandsIsSaid) {
  make_model();
  make_text();
  std::filesystem::rename(scratch_ / "m/model.safetensors", scratch_ / "m/model-00001-of-00002.safetensors");
  std::string header = R"({"lm_head.weight":{"dtype":"F64","shape":[300,64],"data_offsets":[0,153600]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = header.size();
  scratch_.write("m/model-00002-of-00002.safetensors",
                 std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + std::string(153600, '\0'));
  for (const char* command :
       {"eval m --text text.txt --context 16 -t 1", "eval m --against m --text text.txt --context 16 -t 1",
        "run m -p Tom -n 1 -t 1", "bench m -p 4 -n 1 -r 1 -t 1", "inspect m",
        "calibrate m --text text.txt --length 64 --samples 0 -o s.stats -t 1", "quantize m -f q8_0 -o q.gguf"}) {
    const CommandResult result = run(command);
    for (const char* words : {"'lm_head.weight' differs from the embedding", "1 of 21 tensors are stored in F64"})
      EXPECT_NE((result.error + result.out).find(words), std::string::npos) << command << "\n"
                                                                            << result.error << result.out;
  }
}

TEST_F(Verbs, ActivationsThatChangeNothingAreSaid) {
  make_model();
  make_text();
  run("quantize m -f q8_0 -o q.gguf");
  run("quantize m -f fp8:row -o fp8");
  for (const char* model : {"m", "fp8"})
    for (const std::string verb : {"eval ", "run ", "bench "}) {
      const std::string rest = verb == "eval "  ? " --text text.txt --context 16"
                               : verb == "run " ? " -p Tom -n 1"
                                                : " -p 4 -n 1 -r 1";
      EXPECT_NE(run(verb + model + rest + " --activations a8 -t 1").error.find("--activations a8 changes nothing"),
                std::string::npos)
          << verb << model;
      EXPECT_EQ(run(verb + model + rest + " -t 1").error.find("changes nothing"), std::string::npos) << verb << model;
    }
  EXPECT_EQ(run("eval q.gguf --text text.txt --context 16 --activations a8 -t 1").error.find("changes nothing"),
            std::string::npos);
}

TEST_F(Verbs, Convert) {
  make_model();
  run("quantize m -f int4:g32:asym -o q");
  const auto made = json("convert q -o q.gguf");
  EXPECT_EQ(made["exact"], true);
  EXPECT_EQ(made["output"], "q.gguf");
  EXPECT_GT(made["bytes"], 0);
  std::set<std::string> places;
  for (const auto& tensor : made["tensors"])
    if (tensor["conversion"] == "exact") places.insert(tensor["to"]);
  EXPECT_EQ(places, std::set<std::string>{"q5_0"});
  EXPECT_NE(run("convert q.gguf -o back").out.find("kept as they are"), std::string::npos);
  const auto rounded = json("convert q.gguf -o half --dtype bf16 --lossy");
  EXPECT_EQ(rounded["exact"], false);
  EXPECT_FALSE(rounded.contains("verdict"));  // no text is named, and none lies beside the model
  EXPECT_GT(rounded["tensors"][1]["changed"], 0);
  const CommandResult refused = nibble_command(scratch_, "convert q.gguf -o other --dtype bf16");
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.error.find("--lossy"), std::string::npos) << refused.error;
  EXPECT_EQ(nibble_command(scratch_, "convert q -o x.gguf --shard-size 1MB").code, 2);
}

TEST_F(Verbs, ConvertJudgesWhatRoundingCost) {
  const std::string model = NIBBLE_SOURCE_DIR "/tests/data/tale-4M";
  run("quantize " + model + " -f int8:row -o q");
  const std::string text = scratch_ / "text.txt";
  std::string start(8000, ' ');
  std::ifstream(model + "/calibration.txt").read(start.data(), 8000);
  std::ofstream(text) << start;
  const auto judged = json("convert q -o half --dtype bf16 --lossy --verify " + text);
  EXPECT_GT(judged["verdict"]["kl_mean"], 0);
  EXPECT_GT(judged["verdict"]["top1_agreement"], 0.9);
  EXPECT_FALSE(json("convert q -o half --dtype bf16 --lossy --no-verdict").contains("verdict"));
  for (const char* const idle : {" --lossy --no-verdict", " --lossy --dry-run", ""})
    EXPECT_EQ(nibble_command(scratch_, "convert q -o half --dtype bf16" + std::string(idle) + " --verify " + text).code,
              2)
        << idle;
}

TEST_F(Verbs, OneQuantizationGoesIntoSeveralContainersAndIsTheSameInEach) {
  const std::string model = NIBBLE_SOURCE_DIR "/tests/data/tale-4M";
  const CommandResult made = run("quantize " + model + " -f int4:g32 --to awq,gguf -o tale --shard-size 1MB");
  EXPECT_NE(made.out.find("tale.gguf: the same numbers"), std::string::npos) << made.out;
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "tale-awq/model-00001-of-00004.safetensors"));
  const std::string card = read_text(scratch_ / "tale-awq/README.md");
  for (const char* const part : {"base_model: \"tale-4M\"", "recipe `int4:g32`, method `rtn`", "vllm serve ."})
    EXPECT_NE(card.find(part), std::string::npos) << card;
  EXPECT_NE(run("check tale-awq --against tale.gguf").out.find("the same numbers: 47 tensors"), std::string::npos);
  EXPECT_EQ(json("check tale-awq --against tale.gguf")["same"], true);
  run("convert tale-awq -o plain --dtype f32");
  const std::string plain = read_text(scratch_ / "plain/README.md");
  EXPECT_NE(plain.find("**Not quantized:** the numbers of a quantized model"), std::string::npos) << plain;
  EXPECT_EQ(plain.find("- quantized"), std::string::npos);
  const CommandResult other = nibble_command(scratch_, "check tale-awq --against " + model);
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.error.find("35 of 47 tensors differ"), std::string::npos) << other.error;
  EXPECT_EQ(nibble_command(scratch_, "quantize " + model + " -f int4:g32:asym --to gptq -o x").code, 2);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "x"));
  EXPECT_GT(json("formats --containers")["containers"].size(), 100u);
}

// Every command of docs/runtimes.md, in its order.
TEST_F(Verbs, CommandsForRuntimesRun) {
  std::filesystem::create_directory_symlink(NIBBLE_SOURCE_DIR "/models", scratch_ / "models");
  std::istringstream page(read_text(NIBBLE_SOURCE_DIR "/docs/runtimes.md"));
  std::size_t commands = 0;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("nibble ")) continue;
    const CommandResult result = nibble_command(scratch_, line.substr(7));
    EXPECT_EQ(result.code, 0) << line << "\n" << result.error;
    ++commands;
  }
  EXPECT_GE(commands, 12u);
}

// docs/models.md has the list as it is printed.
TEST_F(Verbs, InfoListsTheModelsThatAreKnown) {
  const std::string page = read_text(NIBBLE_SOURCE_DIR "/docs/models.md"), table = run("info --models --markdown").out;
  EXPECT_NE(page.find(table), std::string::npos) << "docs/models.md lacks this table:\n" << table;
  std::set<std::string> types;
  const nlohmann::json list = json("info --models");
  for (const auto& family : list["models"]) {
    EXPECT_FALSE(family["family"].get<std::string>().empty()) << family;
    for (const auto& type : family["model_types"]) types.insert(type);
  }
  for (const char* const type : {"llama", "qwen3_5", "gpt_oss", "chatglm", "mistral3"})
    EXPECT_TRUE(types.contains(type));
  EXPECT_EQ(nibble_command(scratch_, "info --markdown").code, 2);
}

}  // namespace
}  // namespace nibble
