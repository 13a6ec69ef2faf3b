// SPDX-License-Identifier: Apache-2.0
//
// What is known of a family of models: its drawing, how containers spell its tensors, and what their configurations
// leave out. All else (shapes, sites, folds, sizes) follows from the drawing. Everything here is immutable and safe to
// share between threads.
//
//   ModelConfig config = read_model_config(checkpoint);
//   ModelTensors tensors(config);
//   for (const ModelTensor& t : tensors.all())
//     copy(checkpoint.tensor(t.name(spelling_of(checkpoint))), t.gguf_name, t.permuted_heads);
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/network.h"
#include "io/checkpoint.h"
#include "io/gguf/gguf_value.h"
#include "model/config.h"
#include "model/gguf_keys.h"
#include "model/huggingface_fields.h"
#include "model/latent_rows.h"
#include "tensor/tensor.h"

namespace nibble {

// --- the data of one family ------------------------------------------------------------------------------------------

// What a file holds for a number of the network.
struct StoredNumbers {
  float offset = 0;              // the number less this
  bool is_log_of_minus = false;  // ln(-number) instead

  float read(float stored) const;
  float write(float number) const;  // NaN or infinite where no file of this kind can say it
  bool operator==(const StoredNumbers&) const = default;
};

// Rows, or columns, that belong to the value heads of recurrent layers, of which several share a key head. Hugging Face
// files have those side by side, GGUF files a first one of every key head, then the second ones, and so on.
enum class ValueHeads { none, rows, columns };

// How containers spell a part: {} stands for the layer's number; without it, a tensor of the whole model. A second {}
// in Hugging Face's stands for an expert's, whose parts are expert_part(part, e); GGUF files hold those of all experts
// in one tensor, one below the other. A family's names stand in the order in which its tensors are written; which of
// them a model has, and of what shape, its drawing says.
struct TensorName {
  std::string_view part;  // "q", "q.bias", "attention_norm": what drawings call it
  std::string_view hf, gguf;
  float hf_offset = 0;  // added to what Hugging Face files hold; GGUF holds the sum (zero-centred norms)
  // What Hugging Face files may call it instead; of experts a stack [experts, rows of all its kinds, cols], or
  // [experts, cols, rows of all its kinds], in which this kind's rows are the place-th of `kinds` runs; of experts'
  // vectors [experts, numbers of all kinds]; of other parts what has the rows of all the parts that say so, in their
  // order. Read only.
  std::string_view hf_stack = {};
  std::uint64_t place = 0, kinds = 1;
  bool alternates = false;       // the runs are of one row each: a row of every kind, again and again
  bool hf_log_of_minus = false;  // Hugging Face files hold ln(-w); GGUF holds w (rates of decay)
  bool hf_middle_axis = false;   // [n, 1, m] in Hugging Face files (depthwise convolutions); GGUF has [n, m]
  ValueHeads value_heads = ValueHeads::none;  // whose order differs
  std::string_view gguf_joint = {};           // as hf_stack, in GGUF files
  std::string_view hf_own_stack = {};  // of experts: a stack [experts, rows, cols] of this kind alone, as MLX has it
  // Of what makes keys and values of a latent vector: the names of its halves in GGUF files that hold these apart, keys
  // [heads, latent, key_dim], values [heads, value_dim, latent]. Read only.
  std::string_view gguf_keys = {}, gguf_values = {};
};

// What one Hugging Face model_type means when config.json leaves a key out: the defaults of its configuration class.
struct HfVariant {
  std::string_view model_type, class_name;  // "mistral", "MistralForCausalLM"
  // Of models that read pictures with this one as their text_config; empty: none.
  std::string_view wrapper_type = {}, wrapper_class = {};
  // Where text_config leaves them out; 0: it may not.
  std::uint64_t default_vocab = 0, default_hidden = 0, default_intermediate = 0, default_layers = 0, default_heads = 0;
  std::uint64_t default_kv_heads = 0;            // 0: as many as heads
  std::uint64_t default_head_dim = 0;            // 0: hidden size / heads
  std::string_view other_intermediate_key = {};  // what may say it instead, and then counts
  std::string_view norm_epsilon_key = "rms_norm_eps";
  std::uint64_t default_context = 2048;
  std::uint64_t default_original_context = 0;  // of longrope; 0: the context
  double default_norm_epsilon = 1e-6;
  std::uint64_t default_sliding_window = 0;
  bool window_needs_switch =
      false;  // the window counts only when use_sliding_window is true, and from layer max_window_layers on
  bool reads_sliding_window = false;  // the key counts though its default is none
  bool reads_layer_types() const {
    return window_needs_switch || default_full_every != 0;
  }  // else a window is every layer's
  std::uint64_t default_full_every = 0;  // every so many layers one attends to all positions; 0: all slide
  double default_rope_base = 10000;
  double default_local_rope_base = 0;  // of layers that slide; 0: the same
  bool default_tied = false;           // where tie_word_embeddings is absent
  std::uint64_t default_experts = 0;   // 0: a class without experts
  std::uint64_t default_experts_used = 0;
  std::uint64_t default_expert_intermediate = 0;  // 0: intermediate_size
  bool is_all_experts = false;                    // no layer has an MLP, and no intermediate_size is said
  bool normalizes_routing = true;                 // where norm_topk_prob is absent
  bool has_routing_keys = true;                   // norm_topk_prob, decoder_sparse_step and mlp_only_layers count
  bool always_qkv_bias = false;                   // q, k and v have a bias whatever config.json says
  double default_rotary_part = 1;          // of a head, that positions turn, where partial_rotary_factor is absent
  bool default_attention_bias = false;     // where attention_bias is absent
  std::string_view other_class_name = {};  // what "architectures" may say instead
  // Keys that this class calls otherwise: the usual name, its own. Such a config.json is read, and never written.
  std::vector<std::pair<std::string_view, std::string_view>> own_keys = {};
  // What beside those it says; null: nothing. Behind the family's own.
  void (*read_own)(const HuggingFaceFields& fields, ModelConfig& config) = nullptr;
  // Of classes whose layers that do not slide have heads of their own: global_head_dim where it is absent; the part of
  // such a head that positions turn where nothing is said of them; 0: a class without such keys.
  std::uint64_t default_full_head_dim = 0;
  double default_proportional_part = 0;
  bool last_attends_to_all = false;           // the last layer does not slide whatever layer_types say
  std::uint64_t default_per_layer_width = 0;  // hidden_size_per_layer_input; 0: the class has none
};

struct Architecture {
  std::string_view title;                 // as people call it: "Qwen 2, Qwen 2.5"
  std::string_view name;                  // our name, ModelConfig::architecture
  std::string_view gguf_name;             // general.architecture
  bool gguf_interleaved_rotary = false;   // GGUF stores q and k rows so that rotary pairs are neighbours
  bool gguf_qkv_bias = false;             // GGUF files of this family always carry q, k and v biases
  std::uint64_t gguf_full_every = 0;      // as HfVariant::default_full_every, where GGUF files do not say it
  std::uint64_t gguf_default_window = 0;  // where GGUF files do not say it; 0: none
  double gguf_local_rope_base = 0;        // as HfVariant::default_local_rope_base
  bool gguf_whole_borders = true;         // RopeConfig::whole_borders, which GGUF files do not say
  bool gguf_longrope = false;             // llama.cpp reads the tensors of longrope for this family
  bool llama_cpp_slides = false;          // llama.cpp runs this family within its window
  std::string_view llama_cpp_fault =
      {};                          // what llama.cpp does otherwise whatever the file says: a sentence; empty: nothing
  bool gguf_expert_width = false;  // GGUF files have a key for the experts' width; else it is feed_forward_length
  bool hf_stacks_experts = false;  // transformers reads this family's experts from stacks alone
  // What config.json calls the gate's function, under which key: it must be this one.
  std::string_view activation_key = "hidden_act", activation = "silu";
  bool rotates_partly = false;  // positions may turn only the first channels of a head
  bool grows_base = false;      // dynamic positions with an alpha, which the base grows by whatever the length
  bool grows_queries = false;   // queries may grow with their position (RopeConfig::query_growth)
  bool gguf_yarn_keys =
      false;  // llama.cpp reads for this family how often yarn's channels turn, and its logarithm's factor
  std::vector<std::string_view> gguf_own_keys = {};  // that this family reads and others must not set
  bool has_latent = false;          // keys and values are made of a latent vector; read_gguf judges how long heads are
  bool gguf_lists_layers = false;   // heads and widths of layers may be lists in GGUF files, which read_gguf judges
  std::vector<HfVariant> variants;  // the first one is written when a GGUF file becomes a directory
  std::vector<TensorName> names;
  Graph (*draw_begin)(const ModelConfig& config) = nullptr;  // -> the stream
  Graph (*draw_layer)(const ModelConfig& config, std::int64_t layer) = nullptr;
  Graph (*draw_end)(const ModelConfig& config) = nullptr;  // the stream -> logits
  // What configurations of this family say beside what all decoders do; null: nothing, and the activation is SiLU.
  void (*read_huggingface)(const HuggingFaceFields& fields, ModelConfig& config) = nullptr;
  void (*read_gguf)(const GgufKeys& keys, ModelConfig& config) = nullptr;
  void (*write_huggingface)(const ModelConfig& config, nlohmann::ordered_json& json) = nullptr;
  void (*write_gguf)(const ModelConfig& config, const std::string& prefix,
                     GgufMetadata& metadata) = nullptr;  // Error(unsupported): has no words for it
};

// Every family; the one list is arch/all.h.
const std::vector<Architecture>& all_architectures();
// Error(unsupported) for an unknown name lists the known ones.
const Architecture& find_architecture(std::string_view name);

// What config.json of a family's first variant means where it leaves the keys out that only this family has.
// sliding_window: 0: none slides.
void set_family_defaults(ModelConfig& config, std::uint64_t sliding_window);

// The network that a configuration means.
Network draw_network(const ModelConfig& config);

// --- one model's tensors ---------------------------------------------------------------------------------------------

enum class Spelling { huggingface, gguf };
Spelling spelling_of(const Checkpoint& checkpoint);

struct ModelTensor {
  std::string part;         // "q", "expert_up.3"
  std::string kind;         // the same without an expert's number
  std::int64_t layer = -1;  // -1: of the whole model
  std::string hf_name, gguf_name;
  std::uint64_t expert = 0, experts = 0;  // which of how many, whose matrices share gguf_name; 0: a tensor of its own
  TensorRole role = TensorRole::linear;
  Shape shape;                       // [rows, cols] or [n]
  std::uint64_t permuted_heads = 0;  // heads whose rows are permuted between the spellings; 0: same rows in both
  // Heads whose rows, or columns, stand in another order: the last `heads` runs of `length`. heads 0: none do.
  struct Tiles {
    std::uint64_t heads = 0, key_heads = 0, length = 0;
    Spelling network = Spelling::huggingface;  // in whose order the network has them
  };
  Tiles tiled_rows = {}, tiled_columns = {};
  StoredNumbers hf_numbers = {};
  bool hf_middle_axis = false;                                    // TensorName's
  std::string hf_stack = {}, gguf_joint = {}, hf_own_stack = {};  // TensorName's, with the layer's number
  std::uint64_t place = 0, kinds = 1;
  bool alternates = false;

