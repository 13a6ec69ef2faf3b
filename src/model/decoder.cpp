// SPDX-License-Identifier: Apache-2.0
#include "model/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <initializer_list>

#include "base/progress_meter.h"
#include "kernels/vector_ops.h"
#include "model/arch/architecture.h"
#include "model/weights.h"
#include "nibble/error.h"

namespace nibble {

namespace {

// Long prompts are cut so that scratch stays small; results do not depend on the cut.
constexpr std::size_t kMaxBatch = 512;

struct Linear {
  PackedLinear weight;
  std::vector<float> bias;  // empty: none
};

struct Layer {
  std::vector<float> attention_norm, mlp_norm;
  Linear q, k, v, o, gate, up, down;
};

void add_bias(std::span<const float> bias, std::size_t tokens, float* y) {
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t i = 0; i < bias.size(); ++i) y[t * bias.size() + i] += bias[i];
}

// Activations of one batch, kept between calls.
struct Activations {
  std::vector<float> x, normed, q, k, v, mixed, gate, up, cosine, sine;

  void reserve(const ModelConfig& config, std::size_t tokens) {
    const auto grow = [&](std::vector<float>& values, std::uint64_t width) {
      if (values.size() < tokens * width) values.resize(tokens * width);
    };
    grow(x, config.hidden);
    grow(normed, config.hidden);
    grow(q, config.heads * config.head_dim);
    grow(k, config.kv_heads * config.head_dim);
    grow(v, config.kv_heads * config.head_dim);
    grow(mixed, config.heads * config.head_dim);
    grow(gate, config.intermediate);
    grow(up, config.intermediate);
    grow(cosine, config.rope.rotary_dim / 2);
    grow(sine, config.rope.rotary_dim / 2);
  }
};

}  // namespace

std::uint64_t KvCache::resident_bytes() const noexcept {
  std::uint64_t bytes = 0;
  for (const KvLayer& layer : layers_) bytes += layer.resident_bytes();
  return bytes;
}

struct Decoder::State {
  State(const Checkpoint& checkpoint, const DecoderOptions& given, ThreadPool& threads)
      : config(read_model_config(checkpoint)), options(given), pool(threads), frequencies(rope_inverse_frequencies(config.rope)) {
    load(checkpoint);
    options.progress = nullptr;
  }

  ModelConfig config;
  DecoderOptions options;
  ThreadPool& pool;
  std::vector<double> frequencies;
  PackedLinear embedding;
  std::vector<Layer> layers;
  std::vector<float> final_norm;
  PackedLinear head;  // unused when tied
  Activations a;
  KernelScratch scratch;

  Isa isa() const { return options.kernels.isa; }
  void load(const Checkpoint& checkpoint);
  void embed(std::span<const std::int32_t> tokens);
  void rotary_table(std::size_t position, std::size_t tokens);
  struct Product {
    const Linear* linear;
    float* y;
  };
  void multiply(std::initializer_list<Product> products, const float* x, std::size_t tokens);
  void attention_block(const Layer& layer, KvLayer& cache, std::size_t position, std::size_t tokens);
  void mlp_block(const Layer& layer, std::size_t tokens);
  void logits_of(std::size_t first, std::size_t tokens, float* logits);
};

// --- loading ---------------------------------------------------------------------------------------------------------------------------

void Decoder::State::load(const Checkpoint& checkpoint) {
  const ModelTensors tensors(config);
  const WeightLoader loader(checkpoint, tensors, options.kernels, pool);
  ProgressMeter meter(options.progress, "load", config.layers + 2);
  std::uint64_t done = 0;
  embedding = loader.matrix("embedding", -1);
  meter.report(++done, "embedding");
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(config.layers); ++i) {
    const auto linear = [&](const std::string& part) { return Linear{loader.matrix(part, i), loader.vector(part + ".bias", i)}; };
    layers.push_back(Layer{loader.vector("attention_norm", i), loader.vector("mlp_norm", i), linear("q"), linear("k"), linear("v"), linear("o"),
                           linear("gate"), linear("up"), linear("down")});
    meter.report(++done, "layers");
  }
  final_norm = loader.vector("final_norm", -1);
  if (!config.tied_embedding) head = loader.matrix("head", -1);
  meter.report(++done, "head");
}

