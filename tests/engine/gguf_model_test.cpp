// SPDX-License-Identifier: Apache-2.0
//
// The same model in both containers: keys, names, rotary rows and divisors must make up for each other.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "format/format.h"
#include "io/checkpoint_writer.h"
#include "kernels/chosen_isa.h"
#include "model/arch/architecture.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

// Writes a Hugging Face checkpoint as GGUF in the tensors' own types, with rows where GGUF wants them.
void write_gguf(const SourceModel& checkpoint, const std::filesystem::path& path, const GgufMetadata& metadata) {
  const ModelConfig config = checkpoint.config();
  const ModelTensors tensors(config);
  const FormatPtr f32 = find_format("f32");
  std::vector<PlannedTensor> plan;
  std::vector<std::size_t> place;  // of each tensor, or of the stack of experts that it lies in
  for (const ModelTensor& t : tensors.all()) {
    if (t.expert == 0) plan.push_back({t.gguf_name, t.shape, f32});
    if (t.expert == 0 && t.experts != 0) plan.back().shape.insert(plan.back().shape.begin(), t.experts);
    place.push_back(plan.size() - 1);
  }
  const std::size_t num_weights = plan.size();
  const std::vector<RopeTensor> ropes = gguf_rope_tensors(config.rope);
  for (const RopeTensor& rope : ropes) plan.push_back({std::string(rope.name), {rope.values.size()}, f32});

  const auto writer = make_gguf_writer(path, metadata, plan);
  for (std::size_t i = 0; i < tensors.all().size(); ++i) {
    const ModelTensor& t = tensors.all()[i];
    const std::vector<float> values = checkpoint.stored(t).values.decode();
    const std::uint64_t rows = t.shape.front(), cols = values.size() / rows;  // of a vector each element
    const auto row_order = t.rows_from(Spelling::huggingface, Spelling::gguf),
               column_order = t.columns_from(Spelling::huggingface, Spelling::gguf);
    QuantizedTensor moved(f32, t.shape.size() == 1 ? 1 : rows, t.shape.size() == 1 ? rows : cols);
    float* const to = reinterpret_cast<float*>(moved.row(0)[0]);
    for (std::uint64_t row = 0; row < rows; ++row)
      for (std::uint64_t col = 0; col < cols; ++col) {
        const std::uint64_t from_row = row_order.empty() ? row : row_order[row],
                            from_col = column_order.empty() ? col : column_order[col];
        to[row * cols + col] = t.numbers(Spelling::huggingface).read(values[from_row * cols + from_col]);
      }
    writer->write_rows(place[i], moved.view());
  }
  for (std::size_t i = 0; i < ropes.size(); ++i) {
    QuantizedTensor row(f32, 1, ropes[i].values.size());
    std::memcpy(row.row(0)[0], ropes[i].values.data(), ropes[i].values.size() * sizeof(float));
    writer->write_rows(num_weights + i, row.view());
  }
  writer->finish();
}

class GgufModel : public testing::TestWithParam<std::string> {
 protected:
  GgufModel() : directory(SourceModel::open(data_directory() / GetParam())), path(scratch / "model.gguf") {
    metadata = to_gguf_metadata(directory.config(), {});
  }
  ScratchDirectory scratch;
  SourceModel directory;
  std::filesystem::path path;
  GgufMetadata metadata;
};
INSTANTIATE_TEST_SUITE_P(All, GgufModel, testing::ValuesIn(tiny_models()), [](const auto& p) { return p.param; });

TEST_P(GgufModel, GivesTheLogitsOfTheDirectory) {
  write_gguf(directory, path, metadata);
  const SourceModel file = SourceModel::open(path);
  Machine machine(chosen_isa(), 2);
  Decoder from_directory(directory, exact_options(), machine), from_file(file, exact_options(), machine);
  EXPECT_EQ(from_file.config().rope.half_split,
            directory.config().rope.half_split && !directory.parts().architecture().gguf_interleaved_rotary);
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  const std::vector<float> expected = all_logits(from_directory, reference.ids),
                           actual = all_logits(from_file, reference.ids);
  // Dot products over a head run in another order; everything else is the same.
  EXPECT_LT(relative_difference(actual, expected), 2e-5);
  const std::size_t vocab = from_file.config().vocab_size;
  for (const auto& [position, logits] : reference.at)
    EXPECT_LT(relative_difference(std::span(actual).subspan(position * vocab, vocab), logits), 1e-4) << position;
}

