// SPDX-License-Identifier: Apache-2.0
#include "evaluate/layer_errors.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "base/half.h"
#include "evaluate/side_by_side.h"
#include "evaluate/verdict.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

const std::string kModel = "tiny_gqa_llama3rope";

// Values times `factor`, in f32.
void scale(EditableModel::Stored& tensor, float factor) {
  const bool half = tensor.dtype == "F16";
  const std::size_t count = tensor.bytes.size() / (half ? 2 : 4);
  std::string bytes(count * sizeof(float), '\0');
  for (std::size_t i = 0; i < count; ++i) {
    float value;
    if (half) {
      std::uint16_t bits;
      std::memcpy(&bits, tensor.bytes.data() + 2 * i, sizeof bits);
      value = f16_to_f32(bits);
    } else {
      std::memcpy(&value, tensor.bytes.data() + 4 * i, sizeof value);
    }
    value *= factor;
    std::memcpy(bytes.data() + 4 * i, &value, sizeof value);
  }
  tensor.dtype = "F32";
  tensor.bytes = std::move(bytes);
}

class LayerErrorsOf : public testing::Test {
 protected:
  LayerErrorsOf() : machine(chosen_isa(), 2) {}

  Decoder open(const std::string& model) {
    return Decoder(SourceModel::open(data_directory() / model), exact_options(), machine);
  }

  Decoder scaled(const std::string& model, const std::map<std::string, float>& factors) {
    EditableModel edited = EditableModel::read(data_directory() / model);
    for (const auto& [name, factor] : factors) scale(edited.tensors.at(name), factor);
    edited.write(scratch.path());
    return Decoder(SourceModel::open(scratch.path()), exact_options(), machine);
  }

  std::vector<CandidateVerdict> compare(const std::string& model, std::vector<Decoder*> candidates,
                                        std::vector<ReadText> texts) {
    Decoder original = open(model);
    SideBySide pass(std::move(texts), candidates.size());
    pass.run(original, candidates, 0, {.layers = true}, machine.pool);
    return judge(pass, std::vector<std::string>(candidates.size(), "candidate"), machine.pool).candidates;
  }

  LayerErrors errors(const std::string& model, Decoder& candidate) {
    const Windows windows = cut_windows(ReferenceLogits::read(model).ids, 7, 128, {.context = 20});
    return *compare(model, {&candidate}, {{"text", windows}})[0].layers;
  }

  Machine machine;
  ScratchDirectory scratch;
};

// Figures of tools/reference_layers.py.
TEST_F(LayerErrorsOf, AgreeWithTransformers) {
  for (const std::string model : {"tiny_gqa_llama3rope", "tiny_tied"}) {
    const auto reference = nlohmann::json::parse(read_text(data_directory() / "layers" / (model + ".json")));
    Decoder candidate = scaled(model, reference["factors"].get<std::map<std::string, float>>());
    const LayerErrors found = errors(model, candidate);
    // Of f32 against f64, and of the f32 positions that transformers uses.
    constexpr double kTolerance = 2e-5;
    EXPECT_NEAR(found.embedding, reference["embedding"].get<double>(), kTolerance);
    ASSERT_EQ(found.layers.size(), reference["layers"].size());
    for (std::size_t i = 0; i < found.layers.size(); ++i) {
      EXPECT_NEAR(found.layers[i].residual, reference["layers"][i]["residual"].get<double>(), kTolerance) << model << i;
      EXPECT_NEAR(found.layers[i].output, reference["layers"][i]["output"].get<double>(), kTolerance) << model << i;
      EXPECT_NEAR(found.layers[i].local, reference["layers"][i]["local"].get<double>(), kTolerance) << model << i;
    }
  }
}

TEST_F(LayerErrorsOf, AModelAndItselfAreZero) {
  Decoder twin = open(kModel);
  const LayerErrors found = errors(kModel, twin);
  EXPECT_EQ(found.embedding, 0);
  ASSERT_EQ(found.layers.size(), 2u);
  for (const LayerError& layer : found.layers) {
    EXPECT_EQ(layer.residual, 0);
    EXPECT_EQ(layer.output, 0);
    EXPECT_EQ(layer.local, 0);
  }
}

TEST_F(LayerErrorsOf, ADamagedLayerShowsFromThereOn) {
  Decoder first = scaled(kModel, {{"model.layers.0.self_attn.v_proj.weight", 1.25f}});
  const LayerErrors early = errors(kModel, first);
  EXPECT_EQ(early.embedding, 0);
  for (const LayerError& layer : early.layers) {
    EXPECT_GT(layer.residual, 0.01);
    EXPECT_GT(layer.output, 0.01);
  }
  EXPECT_GT(early.layers[0].local, 0.01);
  EXPECT_EQ(early.layers[0].local, early.layers[0].output);  // both read the same
  EXPECT_EQ(early.layers[1].local, 0);                       // it only suffers

  Decoder last = scaled(kModel, {{"model.layers.1.mlp.gate_proj.weight", 1.25f}});
  const LayerErrors late = errors(kModel, last);
  EXPECT_EQ(late.embedding, 0);
  EXPECT_EQ(late.layers[0].residual, 0);
  EXPECT_EQ(late.layers[0].output, 0);
  EXPECT_EQ(late.layers[0].local, 0);
  EXPECT_GT(late.layers[1].residual, 0.01);
  EXPECT_EQ(late.layers[1].local, late.layers[1].output);
}

