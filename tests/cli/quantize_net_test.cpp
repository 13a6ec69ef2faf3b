// SPDX-License-Identifier: Apache-2.0
//
// `nibble quantize` of small nets: samples wherever they come from, what is said, what is refused.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "io/npy/npy_file.h"
#include "io/onnx/onnx_model.h"
#include "io/tflite/tflite_model.h"

namespace nibble {
namespace {

class QuantizeNetCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
    // Twelve samples near the one of the fixture.
    const std::string bytes = read_text(net("classifier.npz"));
    for (const auto& [key, array] : parse_npz(std::as_bytes(std::span(bytes)), "classifier"))
      if (key == "in/image") image_ = array;
    samples_.shape = image_.shape;
    samples_.shape.insert(samples_.shape.begin(), 12);
    for (std::size_t i = 0; i < 12; ++i)
      for (std::size_t j = 0; j < image_.numbers.size(); ++j)
        samples_.numbers.push_back(image_.numbers[(j + 7 * i) % image_.numbers.size()]);
    scratch_.write("s.npy", serialize_npy(samples_));
  }
  CommandResult run(const std::string& arguments, int code) {
    CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    return result;
  }
  static std::string net(const std::string& name) { return NIBBLE_SOURCE_DIR "/tests/data/nets/" + name; }
  std::string classifier() { return "quantize " + net("classifier.onnx") + " -f int8 "; }
  std::string error_of(const std::string& arguments, int code) { return run(classifier() + arguments, code).error; }

  ScratchDirectory scratch_;
  NpyArray image_, samples_;
};

TEST_F(QuantizeNetCommand, WritesAFileThatRuns) {
  const auto json = nlohmann::json::parse(run(classifier() + "--samples s.npy -o q.onnx --json", 0).out);
  EXPECT_EQ(json["layers"].size(), 3u);
  EXPECT_EQ(json["layers"][0]["arithmetic"], "int8");
  EXPECT_EQ(json["calibrated"], 9);
  EXPECT_EQ(json["judged"], 3);
  EXPECT_EQ(json["changing"]["rows"], 24);  // the net's batch is two
  EXPECT_LE(json["changing"]["value"], json["changing"]["high"]);
  EXPECT_EQ(json["bytes"], std::filesystem::file_size(scratch_ / "q.onnx"));
  scratch_.write("i.npy", serialize_npy(image_));
  run("run q.onnx --input i.npy -o y.npy", 0);
  EXPECT_NE(run("inspect q.onnx", 0).out.find("quantize"), std::string::npos);
  // The same on any number of threads.
  const std::string bytes = read_text(scratch_ / "q.onnx");
  run(classifier() + "--samples s.npy -o q1.onnx -t 1", 0);
  EXPECT_EQ(read_text(scratch_ / "q1.onnx"), bytes);
  const CommandResult text = run(classifier() + "--samples s.npy -o q.onnx", 0);
  EXPECT_NE(text.out.find("3 of 3 layers compute in int8"), std::string::npos) << text.out;
  run(classifier() + "--samples s.npy --dry-run", 0);
  const auto four = nlohmann::json::parse(
      run("quantize " + net("classifier.onnx") + " -f int4 --samples s.npy -o q4.onnx --json", 0).out);
  EXPECT_EQ(four["opset"], 21);
  EXPECT_EQ(four["layers"][0]["arithmetic"], "weights in int4");
  run("run q4.onnx --input i.npy -o y.npy", 0);
  const std::string learned = "quantize " + net("classifier.onnx") + " -f int4 --samples s.npy -o q4.onnx --json ";
  EXPECT_TRUE(nlohmann::json::parse(run(learned + "--method adaround --steps 20 --seed 2", 0).out)["layers_learned"]
                  .is_number());
  EXPECT_NE(run(learned + "--steps 20", 2).error.find("without --method adaround"), std::string::npos);
  const auto tensor = nlohmann::json::parse(
      run("quantize " + net("classifier.onnx") + " -f int8:tensor --samples s.npy -o qt.onnx --json", 0).out);
  EXPECT_EQ(tensor["weight_scales"], "tensor");
  EXPECT_LT(tensor["bytes"], json["bytes"]);
  run("run qt.onnx --input i.npy -o y.npy", 0);
}