TEST_P(GgufModel, ConfigurationSurvivesTheWayBack) {
  write_gguf(directory, path, metadata);
  const ModelConfig a = directory.config(), b = read_model_config(SourceModel::open(path));
  EXPECT_EQ(b.architecture, a.architecture);
  EXPECT_EQ(b.vocab_size, a.vocab_size);
  EXPECT_EQ(b.head_dim, a.head_dim);
  EXPECT_EQ(b.kv_heads, a.kv_heads);
  EXPECT_EQ(b.context, a.context);
  EXPECT_EQ(b.tied_embedding, a.tied_embedding);
  EXPECT_EQ(b.norm_epsilon, a.norm_epsilon);
  EXPECT_EQ(to_huggingface_config(b, {}), to_huggingface_config(a, {}));
}

// llama.cpp's converter makes one stack of experts' gate and up: an expert's up below its gate.
TEST(JoinedExperts, OfAGgufFileAreThoseOfTwoStacks) {
  for (const char* const name : {"tiny_gemma4_moe", "tiny_qwen3moe", "tiny_qwen35moe"}) {
    ScratchDirectory scratch;
    const SourceModel directory = SourceModel::open(data_directory() / name);
    write_gguf(directory, scratch / "two.gguf", to_gguf_metadata(directory.config(), {}));
    const SourceModel two = SourceModel::open(scratch / "two.gguf");
    std::vector<PlannedTensor> plan;
    for (const StoredTensor& tensor : two.tensors()) {
      if (tensor.name.ends_with("ffn_up_exps.weight")) continue;
      plan.push_back({tensor.name, tensor.shape, tensor.values.format()});
      if (!tensor.name.ends_with("ffn_gate_exps.weight")) continue;
      plan.back().name.replace(tensor.name.find("gate_exps"), 9, "gate_up_exps");
      plan.back().shape[1] *= 2;
    }
    const auto writer = make_gguf_writer(scratch / "one.gguf", two.gguf(), plan);
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const std::size_t at = plan[i].name.find("gate_up_exps");
      if (at == std::string::npos) {
        writer->write_rows(i, *two.tensor(plan[i].name).values.planes());
        continue;
      }
      const auto stack = [&](const char* kind) {
        return two.tensor(std::string(plan[i].name).replace(at, 12, kind)).values;
      };
      const std::uint64_t experts = plan[i].shape[0], rows = plan[i].shape[1] / 2;
      for (std::uint64_t e = 0; e < experts; ++e)
        for (const char* const kind : {"gate_exps", "up_exps"})
          writer->write_rows(i, *stack(kind).slice(e * rows, rows).planes());
    }
    writer->finish();
    Machine machine(chosen_isa(), 2);
    const std::vector<std::int32_t> ids = ReferenceLogits::read(name).ids;
    Decoder of_two(two, exact_options(), machine),
        of_one(SourceModel::open(scratch / "one.gguf"), exact_options(), machine);
    EXPECT_EQ(all_logits(of_one, ids), all_logits(of_two, ids)) << name;
  }
}

