// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints whose network no family draws: quantized matrix by matrix, refused where more is asked.
#include "pipeline/quantize/unknown_network.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "model/known_family.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

class UnknownNetworks : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};

  // tiny_gqa_llama3rope under the names of an encoder, with a buffer of integers.
  std::filesystem::path encoder() {
    EditableModel model = EditableModel::read(data_directory() / "tiny_gqa_llama3rope");
    EditableModel renamed;
    renamed.config = {{"model_type", "bert"}, {"architectures", {"BertModel"}}, {"hidden_size", 64}};
    const std::map<std::string, std::string> names = {
        {"model.embed_tokens.weight", "embeddings.word_embeddings.weight"},
        {"model.norm.weight", "embeddings.LayerNorm.weight"},
        {"model.layers.0.self_attn.q_proj.weight", "encoder.layer.0.attention.self.query.weight"},
        {"model.layers.1.mlp.down_proj.weight", "encoder.layer.1.output.dense.weight"},
        {"lm_head.weight", "classifier.weight"}};
    for (const auto& [from, to] : names) renamed.tensors[to] = model.tensors.at(from);
    renamed.tensors["embeddings.position_ids"] = {"I64", {1, 2}, std::string(16, '\0')};
    renamed.write(scratch_ / "encoder");
    return scratch_ / "encoder";
  }

  QuantizeModelOptions options(const std::string& format, const std::string& output) {
    QuantizeModelOptions result;
    choose_format(result, format);
    result.output = scratch_ / output;
    return result;
  }
  std::map<std::string, std::string> formats_of(const std::filesystem::path& path) {
    std::map<std::string, std::string> formats;
    const SourceModel written = SourceModel::open(path);
    for (const StoredTensor& tensor : written.tensors())
      formats[tensor.name] = tensor.values.format() ? tensor.values.format()->name() : "-";
    return formats;
  }
};

TEST_F(UnknownNetworks, AreToldFromFamilies) {
  EXPECT_FALSE(has_known_family(SourceModel::open(encoder())));
  for (const std::string& name : tiny_models())
    EXPECT_TRUE(has_known_family(SourceModel::open(data_directory() / name))) << name;
  EXPECT_TRUE(find_family_of_type("mistral", ""));
  EXPECT_TRUE(find_family_of_type("", "Qwen2ForCausalLM"));
  EXPECT_FALSE(find_family_of_type("", ""));
}

TEST_F(UnknownNetworks, NamesTellWhatMatricesAre) {
  const SourceModel source = SourceModel::open(encoder());
  const UnknownNetwork network = read_unknown_network(source);
  EXPECT_NE(network.reason.find("unknown model_type"), std::string::npos) << network.reason;
  EXPECT_EQ(network.left_out, (std::vector<std::string>{"embeddings.position_ids (I64, no weights)"}));
  EXPECT_EQ(network.facts.layers, 2u);
  std::map<std::string, TensorRole> roles;
  std::map<std::string, std::string> parts;
  for (const ModelTensor& tensor : network.tensors) {
    roles[tensor.hf_name] = tensor.role;
    parts[tensor.hf_name] = tensor.part;
  }
  EXPECT_EQ(roles.at("embeddings.word_embeddings.weight"), TensorRole::embedding);
  EXPECT_EQ(roles.at("embeddings.LayerNorm.weight"), TensorRole::norm);
  EXPECT_EQ(roles.at("encoder.layer.0.attention.self.query.weight"), TensorRole::linear);
  EXPECT_EQ(roles.at("classifier.weight"), TensorRole::head);
  EXPECT_EQ(parts.at("encoder.layer.0.attention.self.query.weight"), "attention.self.query");
}

TEST_F(UnknownNetworks, AreQuantizedMatrixByMatrix) {
  const SourceModel source = SourceModel::open(encoder());
  const QuantizeSummary summary = quantize_model(source, options("int4:g32", "small"), machine_, {});
  EXPECT_EQ(formats_of(scratch_ / "small"),
            (std::map<std::string, std::string>{{"embeddings.word_embeddings.weight", "f16"},
                                                {"embeddings.LayerNorm.weight", "f32"},
                                                {"encoder.layer.0.attention.self.query.weight", "int4:g32"},
                                                {"encoder.layer.1.output.dense.weight", "int4:g32"},
                                                {"classifier.weight", "f16"}}));
  ASSERT_GE(summary.notes.size(), 2u);
  EXPECT_TRUE(summary.notes[0].starts_with("the network is not understood, so matrices are quantized one by one"))
      << summary.notes[0];
  EXPECT_EQ(summary.notes.back(), "left out: embeddings.position_ids (I64, no weights)");
  // What a known network's matrix of the same numbers becomes.
  quantize_to(data_directory() / "tiny_gqa_llama3rope", "int4:g32", scratch_ / "known", machine_);
  const SourceModel known = SourceModel::open(scratch_ / "known"), small = SourceModel::open(scratch_ / "small");
  EXPECT_EQ(small.tensor("encoder.layer.1.output.dense.weight").values.decode(),
            known.tensor("model.layers.1.mlp.down_proj.weight").values.decode());
}