Decoder::Decoder(const Checkpoint& checkpoint, const DecoderOptions& options, ThreadPool& pool)
    : state_(std::make_unique<State>(checkpoint, options, pool)) {}

Decoder::Decoder(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;

const ModelConfig& Decoder::config() const noexcept { return state_->config; }

std::uint64_t Decoder::resident_bytes() const noexcept {
  std::uint64_t bytes = state_->embedding.resident_bytes() + state_->final_norm.size() * sizeof(float);
  if (!state_->config.tied_embedding) bytes += state_->head.resident_bytes();
  for (const Layer& layer : state_->layers) {
    bytes += (layer.attention_norm.size() + layer.mlp_norm.size()) * sizeof(float);
    for (const Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
      bytes += linear->weight.resident_bytes() + linear->bias.size() * sizeof(float);
  }
  return bytes;
}

std::uint64_t Decoder::linear_parameters() const noexcept {
  const ModelConfig& c = state_->config;
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  return c.layers * c.hidden * (2 * query + 2 * key_value + 3 * c.intermediate);
}

KvCache Decoder::new_cache(std::size_t capacity) const {
  const ModelConfig& c = state_->config;
  if (capacity > c.context && c.sliding_window > 0)
    throw Error(ErrorKind::unsupported, fmt::format("this model attends within a sliding window, which can be run only up to the window's length; "
                                                    "use a shorter context: window {}, asked for {}", c.sliding_window, capacity));
  KvCache cache;
  cache.capacity_ = capacity;
  for (std::uint64_t i = 0; i < c.layers; ++i) cache.layers_.emplace_back(capacity, c.kv_heads, c.head_dim, state_->options.kv);
  return cache;
}

// --- the forward pass ------------------------------------------------------------------------------------------------------------------

void Decoder::State::embed(std::span<const std::int32_t> tokens) {
  pool.parallel_for(tokens.size(), 8, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) embedding.decode_row(static_cast<std::uint64_t>(tokens[t]), &a.x[t * config.hidden]);
  });
}

void Decoder::State::rotary_table(std::size_t position, std::size_t tokens) {
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const double angle = static_cast<double>(position + t) * frequencies[i];
      a.cosine[t * frequencies.size() + i] = static_cast<float>(std::cos(angle));
      a.sine[t * frequencies.size() + i] = static_cast<float>(std::sin(angle));
    }
}

// Products with the same inputs.
void Decoder::State::multiply(std::initializer_list<Product> products, const float* x, std::size_t tokens) {
  std::array<LinearProduct, kMostProducts> weights;
  std::size_t count = 0;
  for (const Product& product : products) weights[count++] = {&product.linear->weight, product.y};
  multiply_all({weights.data(), count}, x, tokens, pool, scratch);
  for (const Product& product : products) add_bias(product.linear->bias, tokens, product.y);
}

// x += o(attention(rope(q(norm(x))), rope(k(norm(x))), v(norm(x))))
void Decoder::State::attention_block(const Layer& layer, KvLayer& cache, std::size_t position, std::size_t tokens) {
  const RopeConfig& r = config.rope;
  rms_norm(a.x.data(), layer.attention_norm.data(), tokens, config.hidden, config.norm_epsilon, a.normed.data(), isa(), pool);
  multiply({{&layer.q, a.q.data()}, {&layer.k, a.k.data()}, {&layer.v, a.v.data()}}, a.normed.data(), tokens);
  rope(a.q.data(), a.cosine.data(), a.sine.data(), tokens, config.heads, config.head_dim, r.rotary_dim, r.half_split, isa(), pool);
  rope(a.k.data(), a.cosine.data(), a.sine.data(), tokens, config.kv_heads, config.head_dim, r.rotary_dim, r.half_split, isa(), pool);
  cache.store(position, tokens, a.k.data(), a.v.data(), isa(), pool);
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config.head_dim)));
  attention(a.q.data(), tokens, config.heads, position, scale, cache, a.mixed.data(), isa(), pool, scratch);
  multiply({{&layer.o, a.normed.data()}}, a.mixed.data(), tokens);
  add_in_place(a.x.data(), a.normed.data(), tokens * config.hidden, isa(), pool);
}