// What makes keys and values of a latent vector, as llama.cpp's converter writes it: its halves, that of keys turned
// around.
TEST(LatentHalves, OfAGgufFileAreOneMatrix) {
  for (const char* const name : {"tiny_deepseek2", "tiny_deepseek2_lite", "tiny_glm4_moe_lite"})
    for (const char* const type : {"f32", "f16", "q8_0"}) {
      ScratchDirectory scratch;
      const SourceModel directory = SourceModel::open(data_directory() / name);
      const ModelConfig config = directory.config();
      write_gguf(directory, scratch / "one.gguf", to_gguf_metadata(config, {}));
      const SourceModel one = SourceModel::open(scratch / "one.gguf");
      const std::uint64_t key = config.plain_key_dim, value = config.value_dim, latent = config.latent;
      // Keys are not whole groups of q8_0.
      const FormatPtr keys_format = find_format(type == std::string("q8_0") ? "f32" : type),
                      values_format = find_format(type);
      std::vector<PlannedTensor> plan;
      for (const StoredTensor& tensor : one.tensors()) {
        plan.push_back({tensor.name, tensor.shape, tensor.values.format()});
        if (!tensor.name.ends_with("attn_kv_b.weight")) continue;
        const std::string prefix = tensor.name.substr(0, tensor.name.size() - std::string("attn_kv_b.weight").size());
        plan.back() = {prefix + "attn_k_b.weight", {config.heads, latent, key}, keys_format};
        plan.push_back({prefix + "attn_v_b.weight", {config.heads, value, latent}, values_format});
      }
      GgufMetadata metadata = one.gguf();
      const auto count = [&](const char* name_of_key, std::uint64_t number) {
        metadata.set(std::string("deepseek2.attention.") + name_of_key,
                     GgufValue::of_u32(static_cast<std::uint32_t>(number)));
      };
      count("head_count_kv", 1);
      count("key_length", latent + config.head_dim);
      count("value_length", latent);
      count("key_length_mla", key + config.head_dim);
      count("value_length_mla", value);
      const auto writer = make_gguf_writer(scratch / "two.gguf", metadata, plan);
      const auto encode = [](const FormatPtr& format, std::uint64_t rows, std::uint64_t cols, const auto& number) {
        QuantizedTensor tensor(format, rows, cols);
        std::vector<float> row(cols);
        for (std::uint64_t r = 0; r < rows; ++r) {
          for (std::uint64_t c = 0; c < cols; ++c) row[c] = number(r, c);
          format->encode_row(row, {}, nullptr, r, {}, tensor.row(r));
        }
        return tensor;
      };
      std::vector<float> joined;
      for (std::size_t i = 0; i < plan.size(); ++i) {
        const bool is_keys = plan[i].name.ends_with("attn_k_b.weight"),
                   is_values = plan[i].name.ends_with("attn_v_b.weight");
        if (!is_keys && !is_values) {
          writer->write_rows(i, *one.tensor(plan[i].name).values.planes());
          continue;
        }
        if (is_keys)
          joined = one.tensor(std::string(plan[i].name).replace(plan[i].name.find("attn_k_b"), 8, "attn_kv_b"))
                       .values.decode();
        const auto at = [&](std::uint64_t head, std::uint64_t row, std::uint64_t col) {
          return joined[(head * (key + value) + row) * latent + col];
        };
        writer->write_rows(
            i, is_keys ? encode(keys_format, config.heads * latent, key,
                                [&](std::uint64_t r, std::uint64_t c) { return at(r / latent, c, r % latent); })
                             .view()
                       : encode(values_format, config.heads * value, latent, [&](std::uint64_t r, std::uint64_t c) {
                           return at(r / value, key + r % value, c);
                         }).view());
      }
      writer->finish();
      const SourceModel two = SourceModel::open(scratch / "two.gguf");
      EXPECT_EQ(to_huggingface_config(two.config(), {}), to_huggingface_config(one.config(), {}));
      const ModelTensor& part = *two.parts().part("kv_b", 0);
      const StoredTensor& stored = two.stored(part);
      EXPECT_EQ(stored.values.format()->name(), type == std::string("f16") ? "f16" : "f32");
      if (type == std::string("q8_0")) continue;
      Machine machine(chosen_isa(), 2);
      const std::vector<std::int32_t> ids = ReferenceLogits::read(name).ids;
      Decoder of_one(one, exact_options(), machine), of_two(two, exact_options(), machine);
      const std::vector<float> expected = all_logits(of_one, ids), actual = all_logits(of_two, ids);
      if (type == std::string("f32"))
        EXPECT_EQ(actual, expected) << name;
      else
        EXPECT_LT(relative_difference(actual, expected), 0.02) << name;
    }
}