TEST_F(UnknownNetworks, InAGgufFileKeepTheirNamesAndKeys) {
  quantize_to(data_directory() / "tiny_tied", "f32", scratch_ / "a.gguf", machine_);
  // The same file of a family that nobody knows.
  std::string bytes = read_text(scratch_ / "a.gguf");
  for (std::size_t at = bytes.find("llama"); at != std::string::npos; at = bytes.find("llama", at))
    bytes.replace(at, 5, "lama9");
  std::ofstream(scratch_ / "b.gguf", std::ios::binary) << bytes;
  const QuantizeSummary summary =
      quantize_model(SourceModel::open(scratch_ / "b.gguf"), options("q8_0", "c.gguf"), machine_, {});
  EXPECT_NE(summary.notes.at(0).find("unknown general.architecture"), std::string::npos) << summary.notes[0];
  const SourceModel before = SourceModel::open(scratch_ / "b.gguf"), after = SourceModel::open(scratch_ / "c.gguf");
  EXPECT_EQ(after.gguf().string("general.architecture"), "lama9");
  EXPECT_EQ(after.gguf().unsigned_integer("lama9.block_count"), before.gguf().unsigned_integer("lama9.block_count"));
  EXPECT_EQ(after.tensors().size(), before.tensors().size());
  EXPECT_EQ(after.tensor("blk.0.ffn_down.weight").values.format()->name(), "q8_0");
  EXPECT_EQ(after.tensor("output_norm.weight").values.format()->name(), "f32");
}

// Stacks are rows one after another, for mixes, too; what differs from layer to layer tells nothing.
TEST_F(UnknownNetworks, ExpertsOfGgufFilesAreQuantizedInTheirStack) {
  GgufMetadata metadata;
  metadata.set("general.architecture", GgufValue::of_string("mixes"));
  metadata.set("mixes.block_count", GgufValue::of_u32(1));
  metadata.set("mixes.expert_count", GgufValue::of_u32(8));
  metadata.set("mixes.attention.head_count", GgufValue::of_strings({"no", "numbers"}));
  const FormatPtr f32 = find_format("f32");
  const std::vector<PlannedTensor> tensors = {{"blk.0.ffn_down_exps.weight", {8, 16, 256}, f32},
                                              {"blk.0.attn_k.weight", {16, 256}, f32},
                                              {"blk.0.ffn_gate_inp.weight", {8, 256}, f32},
                                              {"blk.0.stack.weight", {8, 16, 256}, f32}};
  const auto writer = make_gguf_writer(scratch_ / "experts.gguf", metadata, tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const MatrixSize size = matrix_size(tensors[i].shape);
    QuantizedTensor values(f32, size.rows, size.cols);
    for (std::uint64_t row = 0; row < size.rows; ++row)
      for (std::uint64_t c = 0; c < size.cols; ++c)
        reinterpret_cast<float*>(values.row(row)[0])[c] =
            static_cast<float>(std::sin(0.1 * static_cast<double>(row * size.cols + c)));
    writer->write_rows(i, values.view());
  }
  writer->finish();
  const SourceModel source = SourceModel::open(scratch_ / "experts.gguf");
  const QuantizeSummary summary = quantize_model(source, options("q4_k_m", "small.gguf"), machine_, {});
  const auto formats = formats_of(scratch_ / "small.gguf");
  EXPECT_EQ(formats.at("blk.0.attn_k.weight"), "q8_0");  // the mix's rule for eight experts
  EXPECT_TRUE(formats.at("blk.0.ffn_down_exps.weight").starts_with("q")) << formats.at("blk.0.ffn_down_exps.weight");
  EXPECT_EQ(formats.at("blk.0.ffn_gate_inp.weight"), "f32");
  EXPECT_EQ(formats.at("blk.0.stack.weight"), "f32");
  const SourceModel small = SourceModel::open(scratch_ / "small.gguf");
  const StoredTensor& stack = small.tensor("blk.0.ffn_down_exps.weight");
  EXPECT_EQ(stack.shape, (Shape{8, 16, 256}));
  const std::vector<float> before = source.tensor("blk.0.ffn_down_exps.weight").values.decode(),
                           after = stack.values.decode();
  EXPECT_LT(relative_difference(after, before), 0.1);
  EXPECT_TRUE(std::ranges::any_of(summary.notes, [](const std::string& note) {
    return note.starts_with("tensors of more than two dimensions") && note.find(": 1 of them") != std::string::npos;
  }));
}