TEST_F(QuantizeNetCommand, WritesSeveralContainersOfOneQuantization) {
  if (!has_tflite()) GTEST_SKIP() << kTfliteMissing;
  const auto json =
      nlohmann::json::parse(run(classifier() + "--samples s.npy --max-drop 100 --to onnx,tflite,c -o q --json", 0).out);
  ASSERT_EQ(json["files"].size(), 3u);
  EXPECT_EQ(json["files"][1]["container"], "tflite");
  EXPECT_EQ(json["files"][1]["path"], "q.tflite");
  EXPECT_EQ(json["files"][1]["bytes"], std::filesystem::file_size(scratch_ / "q.tflite"));
  scratch_.write("i.npy", serialize_npy(image_));
  run("run q.tflite --input i.npy -o lite.npy", 0);
  run("run q.onnx --input i.npy -o onnx.npy", 0);
  const std::string lite = read_text(scratch_ / "lite.npy"), onnx = read_text(scratch_ / "onnx.npy");
  const std::vector<float> a = parse_npy(std::as_bytes(std::span(lite)), "lite").numbers,
                           b = parse_npy(std::as_bytes(std::span(onnx)), "onnx").numbers;
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1.0F / 256);
  EXPECT_NE(read_text(scratch_ / "q.h").find("int q_run(const int8_t *input, int8_t *output);"), std::string::npos);
  // Replaced as they are one's own; what is somebody else's stays.
  run(classifier() + "--samples s.npy -o q.c", 0);
  scratch_.write("mine.h", "int x;\n");
  EXPECT_NE(error_of("--samples s.npy -o mine.c", 1).find("mine.h: exists and was not written by nibble"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "mine.c"));
}

TEST_F(QuantizeNetCommand, RefusesContainersThatCannotHoldIt) {
  if (!has_tflite()) GTEST_SKIP() << kTfliteMissing;
  EXPECT_NE(error_of("--samples s.npy --to gguf -o q", 2).find("nets are written as onnx, tflite, c"),
            std::string::npos);
  EXPECT_NE(error_of("--samples s.npy --for tensorrt -o q.tflite", 2).find("TensorRT reads ONNX"), std::string::npos);
  EXPECT_NE(
      run("quantize " + net("classifier.onnx") + " -f int4 --samples s.npy -o q.tflite", 2).error.find("ask for int8"),
      std::string::npos);
  // Before samples are looked at.
  const std::string error = run("quantize " + net("recurrent.onnx") + " -f int8 --samples s.npy -o q.tflite", 1).error;
  EXPECT_NE(error.find("lstm: this operation (v3)"), std::string::npos) << error;
  EXPECT_EQ(std::filesystem::exists(scratch_ / "q.tflite"), false);
}

TEST_F(QuantizeNetCommand, RoundsValuesWhenItRuns) {
  const auto json = nlohmann::json::parse(run(classifier() + "--dynamic --samples s.npy -o q.onnx --json", 0).out);
  EXPECT_EQ(json["layers"][0]["arithmetic"], "weights in int8");
  EXPECT_EQ(json["layers"][2]["arithmetic"], "int8");
  EXPECT_GT(json["sqnr"], 20);
  run("eval q.onnx --against " + net("classifier.onnx") + " --data s.npy", 0);
  EXPECT_NE(error_of("--dynamic --samples s.npy -o q.tflite", 2).find("in ONNX alone"), std::string::npos);
  EXPECT_NE(error_of("--dynamic --samples s.npy --for tensorrt -o q.onnx", 2).find("in ONNX alone"), std::string::npos);
}