// Layers behind the network's own that guess further tokens are left out.
TEST(GuessingLayers, OfAGgufFileAreNotRun) {
  ScratchDirectory scratch;
  const SourceModel directory = SourceModel::open(data_directory() / "tiny_qwen35");
  GgufMetadata metadata = to_gguf_metadata(directory.config(), {});
  metadata.set("qwen35.block_count", GgufValue::of_u32(4));
  metadata.set("qwen35.nextn_predict_layers", GgufValue::of_u32(1));
  // The last of four layers is said to be one of these.
  write_gguf(directory, scratch / "model.gguf", metadata);
  const SourceModel file = SourceModel::open(scratch / "model.gguf");
  EXPECT_EQ(file.config().layers, 3u);
  EXPECT_EQ(file.config().recurs, (std::vector<bool>{true, true, false}));
  EXPECT_EQ(file.parts().part("mlp_norm", 3), nullptr);
  EXPECT_NE(file.parts().part("mlp_norm", 2), nullptr);
  metadata.set("qwen35.nextn_predict_layers", GgufValue::of_u32(4));
  write_gguf(directory, scratch / "none.gguf", metadata);
  EXPECT_NE(error_of([&] {
              SourceModel::open(scratch / "none.gguf").config();
            }).second.find("qwen35.nextn_predict_layers must be less than block_count: 4"),
            std::string::npos);
}

