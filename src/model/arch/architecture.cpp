// SPDX-License-Identifier: Apache-2.0
#include "model/arch/architecture.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "model/arch/all.h"
#include "nibble/error.h"

namespace nibble {

const std::vector<Architecture>& all_architectures() {
  static const std::vector<Architecture> kAll = [] {
    std::vector<Architecture> all;
    for (const auto make : kArchitectures) all.push_back(make());
    return all;
  }();
  return kAll;
}

const Architecture& find_architecture(std::string_view name) {
  std::string known;
  for (const Architecture& a : all_architectures()) {
    if (a.name == name) return a;
    known += (known.empty() ? "" : ", ") + std::string(a.name);
  }
  throw Error(ErrorKind::unsupported, "unknown architecture; known are " + known + ": " + std::string(name));
}

Spelling spelling_of(const Checkpoint& checkpoint) {
  return checkpoint.kind() == ContainerKind::gguf ? Spelling::gguf : Spelling::huggingface;
}

namespace {

// The first {} of a pattern becomes a number.
std::string with_number(std::string_view pattern, std::uint64_t number) {
  const std::size_t place = pattern.find("{}");
  if (place == std::string_view::npos) return std::string(pattern);
  return std::string(pattern.substr(0, place)) + std::to_string(number) + std::string(pattern.substr(place + 2));
}

std::string part_key(std::string_view part, std::int64_t layer) {
  return std::string(part) + '@' + std::to_string(layer);
}

bool is_layered(const TensorName& name) { return name.hf.find("{}") != std::string_view::npos; }
bool is_of_experts(const TensorName& name) { return is_layered(name) && name.hf.find("{}") != name.hf.rfind("{}"); }

ModelTensor resolve(const TensorName& name, std::int64_t layer, const WeightUse& use, const Graph& graph,
                    bool interleaves_rotary) {
  ModelTensor tensor;
  tensor.part = tensor.kind = name.part;
  tensor.layer = layer;
  tensor.hf_name = with_number(name.hf, static_cast<std::uint64_t>(layer));
  tensor.gguf_name = with_number(name.gguf, static_cast<std::uint64_t>(layer));
  tensor.role = use.role;
  tensor.shape = use.shape;
  tensor.hf_offset = name.hf_offset;
  tensor.hf_stack = with_number(name.hf_stack, static_cast<std::uint64_t>(layer));
  tensor.place = name.place;
  tensor.kinds = name.kinds;
  if (interleaves_rotary) tensor.permuted_heads = rotated_heads(graph, name.part);
  return tensor;
}

}  // namespace

Network draw_network(const ModelConfig& config) {
  const Architecture& architecture = find_architecture(config.architecture);
  std::vector<Graph> layers;
  for (std::uint64_t i = 0; i < config.layers; ++i)
    layers.push_back(architecture.draw_layer(config, static_cast<std::int64_t>(i)));
  return {architecture.draw_begin(config), std::move(layers), architecture.draw_end(config)};
}

ModelTensors::ModelTensors(const ModelConfig& config)
    : architecture_(&find_architecture(config.architecture)), network_(draw_network(config)) {
  // The model's order: what stands before the first layered name, the layers one after another, the rest.
  const auto& names = architecture_->names;
  const auto first = std::ranges::find_if(names, is_layered),
             last = std::ranges::find_if_not(first, names.end(), is_layered);
  const auto add = [&](auto begin, auto end, std::int64_t layer, const Graph& graph) {
    std::unordered_map<std::string, WeightUse> uses;
    for (WeightUse& use : graph.weights()) uses.emplace(use.part, use);
    for (auto name = begin; name != end; ++name) {
      if (const auto use = uses.find(std::string(name->part)); use != uses.end())
        tensors_.push_back(resolve(*name, layer, use->second, graph, architecture_->gguf_interleaved_rotary));
      if (!is_of_experts(*name)) continue;
      for (std::uint64_t e = 0; e < config.num_experts; ++e) {
        const auto use = uses.find(expert_part(name->part, e));
        if (use == uses.end()) break;
        ModelTensor& tensor = tensors_.emplace_back(resolve(*name, layer, use->second, graph, false));
        tensor.part = use->first;
        tensor.hf_name = with_number(tensor.hf_name, e);
        tensor.expert = e;
        tensor.experts = config.num_experts;
      }
    }
  };
  add(names.begin(), first, -1, network_.begin().graph);
  for (std::int64_t i = 0; i < network_.num_layers(); ++i) add(first, last, i, network_.layer(i).graph);
  add(last, names.end(), -1, network_.end().graph);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    by_name_.emplace(tensors_[i].hf_name, i);
    by_name_.emplace(tensors_[i].gguf_name, i);
    if (!tensors_[i].hf_stack.empty()) by_name_.emplace(tensors_[i].hf_stack, i);
    by_part_.emplace(part_key(tensors_[i].part, tensors_[i].layer), i);
  }
  require_named();
}

// What is drawn and has no name would be left out of the sums without a word.
void ModelTensors::require_named() const {
  const auto judge = [&](const Graph& graph, std::int64_t layer) {
    for (const WeightUse& use : graph.weights())
      if (part(use.part, layer) == nullptr)
        throw Error(ErrorKind::internal, "a family draws a part that it does not name: " + use.part);
  };
  judge(network_.begin().graph, -1);
  for (std::int64_t i = 0; i < network_.num_layers(); ++i) judge(network_.layer(i).graph, i);
  judge(network_.end().graph, -1);
}

const ModelTensor* ModelTensors::find(std::string_view name) const noexcept {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

const ModelTensor* ModelTensors::part(std::string_view part, std::int64_t layer) const noexcept {
  const auto found = by_part_.find(part_key(part, layer));
  return found == by_part_.end() ? nullptr : &tensors_[found->second];
}

std::uint64_t gguf_row_of(std::uint64_t huggingface_row, std::uint64_t head_dim) {
  assert(head_dim % 2 == 0);
  const std::uint64_t row = huggingface_row % head_dim, half = head_dim / 2;
  return huggingface_row - row + 2 * (row % half) + row / half;
}

std::uint64_t huggingface_row_of(std::uint64_t gguf_row, std::uint64_t head_dim) {
  assert(head_dim % 2 == 0);
  const std::uint64_t row = gguf_row % head_dim, half = head_dim / 2;
  return gguf_row - row + (row % 2) * half + row / 2;
}

}  // namespace nibble