TEST_F(QuantizeNetCommand, ConvertsNets) {
  if (!has_tflite()) GTEST_SKIP() << kTfliteMissing;
  run("convert " + net("classifier.onnx") + " -o c.tflite", 0);
  scratch_.write("i.npy", serialize_npy(image_));
  run("run c.tflite --input i.npy -o y.npy", 0);
  run(classifier() + "--samples s.npy -o q.onnx", 0);
  run("convert q.onnx -o q.tflite", 0);
  EXPECT_NE(run("inspect q.tflite", 0).out.find("quantize"), std::string::npos);
  run("convert " + net("codes.tflite") + " --to c -o codes.c", 0);
  EXPECT_NE(read_text(scratch_ / "codes.h").find("codes_run"), std::string::npos);
  EXPECT_NE(run("convert " + net("classifier.onnx") + " -o c.gguf", 2).error.find("written as .onnx, .tflite or .c"),
            std::string::npos);
  // Names that say another container, and none that C can include.
  for (const char* const output :
       {"--to c -o codes", "--to c -o codes.h", "--to tflite -o codes.c", "--to onnx -o codes.tflite"})
    EXPECT_NE(run("convert " + net("codes.tflite") + " " + output, 2).error.find("end its name in ."),
              std::string::npos)
        << output;
  EXPECT_NE(run("convert " + net("codes.tflite") + " -o 'a\"b.c'", 2).error.find("without quotes"), std::string::npos);
  EXPECT_NE(run("convert " + net("classifier.onnx") + " -o c.tflite --lossy", 2).error.find("--lossy"),
            std::string::npos);
}

TEST_F(QuantizeNetCommand, JudgesNetsWithConstants) {
  // What is a number in the one is part of the other.
  NpyArray images{{12, 1, 4, 9, 7}, {}};
  for (std::size_t i = 0; i < 12 * 252; ++i) images.numbers.push_back(image_.numbers[i % image_.numbers.size()]);
  scratch_.write("images.npy", serialize_npy(images));
  const std::string places = net("mobile_places.onnx");
  run("quantize " + places + " -f int8 --constant line=0.5 --samples image=images.npy -o q.onnx", 0);
  run("eval q.onnx --against " + places + " --constant line=0.5 --data image=images.npy", 0);
}

TEST_F(QuantizeNetCommand, ComparesFormats) {
  std::string labels;
  for (int i = 0; i < 12; ++i) labels += std::to_string(i % 5) + "\n";
  scratch_.write("labels.txt", labels);
  const std::string compare = "compare " + net("classifier.onnx") + " --data s.npy ";
  const auto json = nlohmann::json::parse(run(compare + "--labels labels.txt --json", 0).out);
  EXPECT_EQ(json["calibrated"], 6);
  EXPECT_EQ(json["judged"], 6);
  ASSERT_EQ(json["formats"].size(), 6u);
  EXPECT_EQ(json["formats"][0]["agreement"]["value"], 1);
  EXPECT_EQ(json["formats"][0]["top1"]["candidate"]["count"], 6);
  std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max();
  for (const auto& one : json["formats"]) {
    EXPECT_LT(one["weight_bytes"].get<std::uint64_t>(), bytes) << one["format"];
    bytes = one["weight_bytes"];
  }
  // 112 + 20 + 325 numbers of which 108 + 16 + 320 are weights of 13 channels.
  EXPECT_EQ(json["formats"][0]["weight_bytes"], 4 * 457);
  EXPECT_EQ(json["formats"][5]["weight_bytes"], 14 + 2 + 40 + 4 * 13 + 4 * 13);
  EXPECT_FALSE(json["formats"][2]["seconds"].is_null());
  const std::string text = run(compare + "--markdown", 0).out;
  EXPECT_NE(text.find("| ternary"), std::string::npos) << text;
  EXPECT_NE(run("compare " + net("classifier.onnx"), 2).error.find("--data"), std::string::npos);
  EXPECT_NE(run("compare " + net("classifier.onnx") + " --data s.npy --windows 3", 2).error.find("--windows"),
            std::string::npos);
}

