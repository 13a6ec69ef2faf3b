// SPDX-License-Identifier: Apache-2.0
//
// The installed headers, used as a stranger would, beside what the house does by itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "base/error_kind.h"
#include "evaluate/acceptance.h"
#include "nibble/calibrate.h"
#include "nibble/convert.h"
#include "nibble/formats.h"
#include "nibble/model.h"
#include "nibble/plan.h"
#include "nibble/quantize.h"
#include "pipeline/models.h"
#include "pipeline/quantize/calibrate_model.h"

namespace nibble {
namespace {

std::string some_text(int lines) {
  std::string text;
  for (int i = 0; i < lines; ++i)
    text += "A line of text, number " + std::to_string(i * 7919 % 1000) + (i % 3 == 0 ? ", and more" : "") + ".\n";
  return text;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Api : public testing::Test {
 protected:
  std::filesystem::path path(const std::string& name) const { return scratch_ / name; }

  ScratchDirectory scratch_;
  Machine machine_{best_isa(detect_cpu()), 2};
  Model model_ = open_model(small_synth(scratch_, machine_.pool));
};

TEST_F(Api, TellsWhatIsInAModel) {
  EXPECT_EQ(model_.info().architecture, "llama");
  const std::vector<TensorInfo> tensors = model_.list_tensors();
  EXPECT_EQ(tensors.size(), model_.info().tensors);
  const SourceModel source = SourceModel::open(model_.path());
  EXPECT_EQ(model_.read_tensor(tensors[1].name), source.tensor(tensors[1].name).values.decode());
  EXPECT_EQ(kind_of([&] { model_.read_tensor("no.such.weight"); }), ErrorKind::not_found);
  EXPECT_EQ(kind_of([] { open_model("no/such/model"); }), ErrorKind::not_found);
}

TEST_F(Api, EncodesAndDecodesText) {
  const std::string text = "A line of text.";
  const std::vector<std::int32_t> tokens = model_.encode(text, {.add_special = false});
  EXPECT_EQ(tokens, SourceModel::open(model_.path()).tokenizer().encode(text, {.add_special = false}));
  EXPECT_EQ(model_.decode(tokens), text);
  std::string pieces;
  for (const std::int32_t token : tokens) pieces += model_.piece(token);
  EXPECT_EQ(pieces, " " + text);  // running text: this tokenizer begins words with a space
  EXPECT_EQ(kind_of([&] { model_.piece(-1); }), ErrorKind::invalid_argument);
}

TEST_F(Api, QuantizesToTheBytesOfTheHouse) {
  QuantizeModelOptions options;
  choose_format(options, "q4_k_m");
  options.output = path("house.gguf");
  options.head = "q6_k";
  quantize_model(SourceModel::open(model_.path()), options, machine_, {});
  const Quantized made =
      quantize(model_, {.format = "q4_k_m", .output = path("api.gguf"), .head = "q6_k", .machine = {.threads = 1}});
  EXPECT_TRUE(made.written);
  EXPECT_EQ(made.summary.output_bytes, std::filesystem::file_size(path("api.gguf")));
  EXPECT_EQ(bytes_of(path("api.gguf")), bytes_of(path("house.gguf")));

  const Quantized by_recipe = quantize(
      model_,
      {.recipe = recipe_json("q4_k_m"), .output = path("recipe.gguf"), .head = "q6_k", .machine = {.threads = 2}});
  EXPECT_EQ(bytes_of(path("recipe.gguf")), bytes_of(path("house.gguf")));
  EXPECT_EQ(made.recipe, by_recipe.recipe);
}

TEST_F(Api, QuantizesByMethodsAsTheHouse) {
  const SamplingOptions sampling{.samples = 8, .length = 64, .seed = 3};
  QuantizeModelOptions options;
  choose_format(options, "q4_k");
  options.output = path("house.gguf");
  options.method = "gptq";
  options.fit = FitOptions{.rule = FitRule::search};
  options.calibration.texts = {{"text", some_text(200)}};
  options.calibration.sampling = sampling;
  quantize_model(SourceModel::open(model_.path()), options, machine_, {});

  std::size_t layers = 0;
  const Quantized made = quantize(model_, {.format = "q4_k",
                                           .output = path("api.gguf"),
                                           .method = "gptq",
                                           .fit = "search",
                                           .calibration = {.texts = {{"text", some_text(200)}}, .sampling = sampling},
                                           .on_layer = [&](const LayerReport&) { ++layers; }});
  EXPECT_EQ(bytes_of(path("api.gguf")), bytes_of(path("house.gguf")));
  EXPECT_EQ(layers, 2u);
}

TEST_F(Api, StatisticsServeAsTextsDoAndComeBackFromFiles) {
  const std::vector<NamedText> texts = {{"text", some_text(200)}};
  const Calibrated seen =
      calibrate(model_, texts, {.sampling = {.samples = 8, .length = 64}, .machine = {.threads = 2}});
  EXPECT_EQ(seen.statistics.samples(), 8u);
  EXPECT_EQ(seen.statistics.texts(), std::vector<std::string>{"text"});
  EXPECT_FALSE(seen.statistics.has_second_moments());
  EXPECT_EQ(seen.sites.size(), seen.statistics.sites().size());
  EXPECT_EQ(kind_of([&] { seen.statistics.mean_squares("layers.9.nothing"); }), ErrorKind::not_found);

  save_statistics(seen.statistics, model_, path("stats.safetensors"));
  const CalibrationStatistics again = load_statistics(path("stats.safetensors"), model_);
  EXPECT_EQ(again.sites(), seen.statistics.sites());
  EXPECT_EQ(again.mean_squares("layers.0.attention_in"), seen.statistics.mean_squares("layers.0.attention_in"));

  const auto with = [&](const CalibrationStatistics& statistics, const std::string& name) {
    quantize(model_,
             {.format = "q4_k", .output = path(name), .method = "imatrix", .calibration = {.statistics = statistics}});
    return bytes_of(path(name));
  };
  EXPECT_EQ(with(seen.statistics, "a.gguf"), with(again, "b.gguf"));
  EXPECT_EQ(kind_of([&] { CalibrationStatistics().samples(); }), ErrorKind::invalid_argument);
}

TEST_F(Api, ConvertsWithTheSameNumbers) {
  const ConvertSummary made = convert(model_, {.output = path("same.gguf"), .machine = {.threads = 2}});
  EXPECT_TRUE(made.is_exact());
  const Model same = open_model(path("same.gguf"));
  EXPECT_EQ(same.read_tensor("token_embd.weight"), model_.read_tensor("model.embed_tokens.weight"));
  EXPECT_EQ(made.output.output_bytes, same.info().bytes);

  EXPECT_EQ(kind_of([&] { convert(model_, {}); }), ErrorKind::invalid_argument);
  EXPECT_EQ(kind_of([&] {
              convert(model_, {.output = path("x.gguf"), .verify = {{"text", "Tom"}}});
            }),
            ErrorKind::invalid_argument);
  EXPECT_EQ(kind_of([&] {
              convert(model_, {.output = path("x.gguf"), .progress = [](const Progress&) { return false; }});
            }),
            ErrorKind::cancelled);
  EXPECT_FALSE(std::filesystem::exists(path("x.gguf")));
}

TEST_F(Api, PlansWithAModelsOwnBytes) {
  const MemoryPlan made = plan({.model = model_.path().string(), .memory = 1'000'000'000, .formats = {"q8_0", "q4_0"}});
  ASSERT_EQ(made.formats.size(), 2u);
  const Quantized small = quantize(model_, {.format = "q4_0", .output = path("small.gguf")});
  EXPECT_EQ(made.formats[1].bytes, small.summary.tensor_bytes);
  EXPECT_EQ(made.best, std::optional<std::size_t>(0));
  EXPECT_GT(plan({.model = "7B", .memory = 8'000'000'000}).formats.size(), 5u);  // the usual ones
  EXPECT_EQ(kind_of([&] { plan({.model = "7B"}); }), ErrorKind::invalid_argument);
}

TEST_F(Api, MeetsABudgetAndJudgesIt) {
  QuantizeRequest request{.budget = {.bits_per_weight = 6.0}, .output = path("budget.gguf")};
  request.calibration.texts = {{"text", some_text(600)}};
  request.calibration.sampling = {.samples = 8, .length = 64};
  const Quantized made = quantize(model_, request);
  EXPECT_TRUE(made.written);
  EXPECT_TRUE(made.verdict.has_value());
  EXPECT_FALSE(made.attempts.empty());
  EXPECT_LE(8.0 * static_cast<double>(made.summary.tensor_bytes) / static_cast<double>(made.summary.parameters), 6.0);
  // Its rules are a recipe of their own.
  const Quantized again = quantize(model_, {.recipe = made.recipe, .output = path("again.gguf")});
  EXPECT_EQ(again.summary.tensor_bytes, made.summary.tensor_bytes);
}

TEST_F(Api, ABadOutputIsNotWritten) {
  QuantizeRequest request{.format = "q2_k", .output = path("bad.gguf")};
  request.verify.texts = {{"text", some_text(600)}};
  request.verify.requirements = {{.metric = Metric::kl_mean, .value = 1e-9}};
  request.verify.split_windows = 0;
  const Quantized made = quantize(model_, request);
  EXPECT_FALSE(made.written);
  ASSERT_TRUE(made.acceptance.has_value());
  EXPECT_NE(made.acceptance->judgement, Judgement::accepted);
  EXPECT_FALSE(std::filesystem::exists(path("bad.gguf")));
}

TEST_F(Api, RequestsThatMakeNoSenseAreRefused) {
  const auto refused = [&](QuantizeRequest request) {
    request.output = path("x.gguf");
    const ErrorKind kind = kind_of([&] { quantize(model_, request); });
    EXPECT_FALSE(std::filesystem::exists(path("x.gguf")));
    return kind;
  };
  EXPECT_EQ(refused({.format = "q4_z"}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused({.format = ""}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused({.format = "q4_k", .recipe = recipe_json("q4_k")}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused({.recipe = "{"}), ErrorKind::corrupt);
  EXPECT_EQ(refused({.format = "q4_k", .container = "no such"}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused({.format = "q4_k", .method = "no such"}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused({.format = "q4_k", .fit = "no such"}), ErrorKind::invalid_argument);
  EXPECT_EQ(refused({.budget = {.bits_per_weight = 4.0}}), ErrorKind::invalid_argument);  // no texts
  EXPECT_EQ(refused({.format = "q4_k", .calibration = {.texts = {{"t", some_text(200)}}}}),
            ErrorKind::invalid_argument);  // rtn does not look at them
  EXPECT_EQ(refused({.format = "q4_k", .method = "gptq", .calibration = {.texts = {{"t", ""}}}}),
            ErrorKind::unusable_input);
  EXPECT_EQ(refused({.format = "q4_k", .verify = {.requirements = {{.value = 0.1}}}}), ErrorKind::invalid_argument);
  EXPECT_EQ(kind_of([&] { calibrate(model_, {{"t", "short"}}, {}); }), ErrorKind::unusable_input);
}

TEST_F(Api, EveryLongCallCanBeStopped) {
  const auto stop = [](const Progress&) { return false; };
  const std::vector<NamedText> texts = {{"text", some_text(600)}};
  EXPECT_EQ(kind_of([&] { quantize(model_, {.format = "q8_0", .output = path("x.gguf"), .progress = stop}); }),
            ErrorKind::cancelled);
  EXPECT_FALSE(std::filesystem::exists(path("x.gguf")));
  EXPECT_EQ(kind_of([&] { calibrate(model_, texts, {.sampling = {.length = 64}, .progress = stop}); }),
            ErrorKind::cancelled);
  EXPECT_EQ(kind_of([&] { evaluate(model_, texts, {.context = 64, .progress = stop}); }), ErrorKind::cancelled);
}

TEST_F(Api, AMatrixGoesThroughEveryFormatAsAModelsDoes) {
  const std::string name = "model.layers.0.self_attn.q_proj.weight";
  const std::vector<float> weights = model_.read_tensor(name);
  const std::uint64_t rows = 256, cols = 256;
  ASSERT_EQ(weights.size(), rows * cols);
  for (const FormatDescription& format : list_format_descriptions()) {
    if (format.group == FormatGroup::mix) continue;
    const EncodedMatrix encoded = encode_matrix(weights, rows, cols, {.format = format.name});
    EXPECT_EQ(encoded.format, format.name);
    const std::vector<float> stored = decode_matrix(encoded);
    ASSERT_EQ(stored.size(), weights.size()) << format.name;
    EXPECT_LT(round_trip_error(weights, stored).relative, 0.5) << format.name;
    // The bytes are those of a model's tensor in this format.
    const FormatPtr known = find_format(format.name);
    if (known->info().kind != FormatKind::block) continue;
    quantize(model_, {.format = format.name, .output = path("m.gguf")});
    const SourceModel written = SourceModel::open(path("m.gguf"));
    const StoredTensor& tensor = written.tensor("blk.0.ffn_gate.weight");
    const std::vector<float> gate = model_.read_tensor("model.layers.0.mlp.gate_proj.weight");
    const EncodedMatrix alone = encode_matrix(gate, 512, 256, {.format = format.name});
    EXPECT_TRUE(std::ranges::equal(alone.planes[0].bytes, tensor.values.planes()->planes[0])) << format.name;
  }
}

TEST_F(Api, MatricesThatMakeNoSenseAreRefused) {
  const std::vector<float> weights(64, 1.0f);
  const auto encode = [&](std::uint64_t rows, std::uint64_t cols, const EncodeMatrixRequest& request) {
    return kind_of([&] { encode_matrix(weights, rows, cols, request); });
  };
  EXPECT_EQ(encode(2, 32, {.format = "no such"}), ErrorKind::invalid_argument);
  EXPECT_EQ(encode(3, 32, {.format = "q8_0"}), ErrorKind::invalid_argument);
  EXPECT_EQ(encode(std::uint64_t{1} << 63, 2, {.format = "q8_0"}), ErrorKind::invalid_argument);
  EXPECT_EQ(encode(0, 0, {.format = "q8_0"}), ErrorKind::invalid_argument);
  EXPECT_EQ(encode(1, 64, {.format = "q4_k"}), ErrorKind::unsupported);
  EXPECT_EQ(encode(2, 32, {.format = "q8_0", .method = "gptq"}), ErrorKind::invalid_argument);
  EXPECT_EQ(encode(2, 32, {.format = "q8_0", .method = "imatrix"}), ErrorKind::invalid_argument);
  std::vector<float> broken(64, 1.0f);
  broken[40] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(kind_of([&] { encode_matrix(broken, 2, 32, {.format = "q8_0"}); }), ErrorKind::corrupt);
  EncodedMatrix cut = encode_matrix(weights, 2, 32, {.format = "q8_0"});
  cut.planes[0].bytes.pop_back();
  EXPECT_EQ(kind_of([&] { decode_matrix(cut); }), ErrorKind::corrupt);
  cut.planes.clear();
  EXPECT_EQ(kind_of([&] { decode_matrix(cut); }), ErrorKind::corrupt);
  EXPECT_EQ(kind_of([&] { decode_matrix({"f32", std::uint64_t{1} << 56, 0, {{"", "F32", {}, {}}}}); }),
            ErrorKind::invalid_argument);
  EXPECT_EQ(kind_of([&] { decode_matrix({"f32", 0, 8, {{"", "F32", {}, {}}}}); }), ErrorKind::invalid_argument);
  EXPECT_EQ(kind_of([&] { round_trip_error(weights, {}); }), ErrorKind::invalid_argument);
}

TEST(ApiLists, HoldWhatRequestsTakeUnderUniqueNames) {
  auto formats = list_format_descriptions();
  const auto named = [&](std::string_view name) {
    return std::ranges::find(formats, name, &FormatDescription::name) != formats.end();
  };
  EXPECT_TRUE(named("q4_k"));
  EXPECT_TRUE(named("q4_k_m"));
  EXPECT_TRUE(named("mix:q6_k"));
  EXPECT_TRUE(named("f16"));
  for (const FormatDescription& format : formats) EXPECT_NO_THROW(recipe_json(format.name)) << format.name;
  std::ranges::sort(formats, {}, &FormatDescription::name);
  EXPECT_EQ(std::ranges::adjacent_find(formats, {}, &FormatDescription::name), formats.end());

  const auto methods = list_method_descriptions();
  const auto gptq = std::ranges::find(methods, "gptq", &MethodDescription::name);
  ASSERT_NE(gptq, methods.end());
  EXPECT_EQ(gptq->need, StatisticsNeed::second_moments);
  EXPECT_FALSE(list_fit_descriptions().empty());
  EXPECT_FALSE(list_container_descriptions().empty());
}

}  // namespace
}  // namespace nibble
