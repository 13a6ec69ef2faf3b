// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "model/arch/architecture.h"
#include "nibble/error.h"
#include "tiny_models.h"

namespace nibble {
namespace {

ModelConfig small_llama() {
  ModelConfig config;
  config.architecture = "llama";
  config.vocab_size = 100;
  config.hidden = 64;
  config.intermediate = 96;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.context = 256;
  config.norm_epsilon = 1e-5f;
  config.rope.rotary_dim = 16;
  return config;
}

// The first of two layers recurs.
void recur(ModelConfig& config) {
  config.recurs = {true, false};
  config.delta_heads = 4;
  config.delta_key_heads = 2;
  config.delta_key_dim = config.delta_value_dim = 8;
  config.convolution_taps = 4;
}

class EveryArchitecture : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, EveryArchitecture, testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const Architecture& a : all_architectures()) names.emplace_back(a.name);
                           return names;
                         }()),
                         [](const auto& parameter) { return parameter.param; });

// Of a family all of whose layers have experts.
bool is_sparse(const Architecture& a) {
  const auto has = [&](std::string_view part) {
    return std::ranges::find(a.names, part, &TensorName::part) != a.names.end();
  };
  return has("router") && !has("gate");
}

// "expert_up.0.bias" as the family names it.
std::string without_expert(const std::string& part) {
  for (const std::string_view number : {".0", ".1"})
    if (const std::size_t at = part.find(number); at != std::string::npos)
      return part.substr(0, at) + part.substr(at + number.size());
  return part;
}

void give_experts(ModelConfig& config) {
  config.num_experts = config.experts_used = 2;
  config.expert_intermediate = config.shared_intermediate = 8;
  config.swiglu_alpha = config.swiglu_limit = 1;
}

void give_latent(ModelConfig& config) { config.latent = config.plain_key_dim = config.value_dim = 8; }

// Every part that a family draws has a name in both spellings, every name is drawn in some configuration, and every
// Linear belongs to one site.
TEST_P(EveryArchitecture, DrawsWhatItNames) {
  const Architecture& a = find_architecture(GetParam());
  EXPECT_FALSE(a.variants.empty());
  std::set<std::string_view> parts, hf_names, gguf_names;
  for (const TensorName& name : a.names) {
    EXPECT_TRUE(parts.insert(name.part).second) << name.part;
    EXPECT_TRUE(hf_names.insert(name.hf).second) << name.hf;
    EXPECT_TRUE(gguf_names.insert(name.gguf).second) << name.gguf;
    EXPECT_EQ(name.hf.find("{}") == std::string_view::npos, name.gguf.find("{}") == std::string_view::npos) << name.hf;
  }
  ModelConfig config = small_llama();
  config.architecture = GetParam();
  config.attention_bias = config.output_bias = config.mlp_bias = true;
  if (is_sparse(a)) give_experts(config);
  if (a.has_latent) give_latent(config);
  const Network network = draw_network(config);
  std::set<std::string> drawn;
  const auto draw = [&](const Network& shown) {
    std::vector<WeightUse> uses = shown.begin().graph.weights();
    for (const DrawnGraph* const part : {&shown.layer(0), &shown.layer(1), &shown.end()})
      for (const WeightUse& use : part->graph.weights()) uses.push_back(use);
    for (const WeightUse& use : uses) drawn.insert(without_expert(use.part));
  };
  draw(network);
  if (parts.contains("router")) {
    give_experts(config);
    draw(draw_network(config));
  }
  if (parts.contains("router_correction")) {
    config.query_latent = 8;
    config.corrects_routing = config.norms_heads = true;
    draw(draw_network(config));
  }
  if (parts.contains("delta_qkv") || parts.contains("convolution_in")) {
    recur(config);
    draw(draw_network(config));
  }
  if (parts.contains("per_layer_gate")) {
    config.per_layer_width = 8;
    config.scales_layers = true;
    draw(draw_network(config));
  }
  EXPECT_EQ(drawn, std::set<std::string>(parts.begin(), parts.end()));
  ASSERT_EQ(network.end().sites.size(), 1u);
  EXPECT_EQ(network.end().sites[0].name, "head_in");
  std::multiset<std::string> in_sites, linears;
  for (const Site& site : network.layer(0).sites) in_sites.insert(site.parts.begin(), site.parts.end());
  for (const WeightUse& use : network.layer(0).graph.weights())
    if (use.role == TensorRole::linear || use.role == TensorRole::router) linears.insert(use.part);
  EXPECT_EQ(in_sites, linears);
}