// x += down(silu(gate(norm(x))) * up(norm(x)))
void Decoder::State::mlp_block(const Layer& layer, std::size_t tokens) {
  rms_norm(a.x.data(), layer.mlp_norm.data(), tokens, config.hidden, config.norm_epsilon, a.normed.data(), isa(), pool);
  multiply({{&layer.gate, a.gate.data()}, {&layer.up, a.up.data()}}, a.normed.data(), tokens);
  silu_multiply(a.gate.data(), a.up.data(), tokens * config.intermediate, a.gate.data(), isa(), pool);
  multiply({{&layer.down, a.normed.data()}}, a.gate.data(), tokens);
  add_in_place(a.x.data(), a.normed.data(), tokens * config.hidden, isa(), pool);
}

// logits = head(norm(x)) for the tokens from `first` on.
void Decoder::State::logits_of(std::size_t first, std::size_t tokens, float* logits) {
  const std::size_t count = tokens - first;
  rms_norm(&a.x[first * config.hidden], final_norm.data(), count, config.hidden, config.norm_epsilon, a.normed.data(), isa(), pool);
  const PackedLinear& output = config.tied_embedding ? embedding : head;
  output.multiply(a.normed.data(), count, logits, pool, scratch);
}

void Decoder::forward_from(KvCache& cache, std::span<const std::int32_t> tokens, std::size_t first, std::span<float> logits) {
  State& s = *state_;
  const std::uint64_t vocab = s.config.vocab_size;
  assert(first <= tokens.size() && logits.size() == (tokens.size() - first) * vocab);
  if (tokens.size() > cache.capacity() - cache.length())
    throw Error(ErrorKind::invalid_argument, fmt::format("the cache is too short for these tokens: capacity {}, filled {}, new {}", cache.capacity(),
                                                         cache.length(), tokens.size()));
  for (std::size_t t = 0; t < tokens.size(); ++t)
    if (tokens[t] < 0 || static_cast<std::uint64_t>(tokens[t]) >= vocab)
      throw Error(ErrorKind::invalid_argument, fmt::format("token {} is outside the vocabulary of {}: id {}", t, vocab, tokens[t]));

  s.a.reserve(s.config, std::min(tokens.size(), kMaxBatch));
  for (std::size_t begin = 0; begin < tokens.size(); begin += kMaxBatch) {
    const std::size_t count = std::min(kMaxBatch, tokens.size() - begin);
    s.embed(tokens.subspan(begin, count));
    s.rotary_table(cache.length_, count);
    for (std::size_t i = 0; i < s.layers.size(); ++i) {
      s.attention_block(s.layers[i], cache.layers_[i], cache.length_, count);
      s.mlp_block(s.layers[i], count);
    }
    cache.length_ += count;
    if (begin + count <= first) continue;
    const std::size_t skip = first > begin ? first - begin : 0;
    s.logits_of(skip, count, &logits[(begin + skip - first) * vocab]);
  }
}

void Decoder::forward(KvCache& cache, std::span<const std::int32_t> tokens, LogitsFor which, std::span<float> logits) {
  const std::size_t first = which == LogitsFor::all || tokens.empty() ? 0 : tokens.size() - 1;
  forward_from(cache, tokens, first, logits);
}

}  // namespace nibble
