// SPDX-License-Identifier: Apache-2.0
#include "model/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <initializer_list>

#include "base/memory.h"
#include "base/progress_meter.h"
#include "base/random.h"
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

// Consecutive tokens of one sequence that are part of a batch, in its rows row .. row + count.
struct Piece {
  KvCache* cache;
  std::span<const std::int32_t> tokens;
  std::size_t row, skip;  // logits are made for the tokens from skip on

  std::size_t count() const { return tokens.size(); }
};

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

namespace {

bool has_quantized_weights(const Checkpoint& checkpoint) {
  return std::ranges::any_of(checkpoint.tensors(), [](const StoredTensor& tensor) {
    return tensor.view.format != nullptr && tensor.view.format->info().kind != FormatKind::raw;
  });
}

}  // namespace

struct Decoder::State {
  State(const SourceModel& checkpoint, const DecoderOptions& given, ThreadPool& threads)
      : config(checkpoint.config()), options(given), kv(given.kv.value_or(has_quantized_weights(checkpoint) ? KvType::q8_0 : KvType::f16)),
        pool(threads), frequencies(rope_inverse_frequencies(config.rope)) {
    load(checkpoint);
    options.progress = nullptr;
  }

  ModelConfig config;
  DecoderOptions options;
  KvType kv = KvType::f16;
  ThreadPool& pool;
  std::vector<double> frequencies;
  PackedLinear embedding;
  std::vector<Layer> layers;
  std::vector<float> final_norm;
  PackedLinear head;  // unused when tied
  Activations a;
  std::vector<AttentionPiece> attended;
  KernelScratch scratch;

  Isa isa() const { return options.kernels.isa; }
  void load(const SourceModel& checkpoint);
  void embed(const Piece& piece);
  void rotary_table(const Piece& piece);
  struct Product {
    const Linear* linear;
    float* y;
  };
  void multiply(std::initializer_list<Product> products, const float* x, std::size_t tokens);
  void attention_block(const Layer& layer, std::size_t index, std::span<const Piece> pieces, std::size_t tokens);
  void mlp_block(const Layer& layer, std::size_t tokens);
  std::size_t logits_of(std::span<const Piece> pieces, float* logits);
  std::size_t run_batch(std::span<const Piece> pieces, std::size_t tokens, std::size_t first_token, float* logits, const StreamVisitor& visitor);
};

// --- loading ---------------------------------------------------------------------------------------------------------------------------

void Decoder::State::load(const SourceModel& checkpoint) {
  checkpoint.require_unchanged();
  const WeightLoader loader(checkpoint, checkpoint.parts(), options.kernels, pool);
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
  checkpoint.require_unchanged();
  meter.report(++done, "head");
}

Decoder::Decoder(const SourceModel& checkpoint, const DecoderOptions& options, ThreadPool& pool)
    : state_(std::make_unique<State>(checkpoint, options, pool)) {}