TEST(QuantizePlan, ExpertsOfAStackShareNoGrid) {
  const auto refusal = [](const char* format, const Shape& shape) {
    const PlannedTensor tensor{"blk.0.ffn_up_exps.weight", shape, find_format(format)};
    return error_of([&] { require_whole_matrices(tensor); }).second;
  };
  EXPECT_EQ(refusal("int8:block128x128", {4, 192, 256}),
            "int8:block128x128 keeps 128 rows together, which would be those of two experts where each has 192; choose "
            "a format with a scale for every row, or exclude the tensor: 'blk.0.ffn_up_exps.weight'");
  EXPECT_NE(refusal("nf4:g64:dq", {4, 96, 256}), "");  // 64 rows of 4 groups
  const auto accepts = [](const char* format, const Shape& shape) {
    require_whole_matrices({"blk.0.ffn_up_exps.weight", shape, find_format(format)});
  };
  EXPECT_NO_THROW(accepts("int8:block128x128", {4, 256, 256}));
  EXPECT_NO_THROW(accepts("int8:block128x128", {192, 256}));
  EXPECT_NO_THROW(accepts("nf4:g64:dq", {4, 128, 256}));
  EXPECT_NO_THROW(accepts("q8_0", {4, 192, 256}));
}

TEST_F(UnknownNetworks, RefuseWhatNeedsADrawing) {
  const SourceModel source = SourceModel::open(encoder());
  const auto error = [&](QuantizeModelOptions asked) {
    return error_of([&] { quantize_model(source, asked, machine_, {}); }).second;
  };
  QuantizeModelOptions gptq = options("int4:g32", "x");
  gptq.method = "gptq";
  QuantizeModelOptions texts = options("int4:g32", "x");
  texts.calibration.texts.push_back({"a.txt", "some text"});
  EXPECT_TRUE(error(texts).starts_with("without knowing the network neither text nor statistics tell anything"));
  EXPECT_TRUE(
      error(gptq).starts_with("without knowing the network no text can be walked through it, which the method gptq "
                              "asks for: use rtn or mse; "));
  EXPECT_TRUE(
      error(options("q8_0", "x.gguf"))
          .starts_with("without knowing the network its tensors have no names in a GGUF file: write a directory; "));
  EXPECT_TRUE(
      error(options("int8:row+a8", "x")).starts_with("without knowing the network nothing says which inputs to round"));
  QuantizeModelOptions strict = options("int4:g32", "x");
  strict.strict = true;
  EXPECT_TRUE(error(strict).starts_with("left out: embeddings.position_ids"));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "x"));
}

TEST_F(UnknownNetworks, PatternsChooseMatricesOfAnyNetwork) {
  QuantizeModelOptions some = options("int4:g32", "some");
  some.exclude = {"*.output.*"};
  quantize_model(SourceModel::open(encoder()), some, machine_, {});
  EXPECT_EQ(formats_of(scratch_ / "some").at("encoder.layer.1.output.dense.weight"), "f32");
  EXPECT_EQ(formats_of(scratch_ / "some").at("encoder.layer.0.attention.self.query.weight"), "int4:g32");
  QuantizeModelOptions known = options("q8_0", "known.gguf");
  known.include = {"*ffn_down*", "*.self_attn.q_proj.*"};  // in either spelling
  quantize_model(SourceModel::open(data_directory() / "tiny_qwen3"), known, machine_, {});
  std::size_t quantized = 0;
  for (const auto& [name, format] : formats_of(scratch_ / "known.gguf")) quantized += format != "f32" ? 1 : 0;
  EXPECT_EQ(quantized, 4u);
  known.include = {"*ffn_dwn*"};
  EXPECT_EQ(
      error_of([&] { quantize_model(SourceModel::open(data_directory() / "tiny_qwen3"), known, machine_, {}); }).second,
      "no matrix of the model has a name like this ('*' is any text, and letters count as they are): '*ffn_dwn*'");
  known.include = {"*attn_norm*"};
  EXPECT_TRUE(error_of([&] {
                quantize_model(SourceModel::open(data_directory() / "tiny_qwen3"), known, machine_, {});
              }).second.starts_with("these tensors stay as they are"));
}

