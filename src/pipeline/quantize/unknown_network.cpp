// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/unknown_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "model/foreign_quantization.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Words = std::vector<std::string_view>;

Words words_of(std::string_view name) {
  Words words;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    words.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

bool is_number(std::string_view word) {
  return !word.empty() && std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
}

bool names_any(std::string_view name, std::initializer_list<std::string_view> parts) {
  return std::ranges::any_of(parts, [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

// The first number of a name counts layers: "encoder.layer.3.attention.self.query.weight", "blk.3.attn_q.weight". -1:
// none.
std::int64_t layer_of(const Words& words) {
  for (const std::string_view word : words) {
    if (!is_number(word)) continue;
    std::int64_t layer = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), layer);
    return error == std::errc() && layer < 100'000 ? layer : -1;
  }
  return -1;
}

// What stands behind the last number, without "weight" or "bias": "attention.self.query".
std::string part_of(const Words& words) {
  const auto last = std::find_if(words.rbegin(), words.rend(), is_number).base();
  std::string part;
  for (auto word = last; word != words.end(); ++word)
    if ((*word != "weight" && *word != "bias") || part.empty()) part += (part.empty() ? "" : ".") + std::string(*word);
  return part.empty() ? std::string(words.back()) : part;
}

// Norms, routers, taps and decays of recurrent layers and tables of positions are small and feel every bit.
bool is_left_as_it_is(std::string_view name) {
  return names_any(
      name, {"norm", "token_types", "time_mix", "ffn_gate_inp", "router", "mlp.gate.weight", "block_sparse_moe.gate",
             "ssm_conv1d", "shortconv.conv", "A_log", "ssm_a", "position_emb", "position_embd", "embed_positions",
             "positional", "pos_emb", "wpe", "rel_b", "relative_attention"});
}

// is_gguf: [experts, rows, cols] is rows one after another, in any of its formats.
TensorRole role_of(const StoredTensor& tensor, bool is_gguf) {
  const bool is_stack = is_gguf && tensor.shape.size() == 3 && names_any(tensor.name, {"_exps.", "_exps_"});
  const bool is_matrix = is_stack || (tensor.shape.size() == 2 && tensor.shape[0] > 1 && tensor.shape[1] > 1);
  if (!is_matrix || is_left_as_it_is(tensor.name)) return TensorRole::norm;
  if (tensor.name == "output.weight" || names_any(tensor.name, {"lm_head", "embed_out", "classifier", "score.weight"}))
    return TensorRole::head;
  // The table's own name, not that of a module around Linears ("time_embedding.linear_1").
  const Words words = words_of(tensor.name);
  const std::string_view own = words.size() > 1 && words.back() == "weight" ? words[words.size() - 2] : words.back();
  const bool is_table = names_any(own, {"embed", "embd", "wte", "shared"}) && !names_any(own, {"proj", "linear"});
  if (is_table) return TensorRole::embedding;
  return TensorRole::linear;
}

void read_facts(const SourceModel& source, UnknownNetwork& network) {
  ModelConfig& facts = network.facts;
  for (const ModelTensor& tensor : network.tensors)
    facts.layers = std::max(facts.layers, static_cast<std::uint64_t>(tensor.layer + 1));
  // Hints for a mix's rules only: layers may differ (an array), and what is no number tells nothing.
  const std::string prefix = source.gguf().string("general.architecture").value_or("") + ".";
  const auto count = [&](const std::string& key, std::uint64_t otherwise) {
    double most = 0;
    try {
      const GgufValue* const value = source.gguf().find(prefix + key);
      if (value != nullptr && value->type == GgufType::array)
        for (const double number : source.gguf().numbers(prefix + key).value_or(std::vector<double>{}))
          most = std::max(most, number);
      else
        most = source.gguf().number(prefix + key).value_or(0);
    } catch (const Error&) {
      most = 0;
    }
    return most >= 1 && most < 1e6 ? static_cast<std::uint64_t>(most) : otherwise;
  };
  facts.heads = count("attention.head_count", 1);
  facts.kv_heads = count("attention.head_count_kv", facts.heads);
  network.num_experts = count("expert_count", 0);
}

}  // namespace

UnknownNetwork read_unknown_network(const SourceModel& source) {
  if (source.kind() == ContainerKind::gguf)
    refuse_tensor_scales(source);
  else
    refuse_foreign_quantization(source);
  UnknownNetwork network;
  try {
    source.config();
  } catch (const Error& error) {
    network.reason = error.what();
  }
  for (const StoredTensor& stored : source.tensors()) {
    const std::string& own_name = stored.wrapped_name.empty() ? stored.name : stored.wrapped_name;
    if (!stored.values.format()) {
      const bool is_empty = std::ranges::find(stored.shape, 0u) != stored.shape.end();
      network.left_out.push_back(
          fmt::format("{} ({})", own_name, is_empty ? "no elements" : stored.type_name + ", no weights"));
      continue;
    }
    const Words words = words_of(stored.name);
    ModelTensor tensor;
    tensor.part = part_of(words);
    tensor.layer = layer_of(words);
    tensor.role = role_of(stored, source.kind() == ContainerKind::gguf);
    tensor.gguf_name = stored.name;
    tensor.hf_name = own_name;
    // Recipes know these two by the names that every GGUF file gives them.
    if (source.kind() != ContainerKind::gguf && tensor.role == TensorRole::embedding)
      tensor.gguf_name = "token_embd.weight";
    if (source.kind() != ContainerKind::gguf && tensor.role == TensorRole::head) tensor.gguf_name = "output.weight";
    tensor.shape = stored.shape;
    network.tensors.push_back(std::move(tensor));
    network.stored.push_back(&stored);
  }
  read_facts(source, network);
  return network;
}

}  // namespace nibble