TEST_F(QuantizeNetCommand, TakesSamplesAsTheyLie) {
  const auto calibrated = [&](const std::string& samples) {
    const auto json = nlohmann::json::parse(run(classifier() + samples + " -o q.onnx --json", 0).out);
    return json["calibrated"].get<int>() + (json["held_out"] ? json["judged"].get<int>() : 0);
  };
  EXPECT_EQ(calibrated("--samples image=s.npy"), 12);
  EXPECT_EQ(calibrated("--samples s.npy --samples s.npy"), 24);
  scratch_.write("one.npy", serialize_npy(image_));
  EXPECT_EQ(calibrated("--samples s.npy --samples one.npy"), 13);
  scratch_.write("s.npz", serialize_npz({{"image", samples_}}));
  EXPECT_EQ(calibrated("--samples s.npz"), 12);
  std::filesystem::create_directory(scratch_ / "d");
  scratch_.write("d/a.npy", serialize_npy(samples_));
  scratch_.write("d/b.npz", serialize_npz({{"image", samples_}}));
  scratch_.write("d/readme.txt", "");
  EXPECT_EQ(calibrated("--samples d"), 24);
  // A tensor of ONNX: dims, type f32, bytes.
  std::string tensor;
  for (const std::uint64_t extent : image_.shape) tensor += std::string("\x08") + static_cast<char>(extent);
  const std::size_t length = image_.numbers.size() * 4;
  tensor += std::string("\x10\x01\x4a") + static_cast<char>((length & 127) | 128) + static_cast<char>(length >> 7);
  tensor.append(reinterpret_cast<const char*>(image_.numbers.data()), length);
  std::filesystem::create_directories(scratch_ / "t/test_data_set_0");
  scratch_.write("t/test_data_set_0/input_0.pb", tensor);
  EXPECT_EQ(calibrated("--samples t"), 1);
  EXPECT_EQ(calibrated("--samples t/test_data_set_0"), 1);
}

TEST_F(QuantizeNetCommand, MakesSamplesWhereItIsTold) {
  const CommandResult made = run(classifier() + "--generate -o q.onnx", 0);
  EXPECT_NE(made.error.find("warning: no samples were given; random numbers"), std::string::npos);
  EXPECT_NE(error_of("-o q.onnx", 2).find("--generate where there are none"), std::string::npos);
  EXPECT_NE(error_of("--generate --samples s.npy -o q.onnx", 2).find("exclude each other"), std::string::npos);
}

TEST_F(QuantizeNetCommand, RefusesWhatIsNoSample) {
  scratch_.write("flat.npy", serialize_npy({{384}, image_.numbers}));
  EXPECT_NE(error_of("--samples flat.npy -o q.onnx", 1)
                .find("should be samples of [2, 3, 8, 8], with their number in "
                      "front: [384]"),
            std::string::npos);
  scratch_.write("other.npz", serialize_npz({{"picture", samples_}}));
  EXPECT_NE(error_of("--samples other.npz -o q.onnx", 1).find("the net has no input 'picture'; its inputs are image"),
            std::string::npos);
  samples_.numbers[5] = std::numeric_limits<float>::quiet_NaN();
  scratch_.write("nan.npy", serialize_npy(samples_));
  EXPECT_NE(error_of("--samples nan.npy -o q.onnx", 1).find("number 5 is not finite"), std::string::npos);
  std::filesystem::create_directory(scratch_ / "empty");
  EXPECT_NE(error_of("--samples empty -o q.onnx", 1).find("holds no samples"), std::string::npos);
  scratch_.write("zeros.npy", serialize_npy({samples_.shape, std::vector<float>(samples_.numbers.size(), 0)}));
  EXPECT_NE(error_of("--samples zeros.npy -o q.onnx", 1).find("are the same, 0"), std::string::npos);
  EXPECT_NE(error_of("--samples missing.npy -o q.onnx", 1).find("missing.npy"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "q.onnx"));
}