TEST_P(GgufModel, ForeignAndAbsurdKeysAreRefusedByName) {
  const auto message = [&](const std::string& key, GgufValue value) {
    GgufMetadata changed = metadata;
    changed.set(key, std::move(value));
    write_gguf(directory, path, changed);
    const auto [kind, text] = error_of([&] { SourceModel::open(path).require_parts(); });
    EXPECT_TRUE(text.starts_with(path.string() + ": ")) << text;
    return std::pair(kind, text.substr(std::min(text.size(), path.string().size() + 2)));
  };
  using Found = std::pair<ErrorKind, std::string>;
  const std::string family(directory.parts().architecture().gguf_name);
  const auto [unknown, known] = message("general.architecture", GgufValue::of_string("gpt2"));
  EXPECT_EQ(unknown, ErrorKind::unsupported);
  EXPECT_TRUE(known.starts_with("unknown general.architecture 'gpt2'; known are llama, qwen2, ")) << known;
  EXPECT_EQ(message(family + ".attention.head_count", GgufValue::of_u32(0)),
            Found(ErrorKind::corrupt, family + ".attention.head_count must lie between 1 and 16384: 0"));
  EXPECT_EQ(message(family + ".block_count", GgufValue::of_u32(99999)),
            Found(ErrorKind::corrupt, family + ".block_count must lie between 1 and 4096: 99999"));
  EXPECT_EQ(
      message(family + ".rope.scaling.type", GgufValue::of_string("ntk")),
      Found(ErrorKind::unsupported, "rotary scaling can be none, linear, yarn or, where its tensors are, longrope; " +
                                        family + ".rope.scaling.type: ntk"));
  const std::string undrawn = message("general.architecture", GgufValue::of_string("falcon-h1")).second;
  EXPECT_TRUE(
      undrawn.starts_with("general.architecture 'falcon-h1' is Falcon-H1, which cannot be run: its layers keep "
                          "a recurrent state; its matrices can be inspected, and quantized one by one by the "
                          "methods rtn and mse; known are llama, qwen2, "))
      << undrawn;
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, GgufValue>>{{"attention.causal", GgufValue::of_bool(false)},
                                                      {"attention.scale", GgufValue::of_f32(0.5F)},
                                                      {"embedding_scale", GgufValue::of_f32(12)},
                                                      {"residual_scale", GgufValue::of_f32(0.25F)},
                                                      {"logit_scale", GgufValue::of_f32(8)},
                                                      {"expert_shared_count", GgufValue::of_u32(1)},
                                                      {"expert_gating_func", GgufValue::of_u32(2)},
                                                      {"expert_weights_scale", GgufValue::of_f32(2.5F)},
                                                      {"leading_dense_block_count", GgufValue::of_u32(1)}}) {
    if (std::ranges::count(directory.parts().architecture().gguf_own_keys, key) != 0) continue;
    const auto [kind, text] = message(family + "." + key, value);
    EXPECT_EQ(kind, ErrorKind::unsupported) << text;
    EXPECT_TRUE(text.starts_with("networks of the family " + std::string(directory.parts().architecture().name) +
                                 " can only be run with " + family + "." + key + " "))
        << text;
  }
  if (family == "gemma2") {
    EXPECT_EQ(message("gemma2.attention.sliding_window", GgufValue::of_u32(0)),
              Found(ErrorKind::corrupt, "gemma2.attention.sliding_window must be at least 1 where layers slide: 0"));
    for (const char* const key : {"gemma2.attn_logit_softcapping", "gemma2.final_logit_softcapping"})
      EXPECT_EQ(message(key, GgufValue::of_f32(0)),
                Found(ErrorKind::corrupt, std::string(key) + " must be positive: 0"));
  }
  if (directory.config().num_experts != 0 && directory.config().dense.empty()) {
    const std::uint64_t count = directory.config().num_experts, width = directory.config().expert_intermediate,
                        hidden = directory.config().hidden;
    EXPECT_EQ(
        message(family + ".expert_count", GgufValue::of_u32(static_cast<std::uint32_t>(count + 1))),
        Found(ErrorKind::corrupt, fmt::format("tensor 'blk.0.ffn_gate_inp.weight' is [{}, {}], but the file's header "
                                              "({}.expert_count: {}) asks for [{}, {}]",
                                              count, hidden, family, count + 1, count + 1, hidden)));
    const bool has_own_width = directory.parts().architecture().gguf_expert_width;
    const char* const key = has_own_width ? "expert_feed_forward_length" : "feed_forward_length";
    EXPECT_EQ(message(family + "." + key, GgufValue::of_u32(7)),
              Found(ErrorKind::corrupt,
                    fmt::format("tensor 'blk.0.ffn_gate_exps.weight' is [{}, {}, {}], but the file's header ({}.{}: 7) "
                                "asks for [{}, 7, {}]",
                                count, width, hidden, family, key, count, hidden)));
  }
  const bool may_have_experts = family == "llama" || family.ends_with("moe") || family == "gpt-oss" ||
                                family == "gemma4" || family == "deepseek2";
  EXPECT_EQ(message(family + ".expert_count", GgufValue::of_u32(may_have_experts ? 5000 : 8)),
            may_have_experts && directory.config().num_experts == 0
                ? Found(ErrorKind::corrupt, "key is missing: " + family + ".expert_used_count")
            : may_have_experts ? Found(ErrorKind::corrupt, family + ".expert_count must lie between 1 and 4096: 5000")
                               : Found(ErrorKind::unsupported, "mixtures of experts of this family cannot be run; " +
                                                                   family + ".expert_count"));
  const auto [kind, text] = message(family + ".block_count", GgufValue::of_string("two"));
  EXPECT_EQ(kind, ErrorKind::corrupt);
  EXPECT_NE(text.find(family + ".block_count"), std::string::npos) << text;
  EXPECT_EQ(text.find(path.string()), std::string::npos) << text;  // the file is named once
  GgufMetadata without = metadata;
  without.erase(family + ".embedding_length");
  write_gguf(directory, path, without);
  EXPECT_EQ(error_of([&] { read_model_config(SourceModel::open(path)); }).second,
            path.string() + ": key is missing: " + family + ".embedding_length");
}

}  // namespace
}  // namespace nibble