  // What a file of this spelling holds for the network's numbers, and as what shape.
  StoredNumbers numbers(Spelling spelling) const {
    return spelling == Spelling::huggingface ? hf_numbers : StoredNumbers{};
  }
  Shape file_shape(Spelling spelling) const;
  // Of each row, of a vector each element, or of each column in a file of one spelling, its place in a file of the
  // other; empty: the same.
  std::vector<std::uint32_t> rows_from(Spelling from, Spelling to) const;
  std::vector<std::uint32_t> columns_from(Spelling from, Spelling to) const;
  // Of each column of the network its place in a GGUF file, and the other way round; empty: the same.
  std::vector<std::uint32_t> network_columns() const { return columns_from(Spelling::gguf, tiled_columns.network); }
  std::vector<std::uint32_t> gguf_columns() const { return columns_from(tiled_columns.network, Spelling::gguf); }
  // What a file of this spelling may call what holds it, beside name(); empty: nothing else.
  const std::string& other_name(Spelling spelling) const { return spelling == Spelling::gguf ? gguf_joint : hf_stack; }
  // TensorName's, with the layer's number, and their sizes; empty: none.
  struct LatentHalves {
    std::string keys, values;
    LatentHalfShape shape;
  };
  LatentHalves gguf_halves = {};
  // Where the rows of a part that is no expert's, or a vector's numbers, lie in what has other_name(), and how many
  // rows that has.
  struct Run {
    std::uint64_t begin = 0, whole = 0;
  };
  Run hf_run = {}, gguf_run = {};
  const Run& run(Spelling spelling) const { return spelling == Spelling::gguf ? gguf_run : hf_run; }
  bool is_stacked(Spelling spelling) const { return experts != 0 && spelling == Spelling::gguf; }
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
  // By name in either spelling, of stacks the first that they hold; null when the model has no such tensor
  // ("rope_freqs.weight", "rotary_emb.inv_freq",
  // ...).
  const ModelTensor* find(std::string_view name) const noexcept;
  // By part and layer (-1 for the model's own); null when absent (a bias, a tied head).
  const ModelTensor* part(std::string_view part, std::int64_t layer) const noexcept;

