// SPDX-License-Identifier: Apache-2.0
//
// A quantization by ranks that are threads: the bytes of one process, whatever their number.
#include <gtest/gtest.h>

#include <fstream>
#include <mutex>

#include "distribute/thread_transport.h"
#include "kernels/chosen_isa.h"
#include "pipeline/models.h"
#include "pipeline/quantize/shared_work.h"

namespace nibble {
namespace {

std::string numbered_text(std::uint64_t seed) {
  Random random(seed);
  std::string text;
  for (int i = 0; i < 900; ++i) text += "Line " + std::to_string(random.below(977)) + " of a text in no order.\n";
  return text;
}

std::string file_at(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Ranks : public testing::Test {
 protected:
  std::filesystem::path sparse() {
    SynthShape shape = small_shape("qwen3moe", 2, 64);
    shape.num_experts = 8;
    shape.experts_used = 2;
    shape.expert_intermediate = 64;
    return spread_synth(shape, scratch_, machine_.pool);
  }
  QuantizeModelOptions options(const std::string& format, const std::string& method, const std::string& output) const {
    QuantizeModelOptions result;
    choose_format(result, format);
    result.method = method;
    result.output = scratch_ / output;
    if (method != "rtn") result.calibration.texts = {{"text", numbered_text(1)}};
    result.calibration.sampling = {.samples = 20, .length = 32, .seed = 0};
    return result;
  }
  static void quantize(const std::filesystem::path& model, const QuantizeModelOptions& request, std::size_t count,
                       const std::function<void(Transport&, QuantizeModelOptions&)>& change = {},
                       const ProgressCallback& progress_of_first = {}) {
    run_ranks(count, {}, [&](Transport& ranks) {
      Machine machine(chosen_isa(), 1);
      QuantizeModelOptions own = request;
      if (change) change(ranks, own);
      const SourceModel source = SourceModel::open(model);
      quantize_in_ranks(source, own, ranks, machine, ranks.is_root() ? progress_of_first : ProgressCallback{});
    });
  }
  void expect_same(const std::filesystem::path& model, const std::string& format, const std::string& method,
                   const std::vector<std::size_t>& counts,
                   const std::function<void(QuantizeModelOptions&)>& change = {}) {
    SCOPED_TRACE(format + " " + method);
    const bool is_file = !format.starts_with("int");
    QuantizeModelOptions request = options(format, method, is_file ? "one.gguf" : "one");
    if (change) change(request);
    const QuantizeSummary whole = quantize_model(SourceModel::open(model), request, machine_, {});
    const std::filesystem::path one = is_file ? request.output : request.output / "model.safetensors";
    request.output = scratch_ / (is_file ? "many.gguf" : "many");
    for (const std::size_t count : counts) {
      quantize(model, request, count);
      const std::filesystem::path many = is_file ? request.output : request.output / "model.safetensors";
      EXPECT_EQ(file_at(many), file_at(one)) << count << " ranks";
      EXPECT_FALSE(file_at(one).empty());
      EXPECT_FALSE(std::filesystem::exists(unfinished_work(request.output)));
    }
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};

TEST_F(Ranks, GiveTheBytesOfOneProcessForADenseModel) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool, 128);
  expect_same(model, "q4_k_m", "rtn", {2, 3});
  expect_same(model, "int4:g32", "rtn", {2});
  expect_same(model, "q4_0", "imatrix", {2, 4});
  expect_same(model, "q4_0", "gptq", {2, 3});
  expect_same(model, "int4:g32:asym", "awq", {3});
  expect_same(model, "q4_0", "gptq", {2}, [](QuantizeModelOptions& o) { o.calibration.walk = WalkArithmetic::int8; });
}

TEST_F(Ranks, GiveTheBytesOfOneProcessForAMixture) {
  const std::filesystem::path model = sparse();
  expect_same(model, "q4_0", "rtn", {2});
  expect_same(model, "q4_0", "imatrix", {2});
  expect_same(model, "q4_0", "gptq", {2, 3});
  expect_same(model, "q4_0", "gptq", {2}, [](QuantizeModelOptions& o) { o.calibration.walk = WalkArithmetic::int8; });
}

TEST_F(Ranks, MayBeMoreThanThereAreWindows) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool, 128);
  expect_same(model, "q4_0", "gptq", {3}, [](QuantizeModelOptions& o) { o.calibration.sampling.samples = 2; });
}

