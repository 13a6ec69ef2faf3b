// SPDX-License-Identifier: Apache-2.0
//
// A quantization in parts: the same bytes as one process makes, whichever part is made when.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <thread>

#include "base/file_lock.h"
#include "kernels/chosen_isa.h"
#include "pipeline/models.h"
#include "pipeline/quantize/calibrate_model.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/shared_work.h"

namespace nibble {
namespace {

TEST(JobPart, IsWhichOfHowMany) {
  EXPECT_EQ(parse_job_part("2/8"), (JobPart{2, 8}));
  EXPECT_EQ(parse_job_part("1/1"), (JobPart{1, 1}));
  EXPECT_EQ(parse_job_part("65536/65536"), (JobPart{65536, 65536}));
  EXPECT_EQ(job_part_text({2, 8}), "2/8");
  for (const char* const wrong : {"", "2", "2/", "/8", "0/8", "9/8", "2/8 ", " 2/8", "-1/8", "2/0", "1/65537", "2,8",
                                  "2/8/9", "0x1/8", "99999999999999999999/99999999999999999999"})
    EXPECT_EQ(error_of([&] { parse_job_part(wrong); }),
              std::string("a part is which of how many, from 1/8 to 8/8 (at most 65536): '") + wrong + "'");
}

class Parts : public testing::Test {
 protected:
  QuantizeModelOptions options(const std::string& format, const std::string& output) const {
    QuantizeModelOptions result;
    choose_format(result, format);
    result.output = scratch_ / output;
    return result;
  }
  Statistics statistics() {
    std::string text;
    for (int i = 0; i < 900; ++i) text += "Line " + std::to_string(i * i % 977) + " of a text in no order.\n";
    return calibrate_model(SourceModel::open(model_), {{{"text", text}}},
                           {.sampling = {.samples = 8, .length = 64, .seed = 0}, .collect = {.second_moments = true}},
                           machine_)
        .statistics;
  }
  PartSummary make(const QuantizeModelOptions& request, const JobPart& part) {
    return quantize_part(SourceModel::open(model_), request, part, machine_, {});
  }
  QuantizeSummary assemble(const QuantizeModelOptions& request) {
    return assemble_parts(SourceModel::open(model_), request, machine_, {});
  }
  std::string file_at(const std::string& name) const {
    std::ifstream file(scratch_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  std::filesystem::path model_ = small_synth(scratch_, machine_.pool, 128);
};

TEST_F(Parts, GiveTheBytesOfOneProcess) {
  const Statistics seen = statistics();
  struct Case {
    const char *format, *method, *output;
  };
  for (const Case& which : std::initializer_list<Case>{{"q4_0", "rtn", "a.gguf"},
                                                       {"q4_k_m", "rtn", "b.gguf"},
                                                       {"int4:g32", "rtn", "c"},
                                                       {"int3:g32+outliers:1%", "rtn", "d"},
                                                       {"q4_0", "imatrix", "e.gguf"},
                                                       {"q4_0", "gptq", "f.gguf"},
                                                       {"int4:g32:asym", "awq", "g"},
                                                       {"int8:row+a8:static", "rtn", "h"},
                                                       {"int8:row+a8:static", "gptq", "i"}}) {
    SCOPED_TRACE(std::string(which.format) + " " + which.method);
    QuantizeModelOptions request = options(which.format, std::string("one-") + which.output);
    request.method = which.method;
    request.calibration.statistics = &seen;
    const std::filesystem::path one = request.output;
    const QuantizeSummary whole = quantize_model(SourceModel::open(model_), request, machine_, {});
    for (const std::uint64_t count : {2, 5}) {
      request.output = scratch_ / which.output;
      std::uint64_t pieces = 0;
      for (std::uint64_t number = count; number >= 1; --number) pieces += make(request, {number, count}).pieces;
      EXPECT_GE(pieces, 20u) << count;
      const QuantizeSummary summary = assemble(request);
      EXPECT_FALSE(std::filesystem::exists(scratch_ / (std::string(which.output) + ".work"))) << count;
      const std::string weights = std::filesystem::is_directory(one) ? "/model.safetensors" : "";
      EXPECT_EQ(file_at(which.output + weights), file_at(std::string("one-") + which.output + weights)) << count;
      ASSERT_EQ(summary.tensors.size(), whole.tensors.size());
      for (std::size_t i = 0; i < whole.tensors.size(); ++i) {
        ASSERT_EQ(summary.tensors[i].error.has_value(), whole.tensors[i].error.has_value()) << whole.tensors[i].name;
        if (!whole.tensors[i].error) continue;
        EXPECT_EQ(summary.tensors[i].error->stored, whole.tensors[i].error->stored) << whole.tensors[i].name;
      }
      EXPECT_EQ(summary.warnings, whole.warnings);
    }
  }
}

TEST_F(Parts, AreOfOneSizeAndMakeEveryRowOnce) {
  const SourceModel source = SourceModel::open(model_);
  const QuantizeModelOptions request = options("q4_0", "out.gguf");
  const QuantizePlan plan = plan_quantization(source, request);
  std::uint64_t all = 0, largest = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    all += tensor.rows * tensor.cols;
    largest = std::max(largest, tensor.rows * tensor.cols);
  }
  for (const std::uint64_t count : {1, 3, 4}) {
    std::vector<PartShare> shares;
    for (std::uint64_t number = 1; number <= count; ++number)
      shares.emplace_back(plan, request, JobPart{number, count});
    std::vector<std::uint64_t> sizes(count);
    for (std::size_t i = 0; i < plan.tensors.size(); ++i)
      for (std::uint64_t row = 0; row < plan.tensors[i].rows; ++row) {
        std::size_t owners = 0;
        for (std::size_t part = 0; part < count; ++part)
          if (shares[part].owns(i, {row, row + 1})) {
            ++owners;
            sizes[part] += plan.tensors[i].cols;
            EXPECT_TRUE(shares[part].touches(i));
          }
        ASSERT_EQ(owners, 1u) << plan.tensors[i].target.name << " row " << row;
      }
    for (const std::uint64_t size : sizes) {
      EXPECT_LE(size, all / count + 300) << count;
      EXPECT_GE(size + 300, all / count) << count;
    }
  }
}

TEST_F(Parts, FindTheirOwnPiecesAndMakeDamagedOnesAnew) {
  const QuantizeModelOptions request = options("q4_0", "out.gguf");
  const PartSummary first = make(request, {1, 2});
  EXPECT_EQ(first.found, 0u);
  EXPECT_EQ(first.directory, scratch_ / "out.gguf.work");
  EXPECT_GT(first.bytes, 0u);
  EXPECT_EQ(make(request, {1, 2}).found, first.pieces);
  std::string piece;
  for (const auto& entry : std::filesystem::directory_iterator(first.directory))
    if (const std::string name = entry.path().filename().string(); std::isdigit(name.front()) != 0) piece = name;
  std::fstream file(first.directory / piece, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x5a');
  file.close();
  make(request, {2, 2});
  EXPECT_NE(error_of([&] { assemble(request); }).find("a piece is damaged; run the parts again"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(request.output));
  EXPECT_EQ(make(request, {1, 2}).found + make(request, {2, 2}).found + 1, first.pieces + make(request, {2, 2}).pieces);
  assemble(request);
  QuantizeModelOptions alone = request;
  alone.output = scratch_ / "alone.gguf";
  quantize_model(SourceModel::open(model_), alone, machine_, {});
  EXPECT_EQ(file_at("out.gguf"), file_at("alone.gguf"));
}

TEST_F(Parts, AreNamedWhereTheyAreMissing) {
  const QuantizeModelOptions request = options("q4_0", "out.gguf");
  EXPECT_NE(error_of([&] { assemble(request); }).find("there is nothing to assemble"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.gguf.work"));
  for (const std::uint64_t number : {1, 3}) make(request, {number, 4});
  const std::string message = error_of([&] { assemble(request); });
  EXPECT_NE(message.find("pieces are not there yet"), std::string::npos) << message;
  EXPECT_NE(message.find("2 of 4 parts have not ended: 2/4, 4/4"), std::string::npos) << message;
  EXPECT_FALSE(std::filesystem::exists(request.output));
  // Parts of another number of parts take up what is there.
  EXPECT_GT(make(request, {2, 2}).found, 0u);
  make(request, {1, 2});
  EXPECT_EQ(assemble(request).output, request.output);
}

TEST_F(Parts, OfAnotherModelOrOtherOptionsAreRefused) {
  const QuantizeModelOptions request = options("q4_0", "out.gguf");
  make(request, {1, 2});
  QuantizeModelOptions other = options("q4_1", "out.gguf");
  for (const auto& act : std::initializer_list<std::function<void()>>{
           [&] { make(other, {2, 2}); }, [&] { assemble(other); },
           [&] {
             model_ = edited_copy(scratch_ / "small", "model.norm.weight", scratch_ / "edited",
                                  [](std::span<float> values) { values[0] += 1; });
             for (const char* const side : {"tokenizer.json", "tokenizer_config.json"})
               std::filesystem::copy_file(scratch_ / "small" / side, scratch_ / "edited" / side);
             make(request, {2, 2});
           }}) {
    const std::string message = error_of(act);
    EXPECT_NE(message.find("parts of another quantization lie here"), std::string::npos) << message;
  }
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "out.gguf.work/part-1-of-2.json"));
}

TEST_F(Parts, AreMadeByOneProcessEach) {
  const QuantizeModelOptions request = options("q4_0", "out.gguf");
  make(request, {1, 2});
  {
    const auto other = FileLock::take(scratch_ / "out.gguf.work/lock-2-of-2", FileLock::Kind::exclusive);
    const std::string message = error_of([&] { make(request, {2, 2}); });
    EXPECT_NE(message.find("another process makes part 2/2"), std::string::npos) << message;
    EXPECT_EQ(make(request, {1, 2}).found, make(request, {1, 2}).pieces);
  }
  make(request, {2, 2});
  const auto part = FileLock::take(scratch_ / "out.gguf.work/lock", FileLock::Kind::shared);
  const std::string message = error_of([&] { assemble(request); });
  EXPECT_NE(message.find("another process is at work on this output"), std::string::npos) << message;
}

TEST_F(Parts, AssembledSayTheWarningsOfOneProcess) {
  const Statistics seen = statistics();
  QuantizeModelOptions request = options("int8:row+a8", "one");
  request.recipe.rules.insert(request.recipe.rules.begin(), {"*ffn_down*", {}, "fp8:row", {}});
  request.method = "gptq";
  request.calibration.statistics = &seen;
  const std::vector<std::string> warnings = quantize_model(SourceModel::open(model_), request, machine_, {}).warnings;
  EXPECT_TRUE(std::ranges::any_of(
      warnings, [](const std::string& line) { return line.find("multiplied in f32") != std::string::npos; }));
  request.output = scratch_ / "out";
  make(request, {1, 1});
  EXPECT_EQ(assemble(request).warnings, warnings);
}

TEST_F(Parts, TidyUpAfterKilledOnesWhoeverTheyWere) {
  const QuantizeModelOptions request = options("q4_0", "out.gguf");
  const PartSummary first = make(request, {1, 2});
  const std::string own = std::to_string(getpid());  // as in a container, where all have one number
  for (const std::string name : {"0-0", "part-1-of-2.json", "part-2-of-2.json"})
    std::ofstream(first.directory / (name + ".partial-" + own + "-7")) << "half";
  make(request, {1, 2});
  EXPECT_FALSE(std::filesystem::exists(first.directory / ("0-0.partial-" + own + "-7")));
  EXPECT_FALSE(std::filesystem::exists(first.directory / ("part-1-of-2.json.partial-" + own + "-7")));
  EXPECT_TRUE(std::filesystem::exists(first.directory / ("part-2-of-2.json.partial-" + own + "-7")));
}

TEST_F(Parts, MeasureWhatWasWrittenJustBeforeTheEnd) {
  const Statistics seen = statistics();
  QuantizeModelOptions request = options("q4_0", "out.gguf");
  request.method = "gptq";
  request.calibration.statistics = &seen;
  const PartSummary first = make(request, {1, 1});
  std::vector<std::filesystem::path> errors;
  for (const auto& entry : std::filesystem::directory_iterator(first.directory))
    if (entry.path().filename().string().ends_with("-error")) errors.push_back(entry.path());
  ASSERT_FALSE(errors.empty());
  std::filesystem::remove(errors.front());
  EXPECT_EQ(make(request, {1, 1}).found, first.pieces);
  EXPECT_TRUE(std::filesystem::exists(errors.front()));
}

TEST_F(Parts, OfTwoKeysAtOnceOneIsRefused) {
  for (int turn = 0; turn < 5; ++turn) {
    const std::string output = "out" + std::to_string(turn) + ".gguf";
    std::string messages[2];
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i)
      threads.emplace_back([&, i] {
        messages[i] = error_of([&] {
          Machine machine{chosen_isa(), 1};
          quantize_part(SourceModel::open(model_), options(i == 0 ? "q4_0" : "q4_1", output),
                        {static_cast<std::uint64_t>(i) + 1, 2}, machine, {});
        });
      });
    for (std::thread& thread : threads) thread.join();
    const bool is_first_refused = messages[0].find("here: of another model, with other settings") != std::string::npos;
    const bool is_second_refused = messages[1].find("here: of another model, with other settings") != std::string::npos;
    EXPECT_NE(is_first_refused, is_second_refused) << messages[0] << "\n" << messages[1];
  }
}

TEST_F(Parts, ThatHaveNotEndedAreKeptFromARunOfAnotherKey) {
  const Statistics seen = statistics();
  QuantizeModelOptions request = options("q4_0", "out.gguf");
  const PartSummary first = make(request, {1, 2});
  std::filesystem::remove(first.directory / "part-1-of-2.json");  // as if it had been killed
  QuantizeModelOptions alone = options("q4_1", "out.gguf");
  alone.method = "gptq";
  alone.calibration.statistics = &seen;
  const std::string message = error_of([&] { quantize_model(SourceModel::open(model_), alone, machine_, {}); });
  EXPECT_NE(message.find("parts of another quantization lie here"), std::string::npos) << message;
  EXPECT_EQ(make(request, {1, 2}).found, first.pieces);
}

TEST_F(Parts, DoNotTakeWhatNeedsAllOfTheModel) {
  QuantizeModelOptions request = options("q4_0", "out.gguf");
  request.method = "gptq";
  request.calibration.texts = {{"text", "Some text."}};
  EXPECT_NE(error_of([&] { make(request, {1, 2}); }).find("a part does not know what text becomes"), std::string::npos);
  request = options("int4:g32", "out");
  request.transform = "hadamard:fold";
  EXPECT_NE(error_of([&] { make(request, {1, 2}); }).find("this is no work for parts"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.gguf.work"));
}

}  // namespace
}  // namespace nibble
