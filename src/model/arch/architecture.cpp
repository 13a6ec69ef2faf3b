// SPDX-License-Identifier: Apache-2.0
#include "model/arch/architecture.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>
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

// Parts with one row for each head are of runs of 1, others of runs as long as a head's values.
ModelTensor::Tiles tiles_of(std::uint64_t extent, const ModelConfig& config) {
  return {config.delta_heads, config.delta_key_heads, extent == config.delta_heads ? 1 : config.delta_value_dim,
          config.tiles_delta_heads ? Spelling::gguf : Spelling::huggingface};
}

ModelTensor resolve(const TensorName& name, std::int64_t layer, const WeightUse& use, const Graph& graph,
                    const ModelConfig& config, bool interleaves_rotary) {
  ModelTensor tensor;
  tensor.part = tensor.kind = name.part;
  tensor.layer = layer;
  tensor.hf_name = with_number(name.hf, static_cast<std::uint64_t>(layer));
  tensor.gguf_name = with_number(name.gguf, static_cast<std::uint64_t>(layer));
  tensor.role = use.role;
  tensor.shape = use.shape;
  tensor.hf_numbers = {name.hf_offset, name.hf_log_of_minus};
  tensor.hf_middle_axis = name.hf_middle_axis;
  if (name.value_heads == ValueHeads::rows) tensor.tiled_rows = tiles_of(use.shape.front(), config);
  if (name.value_heads == ValueHeads::columns) tensor.tiled_columns = tiles_of(use.shape.back(), config);
  tensor.hf_stack = with_number(name.hf_stack, static_cast<std::uint64_t>(layer));
  tensor.gguf_joint = with_number(name.gguf_joint, static_cast<std::uint64_t>(layer));
  tensor.hf_own_stack = with_number(name.hf_own_stack, static_cast<std::uint64_t>(layer));
  if (!name.gguf_keys.empty())
    tensor.gguf_halves = {with_number(name.gguf_keys, static_cast<std::uint64_t>(layer)),
                          with_number(name.gguf_values, static_cast<std::uint64_t>(layer)),
                          {config.heads, config.plain_key_dim, config.value_dim}};
  tensor.place = name.place;
  tensor.kinds = name.kinds;
  tensor.alternates = name.alternates;
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
        tensors_.push_back(resolve(*name, layer, use->second, graph, config, architecture_->gguf_interleaved_rotary));
      if (!is_of_experts(*name)) continue;
      for (std::uint64_t e = 0; e < config.num_experts; ++e) {
        const auto use = uses.find(expert_part(name->part, e));
        if (use == uses.end()) break;
        ModelTensor& tensor = tensors_.emplace_back(resolve(*name, layer, use->second, graph, config, false));
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
    for (const Spelling spelling : {Spelling::huggingface, Spelling::gguf})
      if (const std::string& other = tensors_[i].other_name(spelling); !other.empty()) by_name_.emplace(other, i);
    for (const std::string& half : {std::cref(tensors_[i].gguf_halves.keys), std::cref(tensors_[i].gguf_halves.values)})
      if (!half.empty()) by_name_.emplace(half, i);
    if (!tensors_[i].hf_own_stack.empty()) by_name_.emplace(tensors_[i].hf_own_stack, i);
    by_part_.emplace(part_key(tensors_[i].part, tensors_[i].layer), i);
  }
  join_runs();
  require_named();
}

void ModelTensors::join_runs() {
  for (const auto& [spelling, run] :
       {std::pair(Spelling::huggingface, &ModelTensor::hf_run), std::pair(Spelling::gguf, &ModelTensor::gguf_run)}) {
    std::unordered_map<std::string_view, std::uint64_t> wholes;
    for (ModelTensor& tensor : tensors_)
      if (tensor.experts == 0 && !tensor.other_name(spelling).empty()) {
        std::uint64_t& whole = wholes[tensor.other_name(spelling)];
        (tensor.*run).begin = whole;
        whole += tensor.shape.front();
      }
    for (ModelTensor& tensor : tensors_)
      if (const auto whole = wholes.find(tensor.other_name(spelling)); tensor.experts == 0 && whole != wholes.end())
        (tensor.*run).whole = whole->second;
  }
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

float StoredNumbers::read(float stored) const { return is_log_of_minus ? -std::exp(stored) : stored + offset; }

float StoredNumbers::write(float number) const { return is_log_of_minus ? std::log(-number) : number - offset; }

Shape ModelTensor::file_shape(Spelling spelling) const {
  if (!hf_middle_axis || spelling != Spelling::huggingface) return shape;
  return {shape[0], 1, shape[1]};
}

namespace {

std::vector<std::uint32_t> tiled_order(const ModelTensor::Tiles& tiles, std::uint64_t extent, Spelling to) {
  if (tiles.heads == tiles.key_heads) return {};
  const std::uint64_t each = tiles.heads / tiles.key_heads, begin = extent - tiles.heads * tiles.length;
  const auto head_from = [&](std::uint64_t head) {
    return to == Spelling::gguf ? head % tiles.key_heads * each + head / tiles.key_heads
                                : head % each * tiles.key_heads + head / each;
  };
  std::vector<std::uint32_t> order(extent);
  for (std::uint64_t i = 0; i < extent; ++i)
    order[i] = static_cast<std::uint32_t>(
        i < begin ? i : begin + head_from((i - begin) / tiles.length) * tiles.length + (i - begin) % tiles.length);
  return order;
}

}  // namespace

std::vector<std::uint32_t> ModelTensor::rows_from(Spelling from, Spelling to) const {
  if (from == to) return {};
  if (tiled_rows.heads != 0) return tiled_order(tiled_rows, shape.front(), to);
  if (permuted_heads == 0) return {};
  const std::uint64_t head_dim = shape.front() / permuted_heads;
  std::vector<std::uint32_t> order(shape.front());
  for (std::uint64_t row = 0; row < order.size(); ++row)
    order[row] = static_cast<std::uint32_t>(to == Spelling::gguf ? huggingface_row_of(row, head_dim)
                                                                 : gguf_row_of(row, head_dim));
  return order;
}

std::vector<std::uint32_t> ModelTensor::columns_from(Spelling from, Spelling to) const {
  return from == to || tiled_columns.heads == 0 ? std::vector<std::uint32_t>{}
                                                : tiled_order(tiled_columns, shape.back(), to);
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