TEST_F(Ranks, GoOnInAnotherNumberWhereOthersStopped) {
  const std::filesystem::path model = sparse();
  QuantizeModelOptions request = options("q4_0", "gptq", "one.gguf");
  quantize_model(SourceModel::open(model), request, machine_, {});
  request.output = scratch_ / "many.gguf";
  const auto stop = [](const Progress& p) { return p.stage != "quantize" || p.done < p.total / 2; };
  EXPECT_NE(error_of([&] { quantize(model, request, 2, {}, stop); }).find("the same command goes on"),
            std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "many.gguf.work/key"));
  quantize(model, request, 3);
  EXPECT_EQ(file_at(request.output), file_at(scratch_ / "one.gguf"));
}

TEST_F(Ranks, OfAnotherMindAreNamedBeforeAnyWork) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool, 128);
  const QuantizeModelOptions request = options("q4_0", "gptq", "out.gguf");
  const auto message_of = [&](const std::function<void(QuantizeModelOptions&)>& change) {
    return error_of([&] {
      quantize(model, request, 3, [&](Transport& ranks, QuantizeModelOptions& own) {
        if (ranks.rank() == 2) change(own);
      });
    });
  };
  EXPECT_EQ(message_of([](QuantizeModelOptions& o) { o.calibration.texts[0].text += "."; }),
            "rank 2 has another calibration text, other statistics or another way to take windows of them; all ranks "
            "are given the same");
  EXPECT_EQ(message_of([](QuantizeModelOptions& o) { o.embedding = "q8_0"; }),
            "rank 2 has another option: embedding; all ranks are given the same");
  EXPECT_EQ(error_of([&] {
              run_ranks(2, {}, [&](Transport& ranks) {
                Machine machine(chosen_isa(), 1);
                std::filesystem::path own = model;
                if (ranks.rank() == 1) {
                  own = edited_copy(model, "model.norm.weight", scratch_ / "edited",
                                    [](std::span<float> values) { values[0] += 1; });
                  for (const char* const side : {"tokenizer.json", "tokenizer_config.json"})
                    std::filesystem::copy_file(model / side, own / side);
                }
                quantize_in_ranks(SourceModel::open(own), request, ranks, machine, {});
              });
            }),
            "rank 1 has another model (its tensors hash to something else); all ranks are given the same");
  EXPECT_FALSE(std::filesystem::exists(request.output));
  EXPECT_FALSE(std::filesystem::exists(unfinished_work(request.output)));
}

TEST_F(Ranks, AllEndWhereOneFindsADefect) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool, 128);
  const std::filesystem::path broken =
      edited_copy(model, "model.layers.1.mlp.down_proj.weight", scratch_ / "broken",
                  [](std::span<float> values) { values.back() = std::numeric_limits<float>::quiet_NaN(); });
  for (const char* const side : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(model / side, broken / side);
  const std::string message = error_of([&] { quantize(broken, options("q4_0", "rtn", "out.gguf"), 3); });
  EXPECT_NE(message.find("holds NaN"), std::string::npos) << message;
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.gguf"));
}

TEST_F(Ranks, AreToldWhatTheyDoNotShareYet) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool, 128);
  QuantizeModelOptions request = options("q4_0", "gptq", "out.gguf");
  request.calibration.hessian.groups = 1;
  EXPECT_NE(error_of([&] { quantize(model, request, 2); }).find("by one process only"), std::string::npos);
  request = options("q4_0", "signround", "out.gguf");
  EXPECT_NE(error_of([&] { quantize(model, request, 2); }).find("by one process only"), std::string::npos);
}

}  // namespace
}  // namespace nibble
