// SPDX-License-Identifier: Apache-2.0
#include "model/arch/architecture.h"

#include <cassert>

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

std::uint64_t extent_of(Extent extent, const ModelConfig& config) {
  switch (extent) {
    case Extent::one: return 1;
    case Extent::hidden: return config.hidden;
    case Extent::intermediate: return config.intermediate;
    case Extent::query: return config.heads * config.head_dim;
    case Extent::key_value: return config.kv_heads * config.head_dim;
    case Extent::vocab: return config.vocab_size;
  }
  return 0;
}

bool is_present(Presence presence, const ModelConfig& config) {
  switch (presence) {
    case Presence::always: return true;
    case Presence::untied: return !config.tied_embedding;
    case Presence::attention_bias: return config.attention_bias;
    case Presence::output_bias: return config.output_bias;
    case Presence::mlp_bias: return config.mlp_bias;
  }
  return false;
}

std::string with_layer(std::string_view pattern, std::int64_t layer) {
  const std::size_t place = pattern.find("{}");
  if (place == std::string_view::npos) return std::string(pattern);
  return std::string(pattern.substr(0, place)) + std::to_string(layer) + std::string(pattern.substr(place + 2));
}

std::string part_key(std::string_view part, std::int64_t layer) { return std::string(part) + '@' + std::to_string(layer); }

bool is_layered(const TensorPattern& pattern) { return pattern.hf.find("{}") != std::string_view::npos; }

ModelTensor resolve(const TensorPattern& pattern, std::int64_t layer, const Architecture& architecture, const ModelConfig& config) {
  ModelTensor tensor;
  tensor.part = pattern.part;
  tensor.layer = layer;
  tensor.hf_name = with_layer(pattern.hf, layer);
  tensor.gguf_name = with_layer(pattern.gguf, layer);
  tensor.role = pattern.role;
  const std::uint64_t rows = extent_of(pattern.rows, config), cols = extent_of(pattern.cols, config);
  tensor.shape = pattern.rows == Extent::one ? Shape{cols} : Shape{rows, cols};
  if (architecture.gguf_interleaved_rotary && pattern.rotary != RotaryRows::none)
    tensor.permuted_heads = pattern.rotary == RotaryRows::query ? config.heads : config.kv_heads;
  return tensor;
}

}  // namespace

ModelTensors::ModelTensors(const ModelConfig& config) : architecture_(&find_architecture(config.architecture)) {
  // The model's order: what stands before the first layered pattern, the layers one after another, the rest.
  const auto& patterns = architecture_->tensors;
  std::size_t first = 0, last = patterns.size();
  while (first < last && !is_layered(patterns[first])) ++first;
  while (last > first && !is_layered(patterns[last - 1])) --last;
  const auto add = [&](std::size_t begin, std::size_t end, std::int64_t layer) {
    for (std::size_t i = begin; i < end; ++i)
      if (is_present(patterns[i].presence, config)) tensors_.push_back(resolve(patterns[i], layer, *architecture_, config));
  };
  add(0, first, -1);
  for (std::uint64_t layer = 0; layer < config.layers; ++layer) add(first, last, static_cast<std::int64_t>(layer));
  add(last, patterns.size(), -1);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    by_name_.emplace(tensors_[i].hf_name, i);
    by_name_.emplace(tensors_[i].gguf_name, i);
    by_part_.emplace(part_key(tensors_[i].part, tensors_[i].layer), i);
  }
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
