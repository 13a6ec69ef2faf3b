// SPDX-License-Identifier: Apache-2.0
//
// The tables of mixes against what llama.cpp did: file sizes of a real six-layer model (vocabulary 4096, hidden 256,
// intermediate 768, 8 heads, 4 key/value heads, tied embedding, September 2026), whose header takes the same number of
// bytes for every type.
#include "quantize/mixes.h"

#include <gtest/gtest.h>

#include <map>

#include "quantize/condition.h"

namespace nibble {
namespace {

struct BlockSize {
  std::uint64_t columns, bytes;
};
const std::map<std::string_view, BlockSize> kBlocks = {
    {"q4_0", {32, 18}},   {"q4_1", {32, 20}},     {"q5_0", {32, 22}},    {"q5_1", {32, 24}},     {"q8_0", {32, 34}},
    {"q2_k", {256, 84}},  {"q3_k", {256, 110}},   {"q4_k", {256, 144}},  {"q5_k", {256, 176}},   {"q6_k", {256, 210}},
    {"iq4_nl", {32, 18}}, {"iq4_xs", {256, 136}}, {"iq3_s", {256, 110}}, {"iq3_xxs", {256, 98}}, {"iq2_s", {256, 82}}};

std::string_view pick(const Mix& mix, const TensorFacts& facts) {
  for (const MixRule& rule : mix.rules)
    if (matches_pattern(rule.pattern, facts.name) && Condition::parse(rule.when).holds(facts)) return rule.format;
  return mix.main_format;
}

const Mix& mix_named(std::string_view name) {
  for (const Mix& mix : all_mixes())
    if (mix.name == name) return mix;
  throw std::runtime_error("no mix " + std::string(name));
}

struct TinyModel {
  std::uint64_t layers = 6, hidden = 256, intermediate = 768, key_value = 128, vocab = 4096;

  template <class Visit>
  void each_matrix(Visit visit) const {
    TensorFacts facts;
    facts.num_layers = layers;
    facts.gqa = 2;
    const auto matrix = [&](std::string name, std::uint64_t rows, std::uint64_t cols) {
      facts.name = std::move(name);
      facts.rows = rows;
      facts.cols = cols;
      visit(facts);
    };
    facts.tied = true;
    matrix("token_embd.weight", vocab, hidden);
    facts.tied = false;
    for (facts.layer = 0; facts.layer < layers; ++facts.layer) {
      const std::string block = "blk." + std::to_string(facts.layer) + ".";
      matrix(block + "attn_q.weight", hidden, hidden);
      matrix(block + "attn_k.weight", key_value, hidden);
      matrix(block + "attn_v.weight", key_value, hidden);
      matrix(block + "attn_output.weight", hidden, hidden);
      matrix(block + "ffn_gate.weight", intermediate, hidden);
      matrix(block + "ffn_up.weight", intermediate, hidden);
      matrix(block + "ffn_down.weight", hidden, intermediate);
    }
  }