Decoder::Decoder(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;

const ModelConfig& Decoder::config() const noexcept { return state_->config; }
Isa Decoder::isa() const noexcept { return state_->isa(); }

KvType Decoder::kv_type() const noexcept { return state_->kv; }

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

Arithmetic Decoder::arithmetic() const noexcept {
  std::array<std::uint64_t, 3> parameters = {};
  for (const Layer& layer : state_->layers)
    for (const Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
      parameters[static_cast<std::size_t>(linear->weight.arithmetic())] += linear->weight.rows() * linear->weight.cols();
  return static_cast<Arithmetic>(std::ranges::max_element(parameters) - parameters.begin());
}

bool Decoder::multiplies_in_f32() const noexcept {
  const auto exact = [](const PackedLinear& weight) { return weight.arithmetic() == Arithmetic::f32; };
  const auto all_exact = [&](const Layer& layer) {
    return std::ranges::all_of(std::array{&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down},
                               [&](const Linear* linear) { return exact(linear->weight); });
  };
  return exact(state_->config.tied_embedding ? state_->embedding : state_->head) && std::ranges::all_of(state_->layers, all_exact);
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
  // Memory is given out long before it is there, so a cache that cannot be held would end the process in the middle of a text.
  constexpr std::array kBits = {32.0, 16.0, 8.5, 4.5};
  constexpr std::uint64_t kLittle = 64u << 20;
  const double bytes = static_cast<double>(capacity) * static_cast<double>(2 * c.layers * c.kv_heads * c.head_dim) *
                       kBits[static_cast<std::size_t>(state_->kv)] / 8;
  const std::uint64_t available = bytes < static_cast<double>(kLittle) ? kLittle : available_memory();
  const auto refuse = [&] {
    throw Error(ErrorKind::resource,
                fmt::format("the key/value cache is too large for the memory there is; shorten the context or keep it in fewer bits: {:.0f} bytes "
                            "for {} "
                            "tokens, available {}",
                            bytes, capacity, available),
                "context");
  };
  if (bytes > static_cast<double>(available)) refuse();
  KvCache cache;
  cache.capacity_ = capacity;
  try {
    for (std::uint64_t i = 0; i < c.layers; ++i) cache.layers_.emplace_back(capacity, c.kv_heads, c.head_dim, state_->kv);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::resource) refuse();
    throw;
  }
  return cache;
}

void Decoder::fill(KvCache& cache, std::size_t length) const {
  const ModelConfig& c = state_->config;
  assert(cache.length_ == 0 && length <= cache.capacity_);
  constexpr std::size_t kPiece = 64;
  Random random(1);
  std::vector<float> values(kPiece * c.kv_heads * c.head_dim);
  for (float& value : values) value = static_cast<float>(random.normal());
  for (KvLayer& layer : cache.layers_)
    for (std::size_t at = 0; at < length; at += kPiece) {
      const AttentionPiece piece{&layer, at, std::min(kPiece, length - at), nullptr, values.data(), values.data(), nullptr};
      store_keys_values({&piece, 1}, state_->pool);
    }
  cache.length_ = length;
}

// --- the forward pass ------------------------------------------------------------------------------------------------------------------

void Decoder::State::embed(const Piece& piece) {
  pool.parallel_for(piece.count(), 8, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t)
      embedding.decode_row(static_cast<std::uint64_t>(piece.tokens[t]), &a.x[(piece.row + t) * config.hidden]);
  });
}

void Decoder::State::rotary_table(const Piece& piece) {
  for (std::size_t t = 0; t < piece.count(); ++t)
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const double angle = static_cast<double>(piece.cache->length() + t) * frequencies[i];
      a.cosine[(piece.row + t) * frequencies.size() + i] = static_cast<float>(std::cos(angle));
      a.sine[(piece.row + t) * frequencies.size() + i] = static_cast<float>(std::sin(angle));
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
void Decoder::State::attention_block(const Layer& layer, std::size_t index, std::span<const Piece> pieces, std::size_t tokens) {
  const RopeConfig& r = config.rope;
  rms_norm(a.x.data(), layer.attention_norm.data(), tokens, config.hidden, config.norm_epsilon, a.normed.data(), isa(), pool);
  multiply({{&layer.q, a.q.data()}, {&layer.k, a.k.data()}, {&layer.v, a.v.data()}}, a.normed.data(), tokens);
  rope(a.q.data(), a.cosine.data(), a.sine.data(), tokens, config.heads, config.head_dim, r.rotary_dim, r.half_split, isa(), pool);
  rope(a.k.data(), a.cosine.data(), a.sine.data(), tokens, config.kv_heads, config.head_dim, r.rotary_dim, r.half_split, isa(), pool);
  attended.clear();
  const std::size_t width = config.heads * config.head_dim, kv_width = config.kv_heads * config.head_dim;
  for (const Piece& p : pieces)
    attended.push_back({&p.cache->layers_[index], p.cache->length(), p.count(), &a.q[p.row * width], &a.k[p.row * kv_width], &a.v[p.row * kv_width],
                        &a.mixed[p.row * width]});
  store_keys_values(attended, pool);
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config.head_dim)));
  attention(attended, config.heads, scale, isa(), pool, scratch);
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