// Numbers by themselves, stacks, names under a prefix that a causal model would not have, and words of another program.
TEST_F(UnknownNetworks, KeepWhatTheyDoNotUnderstand) {
  EditableModel model;
  model.config = {{"model_type", "clap"}, {"quantization_config", {{"quant_method", "gptq"}}}};
  const std::string numbers(64 * 64 * 4, '\x3c');
  model.tensors["model.decoder.embed_tokens.weight"] = {"F32", {64, 64}, numbers};
  model.tensors["model.decoder.layers.0.fc1.weight"] = {"F32", {64, 64}, numbers};
  model.tensors["model.encoder.layers.0.fc1.weight"] = {"F32", {64, 64}, numbers};
  model.tensors["model.decoder.layers.0.router.weight"] = {"F32", {64, 64}, numbers};
  model.tensors["experts.down_proj"] = {"F32", {4, 16, 64}, numbers};
  model.tensors["logit_scale"] = {"F32", {}, numbers.substr(0, 4)};
  model.tensors["nothing"] = {"F32", {0, 8}, ""};
  model.write(scratch_ / "clap");
  const SourceModel source = SourceModel::open(scratch_ / "clap");
  const QuantizeSummary summary = quantize_model(source, options("int4:g32", "small"), machine_, {});
  const std::string written = read_text(scratch_ / "small" / "model.safetensors");
  for (const auto& [name, tensor] : model.tensors) {
    if (name == "nothing") continue;
    const bool is_kept = written.find("\"" + name + "\"") != std::string::npos;
    const bool is_coded = written.find("\"" + name.substr(0, name.rfind('.')) + ".codes\"") != std::string::npos;
    EXPECT_TRUE(is_kept || is_coded) << name;
    EXPECT_EQ(is_coded, name.ends_with("fc1.weight")) << name;
  }
  EXPECT_EQ(summary.parameters, 5u * 64 * 64 + 1);
  const auto has_note = [&](std::string_view start) {
    return std::ranges::any_of(summary.notes, [&](const std::string& note) { return note.starts_with(start); });
  };
  EXPECT_TRUE(
      has_note("tensors of more than two dimensions (experts in a stack, convolutions) stay as they are: 1 of them, "
               "20.0 % of the parameters"));
  EXPECT_TRUE(has_note("left out: nothing (no elements)"));
  EXPECT_TRUE(
      has_note("quantization_config in config.json speaks of a quantization, but the tensors are plain; its words are "
               "left out: gptq"));
  QuantizeModelOptions none = options("int4:g32", "none");
  none.exclude = {"*"};
  EXPECT_EQ(quantize_model(source, none, machine_, {}).notes.back(),
            "no matrix is quantized: each is excluded, or stays as it is; int4:g32");
}

// Codes without the configuration that says what they are.
TEST_F(UnknownNetworks, CodesThatNobodyExplainsAreRefused) {
  quantize_model(SourceModel::open(encoder()), options("int4:g32", "small"), machine_, {});
  const SourceModel bare = SourceModel::open(scratch_ / "small" / "model.safetensors");
  const auto [kind, text] = error_of([&] { quantize_model(bare, options("q8_0", "again"), machine_, {}); });
  EXPECT_EQ(kind, ErrorKind::unsupported) << text;
  EXPECT_NE(text.find("give the directory"), std::string::npos) << text;
}

// Without an output the container is the source's own.
TEST_F(UnknownNetworks, ADryRunNeedsNoOutput) {
  QuantizeModelOptions dry = options("q4_0", "");
  dry.output.clear();
  dry.dry_run = true;
  EXPECT_NO_THROW(quantize_model(SourceModel::open(encoder()), dry, machine_, {}));
}

TEST_F(UnknownNetworks, AreNotTransformed) {
  const SourceModel source = SourceModel::open(encoder());
  for (const std::string transform : {"hadamard", "hadamard:fold", "hadamard:both"}) {
    QuantizeModelOptions asked = options("int8:row", "out");
    asked.transform = transform;
    const std::string refusal = error_of([&] { quantize_model(source, asked, machine_, {}); }).second;
    EXPECT_NE(refusal.find("which the transform " + transform + " changes: leave it out; "), std::string::npos)
        << refusal;
  }
  QuantizeModelOptions asked = options("int8:row", "out");
  asked.transform = "none";
  EXPECT_NO_THROW(quantize_model(source, asked, machine_, {}));
}

}  // namespace
}  // namespace nibble