// A scale of what Linears read goes into the norm before them, or into v and up, whose channels attention and the gate
// leave apart: past soft caps, windows and sinks, but never out of o and down into norms that stand behind them, nor
// out of queries and keys, and into no norm of heads.
TEST_P(EveryArchitecture, FoldsWhereTheFunctionStaysTheSame) {
  ModelConfig config = small_llama();
  config.architecture = GetParam();
  config.attention_soft_cap = config.logit_soft_cap = 20;
  config.sliding_window = 8;
  config.slides = {true, false};
  const bool is_joint = GetParam() == "phi3", has_gate_up = is_joint || GetParam() == "glm" || GetParam() == "glm4";
  std::map<std::string, std::string> expected = {{"attention_in", "attention_norm"},
                                                 {"attention_out", is_joint ? "qkv" : "v"},
                                                 {"mlp_in", "mlp_norm"},
                                                 {"mlp_out", has_gate_up ? "gate_up" : "up"}};
  if (GetParam() == "gemma4") expected["attention_out"] = "nothing";                     // values are normed
  if (GetParam() == "olmo2") expected["attention_in"] = expected["mlp_in"] = "nothing";  // which read the stream
  if (GetParam() == "bitnet") {
    expected["attention_out"] = "attention_sub_norm";
    expected["mlp_out"] = "mlp_sub_norm";
  }
  if (find_architecture(GetParam()).has_latent) {
    give_latent(config);
    config.query_latent = 8;
    expected["attention_out"] = "kv_b";
    expected.insert({{"latent_in", "kv_a_norm"}, {"queries_in", "q_a_norm"}});
  }
  if (is_sparse(find_architecture(GetParam()))) {
    give_experts(config);
    expected["mlp_in"] = "nothing";  // the experts' is the router's, too
    expected.erase("mlp_out");
    expected.insert({{"experts_in", "mlp_norm"}, {"experts_out", GetParam() == "gptoss" ? "nothing" : "expert_up"}});
    if (GetParam() == "granitemoe") expected["shared_out"] = "shared_up";
  }
  const Network network = draw_network(config);
  for (std::int64_t i = 0; i < network.num_layers(); ++i) {
    const DrawnGraph& layer = network.layer(i);
    std::map<std::string, std::string> folds;
    for (std::size_t site = 0; site < layer.sites.size(); ++site)
      folds[layer.sites[site].name] = layer.folds[site] ? layer.folds[site]->producer : "nothing";
    EXPECT_EQ(folds, expected);
  }
  // A head that is the embedding would change with it.
  ASSERT_TRUE(network.end().folds[0]);
  EXPECT_EQ(network.end().folds[0]->producer, "final_norm");
  config.tied_embedding = true;
  EXPECT_FALSE(draw_network(config).end().folds[0]);
}

// What a recurrent layer reads comes from a norm; its heads share the weights of the norm behind the rule, which take
// no factors of channels.
TEST(RecurrentLayers, FoldIntoTheNormBeforeThem) {
  ModelConfig config = small_llama();
  config.architecture = "qwen35";
  recur(config);
  const Network network = draw_network(config);
  const DrawnGraph& layer = network.layer(0);
  std::map<std::string, std::string> folds;
  for (std::size_t site = 0; site < layer.sites.size(); ++site)
    folds[layer.sites[site].name] = layer.folds[site] ? layer.folds[site]->producer : "nothing";
  EXPECT_EQ(folds,
            (std::map<std::string, std::string>{
                {"delta_in", "attention_norm"}, {"delta_out", "nothing"}, {"mlp_in", "mlp_norm"}, {"mlp_out", "up"}}));
  EXPECT_EQ(layer.graph.recurrent, (std::vector<RecurrentState>{{3 * (2 * 2 * 8 + 4 * 8)}, {4 * 8 * 8}}));
}