  std::uint64_t bytes(const Mix& mix) const {
    std::uint64_t total = 0;
    each_matrix([&](const TensorFacts& facts) {
      const BlockSize block = kBlocks.at(pick(mix, facts));
      total += facts.rows * (facts.cols / block.columns) * block.bytes;
    });
    return total;
  }
  std::uint64_t pure_bytes(std::string_view format) const {
    std::uint64_t total = 0;
    each_matrix([&](const TensorFacts& facts) {
      total += facts.rows * (facts.cols / kBlocks.at(format).columns) * kBlocks.at(format).bytes;
    });
    return total;
  }
};

TEST(Mixes, FilesHaveTheSizesOfLlamaCpp) {
  const TinyModel model;
  const std::uint64_t header = 6236064 - model.pure_bytes("q8_0");  // Q8_0 pure
  EXPECT_EQ(3352480 - model.pure_bytes("q4_k"), header);
  EXPECT_EQ(model.bytes(mix_named("q5_k_m")) + header, 4273568u);
  EXPECT_EQ(model.bytes(mix_named("q4_k_m")) + header, 3741088u);
  EXPECT_EQ(model.bytes(mix_named("q4_k_s")) + header, 3639200u);
  EXPECT_EQ(model.bytes(mix_named("q3_k_m")) + header, 3239328u);
  EXPECT_EQ(model.bytes(mix_named("q2_k")) + header, 2696608u);
}

TEST(Mixes, EveryRuleCanBeReadAndEveryNameIsUnique) {
  std::map<std::string_view, int> names;
  std::map<std::uint32_t, int> file_types;
  for (const Mix& mix : all_mixes()) {
    EXPECT_EQ(++names[mix.name], 1) << mix.name;
    EXPECT_EQ(++file_types[mix.file_type], 1) << mix.name;
    EXPECT_FALSE(mix.description.empty());
    for (const MixRule& rule : mix.rules) EXPECT_EQ(Condition::parse(rule.when).text(), rule.when) << mix.name;
  }
  EXPECT_EQ(names.size(), 30u);
}

// Single decisions for models of other shapes, from llama.cpp's rules.
TEST(Mixes, DecideByShapeOfTheModel) {
  TensorFacts facts;
  facts.cols = facts.rows = 4096;
  facts.num_layers = 32;
  facts.gqa = 4;
  facts.layer = 4;
  const auto decide = [&](std::string_view mix, std::string name) {
    facts.name = std::move(name);
    return std::string(pick(mix_named(mix), facts));
  };
  EXPECT_EQ(decide("q4_k_m", "output.weight"), "q6_k");
  EXPECT_EQ(decide("q4_k_m", "token_embd.weight"), "q4_k");
  EXPECT_EQ(decide("q4_k_m", "blk.4.attn_v.weight"), "q4_k");
  EXPECT_EQ(decide("q4_k_m", "blk.4.attn_qkv.weight"), "q4_k");
  EXPECT_EQ(decide("q2_k", "blk.4.attn_v.weight"), "q4_k");
  EXPECT_EQ(decide("q2_k", "blk.4.attn_kv_b.weight"), "q4_k");
  EXPECT_EQ(decide("q2_k", "blk.4.attn_kv_a_mqa.weight"), "q2_k");
  EXPECT_EQ(decide("q2_k", "blk.4.attn_output.weight"), "q3_k");
  EXPECT_EQ(decide("iq2_xs", "blk.4.attn_v.weight"), "q4_k");
  EXPECT_EQ(decide("iq1_s", "blk.4.attn_output.weight"), "iq2_xxs");
  EXPECT_EQ(decide("iq2_m", "token_embd.weight"), "iq3_s");
  EXPECT_EQ(decide("iq3_xxs", "output.weight"), "q5_k");
  EXPECT_EQ(decide("iq3_xxs", "blk.4.attn_q.weight"), "iq2_s");
  EXPECT_EQ(decide("iq3_xxs", "blk.4.ffn_down.weight"), "q3_k");
  EXPECT_EQ(decide("iq3_xs", "blk.4.ffn_up.weight"), "iq3_xxs");
  EXPECT_EQ(decide("tq2_0", "token_embd.weight"), "q4_k");
  EXPECT_EQ(decide("q4_0", "output.weight"), "q6_k");
  EXPECT_EQ(decide("q4_0", "blk.4.ffn_down.weight"), "q4_0");
  EXPECT_EQ(decide("mxfp4_moe", "blk.4.ffn_down.weight"), "q8_0");

  facts.has_importance = true;
  facts.layer = 3;
  EXPECT_EQ(decide("q4_0", "blk.3.ffn_down.weight"), "q4_1");
  EXPECT_EQ(decide("iq3_xxs", "blk.3.ffn_down.weight"), "iq3_xxs");
  EXPECT_EQ(decide("iq4_xs", "blk.3.ffn_down.weight"), "iq4_xs");

  facts.gqa = 1;
  EXPECT_EQ(decide("q2_k", "blk.3.attn_v.weight"), "q3_k");
  EXPECT_EQ(decide("iq4_nl", "blk.3.attn_v.weight"), "iq4_nl");

  facts.num_layers = 80;
  facts.gqa = 8;
  facts.layer = 20;
  EXPECT_EQ(decide("q4_k_m", "blk.20.attn_v.weight"), "q5_k");
  EXPECT_EQ(decide("q3_k_s", "blk.20.attn_v.weight"), "q5_k");

  facts.num_experts = 8;
  EXPECT_EQ(decide("q4_k_m", "blk.20.attn_k.weight"), "q8_0");
  EXPECT_EQ(decide("q4_k_m", "blk.20.attn_output.weight"), "q5_k");
  facts.stacked = true;
  EXPECT_EQ(decide("mxfp4_moe", "blk.20.ffn_down_exps.weight"), "mxfp4");

  facts = {};
  facts.cols = 896;
  facts.tied = true;
  EXPECT_EQ(decide("q4_k_m", "token_embd.weight"), "q8_0");
}

// What importances and experts change, mix by mix: by hand from llama.cpp's rules, as long as no model here has
// experts.
TEST(Mixes, DecideByImportanceAndExperts) {
  TensorFacts facts;
  facts.cols = facts.rows = 4096;
  facts.num_layers = 32;
  const auto decide = [&](std::string_view mix, std::string name) {
    facts.name = std::move(name);
    return std::string(pick(mix_named(mix), facts));
  };
  struct Case {
    const char *mix, *part;
    std::uint64_t layer;
    const char *without, *with;
  };
  for (const Case& test :
       {Case{"q4_0", "ffn_down", 3, "q4_0", "q4_1"}, Case{"q4_0", "ffn_down", 4, "q4_0", "q4_0"},
        Case{"q5_0", "ffn_down", 3, "q5_0", "q5_1"}, Case{"q4_1", "ffn_down", 3, "q4_1", "q4_1"},
        Case{"iq3_xxs", "ffn_down", 3, "q4_k", "iq3_xxs"}, Case{"iq3_xxs", "ffn_down", 4, "q3_k", "iq3_xxs"},
        Case{"iq3_xxs", "attn_v", 4, "iq3_s", "iq3_xxs"}, Case{"iq4_nl", "ffn_down", 3, "q5_k", "iq4_nl"},
        Case{"iq4_xs", "ffn_down", 3, "q5_k", "iq4_xs"}, Case{"iq4_xs", "ffn_down", 4, "iq4_xs", "iq4_xs"},
        Case{"q4_k_m", "ffn_down", 3, "q6_k", "q6_k"}}) {
    facts.layer = test.layer;
    const std::string name = "blk." + std::to_string(test.layer) + "." + test.part + ".weight";
    facts.has_importance = false;
    EXPECT_EQ(decide(test.mix, name), test.without) << test.mix << ' ' << name;
    facts.has_importance = true;
    EXPECT_EQ(decide(test.mix, name), test.with) << test.mix << ' ' << name;
  }

  facts.has_importance = false;
  facts.layer = 10;
  facts.num_experts = 4;
  EXPECT_EQ(decide("iq2_xs", "blk.10.attn_v.weight"), "q4_k");
  EXPECT_EQ(decide("q4_k_m", "blk.10.attn_k.weight"), "q4_k");
  facts.num_experts = 8;
  EXPECT_EQ(decide("q4_k_m", "blk.10.attn_v.weight"), "q8_0");
  EXPECT_EQ(decide("iq2_xs", "blk.10.attn_output.weight"), "q5_k");
  EXPECT_EQ(decide("iq3_m", "blk.10.ffn_down_exps.weight"), "iq3_s");
  facts.layer = 12;  // one that gets more bits
  EXPECT_EQ(decide("iq3_m", "blk.12.ffn_down_exps.weight"), "q4_k");
  EXPECT_EQ(decide("mxfp4_moe", "blk.10.ffn_up_exps.weight"), "q8_0");
  facts.stacked = true;
  EXPECT_EQ(decide("mxfp4_moe", "blk.10.ffn_up_exps.weight"), "mxfp4");
}

}  // namespace
}  // namespace nibble