TEST_F(QuantizeNetCommand, RefusesWhatMeansNothing) {
  EXPECT_NE(error_of("--samples s.npy", 2).find("-o OUT.onnx"), std::string::npos);
  EXPECT_NE(error_of("--samples s.npy -o q.gguf", 2).find("written as .onnx"), std::string::npos);
  EXPECT_NE(error_of("--samples s.npy -o s.npy", 2).find("--samples"), std::string::npos);
  EXPECT_NE(error_of("--samples s.npy -o q.onnx --embedding q8_0", 2).find("--embedding"), std::string::npos);
  EXPECT_NE(error_of("--samples s.npy -o q.onnx --method awq", 2).find("descent, adaround: awq"), std::string::npos);
  EXPECT_NE(error_of("--samples s.npy -o q.onnx --equalize maybe", 2).find("auto, on or off"), std::string::npos);
  EXPECT_NE(error_of("--samples s.npy -o q.onnx --for vllm", 2).find("tensorrt"), std::string::npos);
  EXPECT_NE(error_of("--samples s.npy -o q.onnx --exclude nothing", 2).find("has a name like nothing"),
            std::string::npos);
  EXPECT_NE(run("quantize " + net("classifier.onnx") + " -f q4_k --samples s.npy -o q.onnx", 2).error.find("int8"),
            std::string::npos);
  run(classifier() + "--samples s.npy -o q.onnx", 0);
  run(classifier() + "--samples s.npy -o q.onnx", 0);
  std::filesystem::copy_file(net("classifier.onnx"), scratch_ / "another.onnx");
  scratch_.write("notes.onnx", "hello");
  for (const char* const other : {"another.onnx", "notes.onnx"})
    EXPECT_NE(error_of("--samples s.npy -o " + std::string(other), 1).find("was not written by nibble"),
              std::string::npos);
  EXPECT_NE(run("quantize q.onnx -f int8 --samples s.npy -o r.onnx", 1).error.find("quantized already"),
            std::string::npos);
  const std::string model = "quantize " NIBBLE_SOURCE_DIR "/tests/data/tale-4M -f q8_0 -o x.gguf ";
  EXPECT_NE(run(model + "--generate", 2).error.find("--generate"), std::string::npos);
  EXPECT_NE(run(model + "--samples s.npy", 2).error.find("whole number"), std::string::npos);
}

TEST_F(QuantizeNetCommand, IsJudgedAgainstItsOriginal) {
  run(classifier() + "--samples s.npy -o q.onnx", 0);
  const std::string eval = "eval q.onnx --against " + net("classifier.onnx") + " --data s.npy";
  const auto json = nlohmann::json::parse(run(eval + " --json", 0).out);
  EXPECT_EQ(json["samples"], 12);
  EXPECT_EQ(json["agreement"]["count"], 24);  // the net's batch is two
  EXPECT_GT(json["outputs"][0]["sqnr"], 20);
  EXPECT_GE(json["layers"].size(), 3u);
  std::string labels;
  for (int i = 0; i < 12; ++i) labels += std::to_string(i % 5) + "\n";
  scratch_.write("labels.txt", labels);
  const auto labelled = nlohmann::json::parse(run(eval + " --labels labels.txt --json", 0).out);
  EXPECT_EQ(labelled["top5"]["original"]["hits"], 12);  // of five classes
  EXPECT_EQ(labelled["top1"]["original"]["count"], 12);
  EXPECT_LE(labelled["top1"]["original"]["low"], labelled["top1"]["original"]["value"]);
  // The same net twice.
  const auto same = nlohmann::json::parse(
      run("eval " + net("classifier.onnx") + " --against " + net("classifier.onnx") + " --data s.npy --json", 0).out);
  EXPECT_EQ(same["agreement"]["value"], 1);
  EXPECT_TRUE(same["outputs"][0]["sqnr"].is_null());
  EXPECT_NE(run(eval + " --layers", 0).out.find("against the original"), std::string::npos);
  scratch_.write("short.txt", "1\n2\n");
  EXPECT_NE(run(eval + " --labels short.txt", 1).error.find("has 2 labels for 12 samples"), std::string::npos);
  scratch_.write("words.txt", "cat\n");
  EXPECT_NE(run(eval + " --labels words.txt", 1).error.find("line 1 is no whole number"), std::string::npos);
  scratch_.write("large.txt", "9" + labels.substr(1));
  EXPECT_NE(run(eval + " --labels large.txt", 1).error.find("none of the net's 5 classes: 9"), std::string::npos);
  EXPECT_NE(run("eval q.onnx --data s.npy", 2).error.find("--against"), std::string::npos);
  EXPECT_NE(run("eval q.onnx --against " + net("mobile.onnx") + " --data s.npy", 1).error.find("has other inputs than"),
            std::string::npos);
}

}  // namespace
}  // namespace nibble
