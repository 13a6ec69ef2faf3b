// SPDX-License-Identifier: Apache-2.0
//
// What is known of a family of models: its drawing, how containers spell its tensors, and what their configurations leave out. All else (shapes,
// sites, folds, sizes) follows from the drawing. Everything here is immutable and safe to share between threads.
//
//   ModelConfig config = read_model_config(checkpoint);
//   ModelTensors tensors(config);
//   for (const ModelTensor& t : tensors.all())
//     copy(checkpoint.tensor(t.name(spelling_of(checkpoint))), t.gguf_name, t.permuted_heads);
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/network.h"
#include "io/checkpoint.h"
#include "io/gguf/gguf_value.h"
#include "model/config.h"
#include "tensor/tensor.h"

namespace nibble {

// --- the data of one family ------------------------------------------------------------------------------------------------------------

// How containers spell a part: {} stands for the layer's number; without it, a tensor of the whole model. A family's names stand in the order in
// which its tensors are written; which of them a model has, and of what shape, its drawing says.
struct TensorName {
  std::string_view part;      // "q", "q.bias", "attention_norm": what drawings call it
  std::string_view hf, gguf;
};

// What one Hugging Face model_type means when config.json leaves a key out: the defaults of its configuration class.
struct HfVariant {
  std::string_view model_type, class_name;  // "mistral", "MistralForCausalLM"
  std::uint64_t default_kv_heads = 0;       // 0: as many as heads
  std::uint64_t default_head_dim = 0;       // 0: hidden size / heads
  std::uint64_t default_context = 2048;
  std::uint64_t default_sliding_window = 0;
  bool window_needs_switch = false;         // the window counts only when use_sliding_window is true
  bool always_qkv_bias = false;             // q, k and v have a bias whatever config.json says
};

struct Architecture {
  std::string_view name;                 // our name, ModelConfig::architecture
  std::string_view gguf_name;            // general.architecture
  bool gguf_interleaved_rotary = false;  // GGUF stores q and k rows so that rotary pairs are neighbours
  bool gguf_qkv_bias = false;            // GGUF files of this family always carry q, k and v biases
  std::vector<HfVariant> variants;       // the first one is written when a GGUF file becomes a directory
  std::vector<TensorName> names;
  Graph (*draw_begin)(const ModelConfig& config) = nullptr;  // -> the stream
  Graph (*draw_layer)(const ModelConfig& config, std::int64_t layer) = nullptr;
  Graph (*draw_end)(const ModelConfig& config) = nullptr;  // the stream -> logits
};

// Every family; the one list is arch/all.h.
const std::vector<Architecture>& all_architectures();
// Error(unsupported) for an unknown name lists the known ones.
const Architecture& find_architecture(std::string_view name);

// The network that a configuration means.
Network draw_network(const ModelConfig& config);

// --- one model's tensors -----------------------------------------------------------------------------------------------------------------

enum class Spelling { huggingface, gguf };
Spelling spelling_of(const Checkpoint& checkpoint);

struct ModelTensor {
  std::string part;        // "q"
  std::int64_t layer = -1;  // -1: of the whole model
  std::string hf_name, gguf_name;
  TensorRole role = TensorRole::linear;
  Shape shape;                       // [rows, cols] or [n]
  std::uint64_t permuted_heads = 0;  // heads whose rows are permuted between the spellings; 0: same rows in both

  const std::string& name(Spelling spelling) const { return spelling == Spelling::gguf ? gguf_name : hf_name; }
};

// Every tensor that a model of this configuration has, in the order of the model: embedding, layers, final norm, head.
class ModelTensors {
 public:
  explicit ModelTensors(const ModelConfig& config);
  ModelTensors(const ModelTensors&) = delete;
  ModelTensors(ModelTensors&&) noexcept = default;
  const Architecture& architecture() const noexcept { return *architecture_; }
  const Network& network() const noexcept { return network_; }
  const std::vector<ModelTensor>& all() const noexcept { return tensors_; }
  // By name in either spelling; null when the model has no such tensor ("rope_freqs.weight", "rotary_emb.inv_freq", ...).
  const ModelTensor* find(std::string_view name) const noexcept;
  // By part and layer (-1 for the model's own); null when absent (a bias, a tied head).
  const ModelTensor* part(std::string_view part, std::int64_t layer) const noexcept;

 private:
  void require_named() const;

  const Architecture* architecture_;
  Network network_;
  std::vector<ModelTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> by_name_;  // views into tensors_
  std::unordered_map<std::string, std::size_t> by_part_;
};

// --- q and k rows --------------------------------------------------------------------------------------------------------------------------

// Per head of head_dim rows: Hugging Face's row s * head_dim / 2 + i is GGUF's row 2i + s (s = 0, 1). Both take an index into the whole
// matrix or bias. Rows keep their bytes, so quantized rows move without being decoded.
std::uint64_t gguf_row_of(std::uint64_t huggingface_row, std::uint64_t head_dim);
std::uint64_t huggingface_row_of(std::uint64_t gguf_row, std::uint64_t head_dim);

// --- configuration in the other container -----------------------------------------------------------------------------------------------------

struct GgufModelOptions {
  std::string name = {};                        // general.name; empty: left out
  std::optional<std::uint32_t> file_type = {};  // general.file_type
};

// general.* and {arch}.* keys with the types that llama.cpp insists on; tokenizer keys come from Tokenizer::to_gguf.
// Error(unsupported) when a value has no key there.
GgufMetadata to_gguf_metadata(const ModelConfig& config, const GgufModelOptions& options);

// What rope_freqs.weight must hold [rotary_dim / 2], F32; empty: the file needs no such tensor.
inline constexpr std::string_view kRopeDivisorsName = "rope_freqs.weight";
std::vector<float> rope_frequency_divisors(const RopeConfig& rope);

struct HfConfigOptions {
  std::string dtype = "bfloat16";             // of the unquantized tensors
  std::optional<std::int64_t> bos_token_id = {}, eos_token_id = {};
  std::string quantization_config_json = {};  // an object's text; empty: left out
};

// The text of config.json in keys that every version of transformers reads. Divisors from a GGUF file are recognised as llama3 scaling;
// Error(unsupported) when they are anything else.
std::string to_huggingface_config(const ModelConfig& config, const HfConfigOptions& options);

}  // namespace nibble