TEST_F(LayerErrorsOf, SeveralCandidatesAndTextsGoTogether) {
  Decoder a = scaled(kModel, {{"model.layers.0.mlp.up_proj.weight", 1.25f}}),
          b = scaled(kModel, {{"model.layers.1.mlp.up_proj.weight", 1.25f}});
  const std::vector<std::int32_t> ids = ReferenceLogits::read(kModel).ids;
  const Windows whole = cut_windows(ids, 7, 128, {.context = 20}),
                first = cut_windows(ids, 7, 128, {.context = 20, .max_windows = 2}),
                rest = cut_windows(std::span(ids).subspan(40), 7, 128, {.context = 20});
  const auto together = compare(kModel, {&a, &b}, {{"first", first}, {"rest", rest}});
  for (const auto& [candidate, decoder] : {std::pair(0, &a), std::pair(1, &b)}) {
    const LayerErrors alone = *compare(kModel, {decoder}, {{"whole", whole}})[0].layers;
    const LayerErrors& found = *together[static_cast<std::size_t>(candidate)].layers;
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(found.layers[i].residual, alone.layers[i].residual);
      EXPECT_EQ(found.layers[i].local, alone.layers[i].local);
    }
  }
}

// Figures of the distributions do not depend on whether layers are compared.
TEST_F(LayerErrorsOf, LookingChangesNothing) {
  Decoder original = open(kModel), candidate = scaled(kModel, {{"model.layers.0.mlp.up_proj.weight", 1.25f}});
  Decoder* const candidates[] = {&candidate};
  const Windows windows =
      cut_windows(ReferenceLogits::read(kModel).ids, 7, 128, {.protocol = Protocol::paper, .context = 25});
  SideBySide plain({{"text", windows}}, 1), watched({{"text", windows}}, 1);
  plain.run(original, candidates, 0, {}, machine.pool);
  watched.run(original, candidates, 0, {.layers = true}, machine.pool);
  EXPECT_EQ(plain.candidates()[0].kl, watched.candidates()[0].kl);
  EXPECT_EQ(watched.candidates()[0].layers.size(), windows.count);
  EXPECT_FALSE(judge(plain, {"candidate"}, machine.pool).candidates[0].layers.has_value());
}

// However few tokens are held at a time and whatever the number of threads, the same bits.
TEST_F(LayerErrorsOf, PiecesDoNotMatter) {
  Decoder original = open(kModel), candidate = scaled(kModel, {{"model.layers.0.mlp.up_proj.weight", 1.25f}});
  const std::vector<std::int32_t> ids = ReferenceLogits::read(kModel).ids;
  std::vector<LayerSums> found;
  for (const auto& [piece, threads] : {std::pair<std::size_t, std::size_t>(100, 1), {7, 3}, {1, 2}}) {
    ThreadPool own(threads);
    LayerWatch watch(original.config(), piece, own);
    KvCache a = original.new_cache(100), b = candidate.new_cache(100), c = candidate.new_cache(100);
    LayerSums sums(2);
    for (std::size_t begin = 0; begin < ids.size(); begin += piece) {
      const auto tokens = std::span(ids).subspan(begin, std::min(piece, ids.size() - begin));
      original.forward_from(a, tokens, tokens.size(), {}, watch.record());
      candidate.forward_from(b, tokens, tokens.size(), {}, watch.compare(sums));
      candidate.forward_from(c, tokens, tokens.size(), {}, watch.hold(sums));
    }
    found.push_back(sums);
  }
  EXPECT_GT(found[0].local[1], 0);
  for (std::size_t i = 1; i < found.size(); ++i) {
    EXPECT_EQ(found[i].stream, found[0].stream);
    EXPECT_EQ(found[i].added, found[0].added);
    EXPECT_EQ(found[i].residual, found[0].residual);
    EXPECT_EQ(found[i].output, found[0].output);
    EXPECT_EQ(found[i].local, found[0].local);
  }
}

TEST_F(LayerErrorsOf, ModelsOfDifferentShape) {
  EditableModel shorter = EditableModel::read(data_directory() / kModel);
  shorter.config["num_hidden_layers"] = 1;
  std::erase_if(shorter.tensors, [](const auto& item) { return item.first.starts_with("model.layers.1."); });
  shorter.write(scratch.path());
  Decoder candidate(SourceModel::open(scratch.path()), exact_options(), machine);
  EXPECT_EQ(error_of([&] { errors(kModel, candidate); }).second,
            "models of different shape have no layers that could be compared; leave out the layers: original 2 of "
            "width 64, candidate 1 of width 64");
}

TEST(LayerErrors, OfNothingAndOfSomethingAgainstNothing) {
  LayerSums sums(1);
  sums.residual[1] = 4;
  sums.stream[1] = 16;
  sums.output[1] = 1;
  const LayerErrors found = layer_errors(std::span(&sums, 1));
  EXPECT_EQ(found.embedding, 0);
  EXPECT_EQ(found.layers[0].residual, 0.5);
  EXPECT_EQ(found.layers[0].output, std::numeric_limits<double>::infinity());
  EXPECT_EQ(found.layers[0].local, 0);
}

TEST(LayerWatch, HoldsABoundedNumberOfTokens) {
  ModelConfig config;
  config.layers = 32;
  config.hidden = 4096;
  EXPECT_EQ(LayerWatch::tokens_at_once(config, 4096), 496u);
  EXPECT_EQ(LayerWatch::tokens_at_once(config, 128), 128u);
  config.hidden = 1u << 30;
  EXPECT_EQ(LayerWatch::tokens_at_once(config, 128), 1u);
}

}  // namespace
}  // namespace nibble
