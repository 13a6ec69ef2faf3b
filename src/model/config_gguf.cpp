// SPDX-License-Identifier: Apache-2.0
//
// The keys of GGUF files, as llama.cpp reads them: {arch}.NAME, where {arch} is the value of general.architecture.
#include <fmt/format.h>

#include <cmath>

#include "model/config_readers.h"
#include "model/foreign_quantization.h"
#include "nibble/error.h"
#include "tensor/shape.h"

namespace nibble {

namespace {

class Keys {
 public:
  Keys(const GgufMetadata& metadata, std::string source, std::string prefix)
      : metadata_(metadata), source_(std::move(source)), prefix_(std::move(prefix)) {}

  std::string full(std::string_view key) const { return prefix_ + std::string(key); }

  std::optional<std::uint64_t> integer(std::string_view key) const { return metadata_.unsigned_integer(full(key)); }
  std::uint64_t required_integer(std::string_view key) const {
    const auto value = integer(key);
    if (!value) missing(key);
    return *value;
  }
  // Counts that may differ between layers in the format; here they must be equal.
  std::optional<std::uint64_t> layer_integer(std::string_view key) const {
    const GgufValue* value = metadata_.find(full(key));
    if (value == nullptr || value->type != GgufType::array) return integer(key);
    const auto list = metadata_.numbers(full(key));
    if (!list || list->empty()) missing(key);
    for (const double v : *list)
      if (v != list->front()) unsupported(fmt::format("layers that differ in {} cannot be run", full(key)));
    if (!(list->front() >= 0 && list->front() < 1e9)) throw Error(ErrorKind::corrupt, fmt::format("{}: {}: {}", source_, full(key), list->front()));
    return static_cast<std::uint64_t>(list->front());
  }
  std::optional<double> number(std::string_view key) const { return metadata_.number(full(key)); }
  std::optional<std::string> string(std::string_view key) const { return metadata_.string(full(key)); }
  [[noreturn]] void missing(std::string_view key) const { throw Error(ErrorKind::corrupt, source_ + ": key is missing: " + full(key)); }
  [[noreturn]] void unsupported(const std::string& what) const { throw Error(ErrorKind::unsupported, source_ + ": " + what); }