 private:
  void join_runs();
  void require_named() const;

  const Architecture* architecture_;
  Network network_;
  std::vector<ModelTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> by_name_;  // views into tensors_
  std::unordered_map<std::string, std::size_t> by_part_;
};

// --- q and k rows ----------------------------------------------------------------------------------------------------

// Per head of head_dim rows: Hugging Face's row s * head_dim / 2 + i is GGUF's row 2i + s (s = 0, 1). Both take an
// index into the whole matrix or bias. Rows keep their bytes, so quantized rows move without being decoded.
std::uint64_t gguf_row_of(std::uint64_t huggingface_row, std::uint64_t head_dim);
std::uint64_t huggingface_row_of(std::uint64_t gguf_row, std::uint64_t head_dim);

// --- configuration in the other container ----------------------------------------------------------------------------

struct GgufModelOptions {
  std::string name = {};                        // general.name; empty: left out
  std::optional<std::uint32_t> file_type = {};  // general.file_type
};

// general.* and {arch}.* keys with the types that llama.cpp insists on; tokenizer keys come from Tokenizer::to_gguf.
// Error(unsupported) when a value has no key there.
GgufMetadata to_gguf_metadata(const ModelConfig& config, const GgufModelOptions& options);

// What rope_freqs.weight must hold [rotary_dim / 2], F32; empty: the file needs no such tensor.
inline constexpr std::string_view kRopeDivisorsName = "rope_freqs.weight";
inline constexpr std::string_view kShortRopeFactorsName = "rope_factors_short.weight",
                                  kLongRopeFactorsName = "rope_factors_long.weight";
std::vector<float> rope_frequency_divisors(const RopeConfig& rope);

// Tensors of GGUF files that are no weights: what rotary positions are divided by.
struct RopeTensor {
  std::string_view name;
  std::vector<float> values;
};
std::vector<RopeTensor> gguf_rope_tensors(const RopeConfig& rope);
bool is_rope_tensor(std::string_view name);

struct HfConfigOptions {
  std::string dtype = "bfloat16";  // of the unquantized tensors
  std::optional<std::int64_t> bos_token_id = {}, eos_token_id = {};
  std::string quantization_config_json = {};  // an object's text; empty: left out
};

// The text of config.json in keys that every version of transformers reads. Divisors from a GGUF file are recognised as
// llama3 scaling; Error(unsupported) when they are anything else.
std::string to_huggingface_config(const ModelConfig& config, const HfConfigOptions& options);

}  // namespace nibble