// A convolution's gate behind it lets factors of channels pass into the rows of the matrix that makes it.
TEST(ConvolvingLayers, FoldIntoTheNormBeforeThemAndIntoTheirGate) {
  ModelConfig config = small_llama();
  config.architecture = "lfm2";
  config.recurs = {true, false};
  config.convolution_taps = 3;
  const Network network = draw_network(config);
  const DrawnGraph& layer = network.layer(0);
  std::map<std::string, std::string> folds;
  for (std::size_t site = 0; site < layer.sites.size(); ++site)
    folds[layer.sites[site].name] = layer.folds[site] ? layer.folds[site]->producer : "nothing";
  EXPECT_EQ(folds, (std::map<std::string, std::string>{{"convolution_in", "attention_norm"},
                                                       {"convolution_out", "convolution_in"},
                                                       {"mlp_in", "mlp_norm"},
                                                       {"mlp_out", "up"}}));
  EXPECT_EQ(layer.graph.recurrent, (std::vector<RecurrentState>{{2 * 64}}));
}

// Two key heads with two value heads each: a, b and c, d in a directory, a, c and b, d in a GGUF file.
TEST(ModelTensors, ValueHeadsStandTiledInGgufFiles) {
  ModelConfig config = small_llama();
  config.architecture = "qwen35";
  recur(config);
  config.delta_value_dim = 2;
  const ModelTensors tensors(config);
  const auto rows = [&](std::string_view part) {
    return tensors.part(part, 0)->rows_from(Spelling::huggingface, Spelling::gguf);
  };
  using Order = std::vector<std::uint32_t>;
  EXPECT_EQ(rows("delta_rate"), (Order{0, 2, 1, 3}));
  EXPECT_EQ(rows("delta_gate"), (Order{0, 1, 4, 5, 2, 3, 6, 7}));
  EXPECT_EQ(rows("delta_taps").size(), 2 * 2 * 8 + 8u);
  const Order qkv = rows("delta_qkv");
  EXPECT_EQ(Order(qkv.begin() + 31, qkv.begin() + 36), (Order{31, 32, 33, 36, 37}));
  EXPECT_EQ(rows("delta_out"), Order{});
  EXPECT_EQ(tensors.part("delta_out", 0)->columns_from(Spelling::huggingface, Spelling::gguf),
            (Order{0, 1, 4, 5, 2, 3, 6, 7}));
  EXPECT_EQ(rows("mlp_norm"), Order{});
  config.delta_heads = 6;  // three each
  const ModelTensors three(config);
  const ModelTensor& rate = *three.part("delta_rate", 0);
  EXPECT_EQ(rate.rows_from(Spelling::huggingface, Spelling::gguf), (Order{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(rate.rows_from(Spelling::gguf, Spelling::huggingface), (Order{0, 2, 4, 1, 3, 5}));
  EXPECT_EQ(three.part("delta_taps", 0)->file_shape(Spelling::huggingface), (Shape{2 * 2 * 8 + 12, 1, 4}));
  EXPECT_EQ(three.part("delta_taps", 0)->file_shape(Spelling::gguf), (Shape{2 * 2 * 8 + 12, 4}));
}

// What a router and experts read comes from a norm, and what an expert's down reads from its own up, where the gate
// lets scales of that pass.
TEST(Experts, FoldIntoANormAndIntoTheirOwnUp) {
  std::size_t families = 0;
  for (const Architecture& family : all_architectures()) {
    if (std::ranges::find(family.names, "router", &TensorName::part) == family.names.end()) continue;
    ++families;
    ModelConfig config = small_llama();
    config.architecture = family.name;
    give_experts(config);
    if (family.has_latent) give_latent(config);
    const Network network = draw_network(config);
    const DrawnGraph& layer = network.layer(0);
    const auto producer = [&](std::string_view site) -> std::string {
      for (std::size_t i = 0; i < layer.sites.size(); ++i)
        if (layer.sites[i].name == site) return layer.folds[i] ? layer.folds[i]->producer : "nothing";
      return "no such site";
    };
    EXPECT_EQ(producer("experts_in"), family.name == "gemma4" ? "experts_norm" : "mlp_norm") << family.name;
    EXPECT_EQ(producer("experts_out"), family.name == "gptoss" ? "nothing" : "expert_up") << family.name;
  }
  EXPECT_EQ(families, 10u);
}

// Six layers, every second of which attends to all positions; the last two share keys and values.
ModelConfig small_gemma4() {
  ModelConfig config = small_llama();
  config.architecture = "gemma4";
  config.layers = 6;
  config.slides = {true, false, true, false, true, false};
  config.sliding_window = 8;
  config.full_head_dim = config.rope.rotary_dim = 32;
  config.full_kv_heads = 1;
  config.sliding_rope = config.rope;
  config.sliding_rope->rotary_dim = 16;
  config.sharing_layers = 2;
  config.sharing_intermediate = 192;
  config.per_layer_width = 8;
  config.scales_layers = true;
  return config;
}

TEST(Gemma4, LayersDifferByKindAndBySharing) {
  const ModelTensors tensors(small_gemma4());
  const auto shape = [&](std::string_view part, std::int64_t layer) {
    const ModelTensor* const tensor = tensors.part(part, layer);
    return tensor == nullptr ? Shape{} : tensor->shape;
  };
  EXPECT_EQ(shape("q", 0), (Shape{64, 64}));
  EXPECT_EQ(shape("q", 1), (Shape{128, 64}));
  EXPECT_EQ(shape("k", 0), (Shape{32, 64}));
  EXPECT_EQ(shape("k", 1), (Shape{32, 64}));
  EXPECT_EQ(shape("k_norm", 1), (Shape{32}));
  for (const std::string_view part : {"k", "v", "k_norm"}) EXPECT_EQ(shape(part, 4), Shape{}) << part;
  EXPECT_EQ(shape("q", 4), (Shape{64, 64}));
  EXPECT_EQ(shape("gate", 3), (Shape{96, 64}));
  EXPECT_EQ(shape("gate", 4), (Shape{192, 64}));
  EXPECT_EQ(shape("per_layer_embedding", -1), (Shape{100, 48}));
  EXPECT_EQ(shape("per_layer_projection", -1), (Shape{48, 64}));
  EXPECT_EQ(shape("per_layer_gate", 5), (Shape{8, 64}));
  EXPECT_EQ(tensors.part("layer_scale", 5)->gguf_name, "blk.5.layer_output_scale.weight");

  const Network& network = tensors.network();
  using State = KeyValueState;
  EXPECT_EQ(network.states(), (std::vector<State>{{2, 16, 8}, {1, 32, 0}, {2, 16, 8}, {1, 32, 0}}));
  EXPECT_EQ(network.states_of(4), (std::vector<std::size_t>{2}));
  EXPECT_EQ(network.states_of(5), (std::vector<std::size_t>{3}));
  EXPECT_NE(&network.layer(0), &network.layer(2));  // which passes keys and values on

  ModelConfig keys_are_values = small_gemma4();
  keys_are_values.full_keys_are_values = true;
  const ModelTensors without(keys_are_values);
  EXPECT_EQ(without.part("v", 1), nullptr);
  EXPECT_NE(without.part("v", 0), nullptr);
}

// llama.cpp shares with the two layers before those that share, of which the last attends to all positions.
TEST(Gemma4, IsWrittenForLlamaCppWhereThatSharesAlike) {
  ModelConfig config = small_gemma4();
  const GgufMetadata m = to_gguf_metadata(config, {});
  EXPECT_EQ(m.unsigned_integer("gemma4.attention.shared_kv_layers"), 2u);
  EXPECT_EQ(m.unsigned_integer("gemma4.attention.key_length"), 32u);
  EXPECT_EQ(m.unsigned_integer("gemma4.attention.key_length_swa"), 16u);
  EXPECT_EQ(m.unsigned_integer("gemma4.rope.dimension_count"), 32u);
  EXPECT_EQ(m.unsigned_integer("gemma4.rope.dimension_count_swa"), 16u);
  EXPECT_EQ(m.unsigned_integer("gemma4.embedding_length_per_layer_input"), 8u);
  EXPECT_EQ(m.number("gemma4.final_logit_softcapping"), 0.0);  // absent it would be 30 there
  EXPECT_EQ(m.numbers("gemma4.feed_forward_length"), (std::vector<double>{96, 96, 96, 96, 192, 192}));
  EXPECT_EQ(m.numbers("gemma4.attention.head_count_kv"), (std::vector<double>{2, 1, 2, 1, 2, 1}));
  config.slides = {true, true, false, true, true, false};
  const auto [kind, message] = error_of([&] { to_gguf_metadata(config, {}); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_NE(message.find("share keys and values with the two before them only"), std::string::npos) << message;
}

TEST(ModelTensors, NamesShapesAndOrder) {
  const ModelTensors tensors(small_llama());
  ASSERT_EQ(tensors.all().size(), 1u + 2 * 9 + 2);
  EXPECT_EQ(tensors.all().front().hf_name, "model.embed_tokens.weight");
  EXPECT_EQ(tensors.all().back().gguf_name, "output.weight");
  const ModelTensor* k = tensors.find("model.layers.1.self_attn.k_proj.weight");
  ASSERT_NE(k, nullptr);
  EXPECT_EQ(k, tensors.find("blk.1.attn_k.weight"));
  EXPECT_EQ(k, tensors.part("k", 1));
  EXPECT_EQ(k->shape, (Shape{32, 64}));
  EXPECT_EQ(k->permuted_heads, 2u);
  EXPECT_EQ(tensors.part("q", 0)->permuted_heads, 4u);
  EXPECT_EQ(tensors.part("v", 0)->permuted_heads, 0u);
  EXPECT_EQ(tensors.part("mlp_norm", 0)->hf_name, "model.layers.0.post_attention_layernorm.weight");
  EXPECT_EQ(tensors.part("mlp_norm", 0)->gguf_name, "blk.0.ffn_norm.weight");
  EXPECT_EQ(tensors.part("mlp_norm", 0)->shape, (Shape{64}));
  EXPECT_EQ(tensors.part("down", 1)->shape, (Shape{64, 96}));
  EXPECT_EQ(tensors.find("blk.2.attn_k.weight"), nullptr);
  EXPECT_EQ(tensors.find("rope_freqs.weight"), nullptr);
}

TEST(ModelTensors, TiedHeadAndBiases) {
  ModelConfig config = small_llama();
  config.tied_embedding = true;
  config.attention_bias = config.mlp_bias = true;
  const ModelTensors tensors(config);
  EXPECT_EQ(tensors.part("head", -1), nullptr);
  EXPECT_EQ(tensors.part("q.bias", 0)->shape, (Shape{64}));
  EXPECT_EQ(tensors.part("q.bias", 0)->permuted_heads, 4u);
  EXPECT_EQ(tensors.part("o.bias", 0), nullptr);
  EXPECT_EQ(tensors.part("down.bias", 0)->shape, (Shape{64}));
}

TEST(ModelTensors, QwenRowsAreNotPermuted) {
  ModelConfig config = small_llama();
  config.architecture = "qwen2";
  const ModelTensors tensors(config);
  EXPECT_EQ(tensors.part("q", 0)->permuted_heads, 0u);
}

// llama.cpp refuses a key of another width, so types are pinned here.
TEST(Conversion, GgufKeysAndTypes) {
  ModelConfig config = small_llama();
  const GgufMetadata m = to_gguf_metadata(config, {.name = "small", .file_type = 7});
  const auto expect = [&](const std::string& key, GgufType type) {
    ASSERT_NE(m.find(key), nullptr) << key;
    EXPECT_EQ(m.find(key)->type, type) << key;
  };
  for (const char* key :
       {"llama.context_length", "llama.embedding_length", "llama.block_count", "llama.feed_forward_length",
        "llama.attention.head_count", "llama.attention.head_count_kv", "llama.rope.dimension_count", "llama.vocab_size",
        "general.file_type", "general.quantization_version"})
    expect(key, GgufType::u32);
  expect("llama.attention.layer_norm_rms_epsilon", GgufType::f32);
  expect("llama.rope.freq_base", GgufType::f32);
  expect("general.architecture", GgufType::string);
  EXPECT_EQ(m.items().front().key, "general.architecture");
  EXPECT_EQ(m.string("general.name"), "small");
  EXPECT_EQ(m.unsigned_integer("llama.attention.head_count_kv"), 2u);
  EXPECT_EQ(m.find("llama.attention.key_length"), nullptr);
  EXPECT_EQ(m.find("llama.rope.scaling.type"), nullptr);

  config.head_dim = config.rope.rotary_dim = 32;
  config.rope.scaling = RopeScaling::linear;
  config.rope.factor = 4;
  const GgufMetadata wide = to_gguf_metadata(config, {.name = "", .file_type = std::nullopt});
  EXPECT_EQ(wide.unsigned_integer("llama.attention.key_length"), 32u);
  EXPECT_EQ(wide.unsigned_integer("llama.attention.value_length"), 32u);
  EXPECT_EQ(wide.string("llama.rope.scaling.type"), "linear");
  EXPECT_EQ(wide.number("llama.rope.scaling.factor"), 4.0);
  EXPECT_EQ(wide.find("general.name"), nullptr);
}

TEST(Conversion, HuggingFaceKeys) {
  ModelConfig config = small_llama();
  const auto json = nlohmann::json::parse(to_huggingface_config(
      config, {.bos_token_id = 1, .eos_token_id = 2, .quantization_config_json = R"({"quant_method": "nibble"})"}));
  EXPECT_EQ(json["architectures"][0], "LlamaForCausalLM");
  EXPECT_EQ(json["model_type"], "llama");
  EXPECT_EQ(json["num_key_value_heads"], 2);
  EXPECT_EQ(json["rms_norm_eps"].dump(), "1e-05");
  EXPECT_EQ(json["rope_theta"].dump(), "10000.0");
  EXPECT_TRUE(json["rope_scaling"].is_null());
  EXPECT_EQ(json["tie_word_embeddings"], false);
  EXPECT_EQ(json["bos_token_id"], 1);
  EXPECT_EQ(json["torch_dtype"], "bfloat16");
  EXPECT_EQ(json["quantization_config"]["quant_method"], "nibble");
}

TEST(Conversion, Llama3ScalingIsRecognisedFromItsDivisors) {
  ModelConfig config = small_llama();
  RopeConfig llama3;
  llama3.base = 500000;
  llama3.rotary_dim = 64;
  llama3.scaling = RopeScaling::llama3;
  llama3.factor = 32;
  llama3.original_context = 8192;
  config.rope = llama3;
  config.rope.frequency_divisors = rope_frequency_divisors(llama3);
  config.rope.scaling = RopeScaling::none;
  config.rope.original_context = 1;
  const auto json = nlohmann::json::parse(to_huggingface_config(config, {}));
  EXPECT_EQ(json["rope_scaling"]["rope_type"], "llama3");
  EXPECT_EQ(json["rope_scaling"]["factor"], 32.0);
  EXPECT_EQ(json["rope_scaling"]["original_max_position_embeddings"], 8192);

  config.rope.frequency_divisors[3] = 1.5f;
  const auto [kind, message] = error_of([&] { to_huggingface_config(config, {}); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_NE(message.find("rope_freqs.weight"), std::string::npos);
}

TEST(Architectures, UnknownNameListsTheKnown) {
  const auto [kind, message] = error_of([] { find_architecture("gpt2"); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_EQ(
      message,
      "unknown architecture; known are llama, qwen2, qwen2moe, qwen3, qwen3moe, qwen35, qwen35moe, gemma2, gemma3, "
      "gemma4, phi3, glm, glm4, glm4moe, mistral3, gptoss, bitnet, smollm3, olmo2, olmoe, granite, granitemoe, "
      "ernie45, hunyuan, lfm2, deepseek2: gpt2");
}

}  // namespace
}  // namespace nibble