 private:
  const GgufMetadata& metadata_;
  std::string source_, prefix_;
};

const Architecture& find_gguf_architecture(const std::string& name, const std::string& source) {
  std::string known;
  for (const Architecture& architecture : all_architectures()) {
    if (architecture.gguf_name == name) return architecture;
    known += (known.empty() ? "" : ", ") + std::string(architecture.gguf_name);
  }
  throw Error(ErrorKind::unsupported, fmt::format("{}: unknown general.architecture '{}'; known are {}", source, name, known));
}

void read_scaling(const Keys& keys, RopeConfig& rope) {
  const auto factor = keys.number("rope.scaling.factor") ? keys.number("rope.scaling.factor") : keys.number("rope.scale_linear");
  const std::string type = keys.string("rope.scaling.type").value_or("linear");
  if (type != "none" && type != "linear")
    keys.unsupported(fmt::format("rotary scaling can be none or linear; {}: {}", keys.full("rope.scaling.type"), type));
  if (keys.number("rope.scaling.attn_factor").value_or(1) != 1)
    keys.unsupported(keys.full("rope.scaling.attn_factor") + " other than 1 cannot be run");
  // A factor of 0 is llama.cpp's way of saying that nothing was set.
  if (type == "linear" && factor.value_or(0) != 0 && *factor != 1) {
    rope.scaling = RopeScaling::linear;
    rope.factor = *factor;
  }
}

void read_divisors(const Checkpoint& checkpoint, const std::string& source, RopeConfig& rope) {
  const StoredTensor* stored = checkpoint.find(kRopeDivisorsName);
  if (stored == nullptr) return;
  if (!is_same_shape(stored->shape, {rope.rotary_dim / 2}) || !stored->view.format)
    throw Error(ErrorKind::corrupt, fmt::format("{}: tensor {} has the wrong shape: expected [{}], found {}", source, kRopeDivisorsName,
                                                rope.rotary_dim / 2, shape_text(stored->shape)));
  rope.frequency_divisors.resize(rope.rotary_dim / 2);
  stored->view.decode_row(0, rope.frequency_divisors);
}

std::uint64_t read_vocab(const Checkpoint& checkpoint, const Keys& keys) {
  // llama.cpp takes the number of tokens; the embedding's rows are what must agree, and exist even without a tokenizer.
  const StoredTensor* embedding = checkpoint.find("token_embd.weight");
  if (embedding != nullptr && !embedding->shape.empty()) return matrix_size(embedding->shape).rows;  // [n] is one row of n
  return keys.integer("vocab_size").value_or(0);
}

}  // namespace

ModelConfig read_gguf_config(const Checkpoint& checkpoint, ConfigKeys& names) {
  const std::string source = checkpoint.path().string();
  const auto family = Keys(checkpoint.gguf(), source, "general.").string("architecture");
  if (!family) throw Error(ErrorKind::corrupt, source + ": key is missing: general.architecture");
  const Architecture& architecture = find_gguf_architecture(*family, source);
  refuse_tensor_scales(checkpoint);
  const Keys keys(checkpoint.gguf(), source, *family + ".");
  names = {source, keys.full("vocab_size"), keys.full("embedding_length"), keys.full("feed_forward_length"), keys.full("block_count"),
           keys.full("attention.head_count"), keys.full("attention.head_count_kv"), keys.full("attention.key_length"), keys.full("context_length"),
           keys.full("attention.layer_norm_rms_epsilon"), keys.full("rope.freq_base"), keys.full("rope.scaling.factor"), "", "", ""};

  if (keys.integer("expert_count").value_or(0) > 0) keys.unsupported("mixtures of experts cannot be run; " + keys.full("expert_count"));
  ModelConfig config;
  config.architecture = architecture.name;
  config.vocab_size = read_vocab(checkpoint, keys);
  config.hidden = keys.required_integer("embedding_length");
  config.layers = keys.required_integer("block_count");
  config.context = keys.required_integer("context_length");
  const auto intermediate = keys.layer_integer("feed_forward_length"), heads = keys.layer_integer("attention.head_count");
  if (!intermediate) keys.missing("feed_forward_length");
  if (!heads) keys.missing("attention.head_count");
  config.intermediate = *intermediate;
  config.heads = *heads;
  config.kv_heads = keys.layer_integer("attention.head_count_kv").value_or(config.heads);
  const bool divides = config.heads != 0 && config.hidden % config.heads == 0;
  config.head_dim = keys.integer("attention.key_length").value_or(divides ? config.hidden / config.heads : 0);
  if (keys.integer("attention.value_length").value_or(config.head_dim) != config.head_dim)
    keys.unsupported("values of another length than keys cannot be run; " + keys.full("attention.value_length"));
  const auto epsilon = keys.number("attention.layer_norm_rms_epsilon");
  if (!epsilon) keys.missing("attention.layer_norm_rms_epsilon");
  config.norm_epsilon = static_cast<float>(*epsilon);
  config.tied_embedding = checkpoint.find("output.weight") == nullptr;
  config.attention_bias = architecture.gguf_qkv_bias || checkpoint.find("blk.0.attn_q.bias") != nullptr;
  config.output_bias = checkpoint.find("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = checkpoint.find("blk.0.ffn_gate.bias") != nullptr;

  RopeConfig& rope = config.rope;
  rope.half_split = !architecture.gguf_interleaved_rotary;
  rope.base = keys.number("rope.freq_base").value_or(10000);
  rope.rotary_dim = keys.integer("rope.dimension_count").value_or(config.head_dim);
  if (config.head_dim != 0 && rope.rotary_dim != config.head_dim)
    keys.unsupported(fmt::format("rotary positions on part of a head cannot be run; {}: {}", keys.full("rope.dimension_count"), rope.rotary_dim));
  read_scaling(keys, rope);
  read_divisors(checkpoint, source, rope);
  return config;
}

}  // namespace nibble