// logits = head(norm(x)) for the tokens that want them; returns how many rows that made.
std::size_t Decoder::State::logits_of(std::span<const Piece> pieces, float* logits) {
  std::size_t count = 0;
  for (const Piece& p : pieces) {
    const std::size_t wanted = p.count() - p.skip;
    rms_norm(a.x.data() + (p.row + p.skip) * config.hidden, final_norm.data(), wanted, config.hidden, config.norm_epsilon,
             a.normed.data() + count * config.hidden, isa(), pool);
    count += wanted;
  }
  const PackedLinear& output = config.tied_embedding ? embedding : head;
  if (count != 0) output.multiply(a.normed.data(), count, logits, pool, scratch);
  return count;
}

std::size_t Decoder::State::run_batch(std::span<const Piece> pieces, std::size_t tokens, std::size_t first_token, float* logits,
                                      const StreamVisitor& visitor) {
  const auto show = [&](std::size_t passed) {
    if (visitor) visitor({passed, first_token, std::span(a.x).first(tokens * config.hidden)});
  };
  for (const Piece& piece : pieces) {
    embed(piece);
    rotary_table(piece);
  }
  show(0);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    attention_block(layers[i], i, pieces, tokens);
    mlp_block(layers[i], tokens);
    show(i + 1);
  }
  for (const Piece& piece : pieces) piece.cache->length_ += piece.count();
  return logits_of(pieces, logits);
}

namespace {

void check_step(const SequenceStep& step, std::uint64_t vocab) {
  const KvCache& cache = *step.cache;
  if (step.tokens.size() > cache.capacity() - cache.length())
    throw Error(ErrorKind::invalid_argument, fmt::format("the cache is too short for these tokens: capacity {}, filled {}, new {}", cache.capacity(),
                                                         cache.length(), step.tokens.size()));
  for (std::size_t t = 0; t < step.tokens.size(); ++t)
    if (step.tokens[t] < 0 || static_cast<std::uint64_t>(step.tokens[t]) >= vocab)
      throw Error(ErrorKind::unusable_input, fmt::format("token {} is outside the vocabulary of {}: id {}", t, vocab, step.tokens[t]));
}

}  // namespace

void Decoder::step(std::span<const SequenceStep> steps, std::span<float> logits) { run(steps, logits, {}); }

void Decoder::run(std::span<const SequenceStep> steps, std::span<float> logits, const StreamVisitor& visitor) {
  State& s = *state_;
  const std::uint64_t vocab = s.config.vocab_size;
  std::size_t total = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    check_step(steps[i], vocab);
    assert(steps[i].first <= steps[i].tokens.size());
    for (std::size_t j = 0; j < i; ++j)
      if (steps[j].cache == steps[i].cache)
        throw Error(ErrorKind::invalid_argument, fmt::format("a step takes each sequence once, but two share a cache: {} and {}", j, i));
    total += steps[i].tokens.size();
  }
  s.a.reserve(s.config, std::min(total, kMaxBatch));

  std::vector<Piece> pieces;
  std::size_t rows = 0, done = 0, written = 0;
  const auto flush = [&] {
    if (rows != 0) written += s.run_batch(pieces, rows, done, logits.data() + written * vocab, visitor);
    pieces.clear();
    done += rows;
    rows = 0;
  };
  for (const SequenceStep& step : steps)
    for (std::size_t begin = 0; begin < step.tokens.size();) {
      const std::size_t count = std::min(kMaxBatch - rows, step.tokens.size() - begin);
      pieces.push_back({step.cache, step.tokens.subspan(begin, count), rows, std::clamp(step.first, begin, begin + count) - begin});
      rows += count;
      begin += count;
      if (rows == kMaxBatch) flush();
    }
  flush();
  assert(logits.size() == written * vocab);
}

void Decoder::forward_from(KvCache& cache, std::span<const std::int32_t> tokens, std::size_t first, std::span<float> logits,
                           const StreamVisitor& visitor) {
  const SequenceStep alone{&cache, tokens, first};
  run(std::span(&alone, 1), logits, visitor);
}

void Decoder::forward(KvCache& cache, std::span<const std::int32_t> tokens, LogitsFor which, std::span<float> logits) {
  const std::size_t first = which == LogitsFor::all || tokens.empty() ? 0 : tokens.size() - 1;
  forward_from(cache, tokens, first, logits);
}

}  // namespace nibble
