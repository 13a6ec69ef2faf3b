// SPDX-License-Identifier: Apache-2.0
#include "engine/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <map>
#include <string>

#include "base/memory.h"
#include "base/progress_meter.h"
#include "base/random.h"
#include "engine/crossing_values.h"
#include "engine/program.h"
#include "engine/weights.h"
#include "graph/network.h"
#include "kernels/attention/coded_chunk.h"
#include "nibble/error.h"

namespace nibble {

namespace {

// Long prompts are cut so that scratch stays small; results do not depend on the cut.
constexpr std::size_t kMaxBatch = 512;

// A drawing's weights, in the order in which its program reads them.
struct LoadedWeights {
  std::vector<PackedLinear> own;
  std::vector<std::vector<float>> biases, vectors;
  std::vector<LatentHeads> latents;
  ProgramWeights program;  // views of these, or of matrices that are the model's

  std::uint64_t resident_bytes() const {
    std::uint64_t bytes = 0;
    for (const PackedLinear& linear : own) bytes += linear.resident_bytes();
    for (const LatentHeads& heads : latents) bytes += heads.resident_bytes();
    for (const auto* const some : {&biases, &vectors})
      for (const std::vector<float>& vector : *some) bytes += vector.size() * sizeof(float);
    return bytes;
  }
};

struct Layer {
  const Program* program;
  CrossingValues::Places crossings;
  std::size_t first_recurrent;  // in a sequence's cache
  LoadedWeights weights;
  std::vector<KvLayer*> caches;  // of one batch, [states, pieces]
};

// Consecutive tokens of one sequence that are part of a batch, in its rows row .. row + count.
struct Piece {
  KvCache* cache;
  std::span<const std::int32_t> tokens;
  std::size_t row, skip;  // logits are made for the tokens from skip on

  std::size_t count() const { return tokens.size(); }
};

}  // namespace

KvType default_kv_type(const Checkpoint& checkpoint) {
  const bool is_quantized = std::ranges::any_of(checkpoint.tensors(), [](const StoredTensor& tensor) {
    return tensor.values.format() != nullptr && tensor.values.format()->info().kind != FormatKind::raw;
  });
  return is_quantized ? KvType::q8_0 : KvType::f16;
}

std::uint64_t KvCache::resident_bytes() const noexcept {
  std::uint64_t bytes = 0;
  for (const Layer& layer : layers_) bytes += layer.pages.resident_bytes();
  // Each saved point has a copy.
  const auto points =
      static_cast<std::uint64_t>(std::ranges::count_if(points_, [](const auto& point) { return !point.expired(); }));
  for (const std::vector<float>& numbers : recurrent_) bytes += numbers.size() * sizeof(float) * (1 + points);
  return bytes;
}

void KvCache::clear() noexcept {
  shorten(0);
  is_torn_ = false;
  for (std::vector<float>& numbers : recurrent_) std::ranges::fill(numbers, 0.0f);
  oldest_saved_ = SIZE_MAX;
  give_up_unseen();
}

SavedPoint KvCache::save() {
  auto saved = std::make_shared<SavedPoint::Saved>(SavedPoint::Saved{length_, recurrent_});
  std::erase_if(points_, [](const auto& point) { return point.expired(); });
  points_.push_back(saved);
  oldest_saved_ = std::min(oldest_saved_, length_);
  return SavedPoint(std::move(saved));
}

void KvCache::restore(const SavedPoint& point) noexcept {
  shorten(point.length());
  for (std::size_t i = 0; i < recurrent_.size(); ++i)
    std::ranges::copy(point.saved_->recurrent[i], recurrent_[i].begin());
  is_torn_ = false;
  give_up_unseen();
}

void KvCache::go_back(std::size_t length) noexcept {
  if (!recurrent_.empty() && (length != length_ || is_torn_)) return clear();
  const bool is_there = std::ranges::all_of(layers_, [&](const Layer& layer) {
    return layer.window == 0 || layer.pages.first_position() <= (length < layer.window ? 0 : length + 1 - layer.window);
  });
  if (!is_there && length_ != length) return clear();
  shorten(length);
  give_up_unseen();
}

std::uint64_t kept_positions(const KeyValueState& state, std::uint64_t capacity) noexcept {
  const std::uint64_t all = (capacity + kKvChunk - 1) / kKvChunk * kKvChunk;
  if (state.window == 0 || state.window >= capacity) return all;
  // The first of a batch sees window - 1 positions before it; either end may lie anywhere in its page.
  const std::uint64_t seen = state.window - 1 + kMaxBatch;
  return std::min(all, (seen + 2 * kKvPage - 2) / kKvPage * kKvPage);
}

// Points behind the new end are of a text that is no more.
void KvCache::shorten(std::size_t length) noexcept {
  length_ = std::min(length_, length);
  for (const auto& point : points_)
    if (const auto saved = point.lock(); saved && saved->length > length_) saved->is_there = false;
}

// The next token stands at length_, or at a saved point.
void KvCache::give_up_unseen() noexcept {
  const std::size_t next = std::min(length_, oldest_saved_);
  for (Layer& layer : layers_)
    if (layer.window != 0) layer.pages.keep(next < layer.window ? 0 : next + 1 - layer.window, length_);
}

struct Decoder::State {
  State(const SourceModel& checkpoint, const DecoderOptions& given, Machine& given_machine)
      : config(checkpoint.config()),
        network(checkpoint.parts().network()),
        options(given),
        kv(given.kv.value_or(default_kv_type(checkpoint))),
        machine(given_machine) {
    for (const KeyValueState& state : network.states()) require_rotation(state.head_dim, kv);
    load(checkpoint);
    options.progress = nullptr;
  }

  ModelConfig config;
  Network network;
  DecoderOptions options;
  KvType kv = KvType::f16;
  Machine& machine;
  Workspace workspace;
  std::map<const DrawnGraph*, Program> programs;
  std::map<std::string, PackedLinear>
      shared;  // the model's own matrices: begin and end read the same one where the two are tied
  LoadedWeights begin, end;
  CrossingValues crossing;
  CrossingValues::Places begin_crossings;
  std::vector<Layer> layers;
  // Of one batch, kept between calls.
  std::vector<float> stream,
      last;  // [tokens, hidden]: on its way through the layers; rows of several pieces that logits are made of
  std::vector<std::int32_t> ids;
  std::vector<BatchPiece> rows;
  std::vector<float*> memories;  // [recurrent, pieces]

  void load(const SourceModel& checkpoint);
  const Program& program_of(const DrawnGraph& drawn);
  LoadedWeights load_weights(const WeightLoader& loader, const Program& program, std::int64_t layer);
  void fill_batch(std::span<const Piece> pieces, std::size_t tokens);
  std::size_t logits_of(std::span<const Piece> pieces, float* logits);
  std::size_t run_batch(std::span<const Piece> pieces, std::size_t tokens, std::size_t first_token, float* logits,
                        const StreamVisitor& visitor);

  template <typename Visit>  // visit(weights) of each of the layers' Linears
  void visit_linears(const Visit& visit) const {
    for (const Layer& layer : layers)
      for (const PackedLinear& linear : layer.weights.own) visit(linear);
  }
};

// --- loading ---------------------------------------------------------------------------------------------------------

const Program& Decoder::State::program_of(const DrawnGraph& drawn) {
  const auto known = programs.find(&drawn);
  if (known != programs.end()) return known->second;
  const Graph& graph = drawn.graph;
  return programs.emplace(&drawn, Program(graph, span_beside_states(graph), workspace.rotary)).first->second;
}

// layer: -1 where the matrices are the model's.
LoadedWeights Decoder::State::load_weights(const WeightLoader& loader, const Program& program, std::int64_t layer) {
  LoadedWeights loaded;
  for (const Program::LinearUse& use : program.linears()) {
    if (layer >= 0)
      loaded.own.push_back(loader.matrix(use.part, layer));
    else if (!shared.contains(use.part))
      shared.emplace(use.part, loader.matrix(use.part, layer));
    loaded.biases.push_back(use.bias.empty() ? std::vector<float>{} : loader.vector(use.bias, layer));
  }
  for (const std::string& part : program.vectors()) loaded.vectors.push_back(loader.vector(part, layer));
  for (const Program::LatentUse& use : program.latents())
    loaded.latents.push_back(loader.latent_heads(use.part, layer, use.shape));
  for (const LatentHeads& heads : loaded.latents) loaded.program.latents.push_back(&heads);
  for (std::size_t i = 0; i < program.linears().size(); ++i)
    loaded.program.linears.push_back(layer >= 0 ? &loaded.own[i] : &shared.at(program.linears()[i].part));
  loaded.program.biases.assign(loaded.biases.begin(), loaded.biases.end());
  loaded.program.vectors.assign(loaded.vectors.begin(), loaded.vectors.end());
  return loaded;
}

void Decoder::State::load(const SourceModel& checkpoint) {
  checkpoint.require_unchanged();
  const WeightLoader loader(checkpoint, checkpoint.parts(), options.kernels, machine);
  ProgressMeter meter(options.progress, "load", config.layers + 2);
  std::uint64_t done = 0;
  begin = load_weights(loader, program_of(network.begin()), -1);
  begin_crossings = crossing.add(network.begin().graph, Network::kBegin);
  meter.report(++done, "embedding");
  std::size_t recurrent = 0;
  for (std::int64_t i = 0; i < network.num_layers(); ++i) {
    const DrawnGraph& drawn = network.layer(i);
    if (program_of(drawn).place_of(0) != 0)
      throw Error(ErrorKind::internal, "a layer's drawing does not leave the stream where it found it");
    layers.push_back(
        {&program_of(drawn), crossing.add(drawn.graph, i), recurrent, load_weights(loader, program_of(drawn), i), {}});
    recurrent += drawn.graph.recurrent.size();
    meter.report(++done, "layers");
  }
  end = load_weights(loader, program_of(network.end()), -1);
  checkpoint.require_unchanged();
  meter.report(++done, "head");
}

Decoder::Decoder(const SourceModel& checkpoint, const DecoderOptions& options, Machine& machine)
    : state_(std::make_unique<State>(checkpoint, options, machine)) {}

Decoder::Decoder(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;

const ModelConfig& Decoder::config() const noexcept { return state_->config; }
Isa Decoder::isa() const noexcept { return state_->machine.isa; }

KvType Decoder::kv_type() const noexcept { return state_->kv; }

std::uint64_t Decoder::resident_bytes() const noexcept {
  std::uint64_t bytes = state_->begin.resident_bytes() + state_->end.resident_bytes();
  for (const auto& [part, matrix] : state_->shared) bytes += matrix.resident_bytes();
  for (const Layer& layer : state_->layers) bytes += layer.weights.resident_bytes();
  return bytes;
}

Arithmetic Decoder::arithmetic() const noexcept {
  std::array<std::uint64_t, 3> parameters = {};
  state_->visit_linears([&](const PackedLinear& linear) {
    parameters[static_cast<std::size_t>(linear.arithmetic())] += linear.rows() * linear.cols();
  });
  return static_cast<Arithmetic>(std::ranges::max_element(parameters) - parameters.begin());
}

bool Decoder::multiplies_in_f32() const noexcept {
  const auto is_exact = [](const PackedLinear* weight) { return weight->arithmetic() == Arithmetic::f32; };
  bool all = std::ranges::all_of(state_->end.program.linears, is_exact);
  state_->visit_linears([&](const PackedLinear& linear) { all = all && is_exact(&linear); });
  return all;
}

std::uint64_t Decoder::cache_bytes(std::size_t capacity) const {
  std::uint64_t bytes = 0;
  for (const KeyValueState& state : state_->network.states())
    bytes += KvLayer::bytes_of(kept_positions(state, capacity), state.kv_heads, state.head_dim, state_->kv,
                               values_of(state));
  for (const RecurrentState& state : state_->network.recurrent_states()) bytes += state.numbers * sizeof(float);
  return bytes;
}

KvCache Decoder::new_cache(std::size_t capacity) const {
  // Memory is given out long before it is there, so a cache that cannot be held would end the process in the middle of
  // a text.
  constexpr std::uint64_t kLittle = 64u << 20;
  constexpr std::array kBits = {32.0, 16.0, 8.5, 4.5, 8.5, 4.5};  // by KvType
  double numbers = 0;
  for (const KeyValueState& state : state_->network.states())
    numbers += (state.values_are_keys ? 1 : 2) * static_cast<double>(state.kv_heads * state.head_dim) *
               static_cast<double>(kept_positions(state, capacity));
  double bytes = numbers * kBits[static_cast<std::size_t>(state_->kv)] / 8;
  for (const RecurrentState& state : state_->network.recurrent_states())
    bytes += static_cast<double>(state.numbers) * sizeof(float);
  const std::uint64_t available = bytes < static_cast<double>(kLittle) ? kLittle : available_memory();
  const auto refuse = [&] {
    throw Error(ErrorKind::resource,
                fmt::format("the key/value cache is too large for the memory there is; shorten the context or keep it "
                            "in fewer bits: {:.0f} bytes "
                            "for {} tokens, available {}",
                            bytes, capacity, available),
                "context");
  };
  if (bytes > static_cast<double>(available)) refuse();
  KvCache cache;
  cache.capacity_ = capacity;
  try {
    for (const KeyValueState& state : state_->network.states())
      cache.layers_.push_back(
          {KvLayer(capacity, state.kv_heads, state.head_dim, state_->kv, values_of(state)), state.window});
    for (const RecurrentState& state : state_->network.recurrent_states())
      cache.recurrent_.emplace_back(static_cast<std::size_t>(state.numbers));
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::resource) refuse();
    throw;
  }
  return cache;
}

void Decoder::fill(KvCache& cache, std::size_t length) const {
  assert(cache.length_ == 0 && length <= cache.capacity_);
  constexpr std::size_t kPiece = 64;
  Random random(1);
  std::uint64_t width = 0;
  for (const KeyValueState& state : state_->network.states()) width = std::max(width, state.kv_heads * state.head_dim);
  std::vector<float> values(kPiece * width);
  for (float& value : values) value = static_cast<float>(random.normal());
  for (std::size_t at = 0; at < length; at = cache.length_) {
    cache.length_ = std::min(at + kPiece, length);
    for (KvCache::Layer& layer : cache.layers_) {
      const AttentionPiece piece{&layer.pages, at, cache.length_ - at, nullptr, values.data(), values.data(), nullptr};
      store_keys_values({&piece, 1}, state_->machine.pool);
    }
    cache.give_up_unseen();
  }
  for (std::vector<float>& numbers : cache.recurrent_)
    for (float& number : numbers) number = static_cast<float>(0.1 * random.normal());
}

// --- the forward pass ------------------------------------------------------------------------------------------------

// What the pieces' tokens are, where they stand, and what their layers remember.
void Decoder::State::fill_batch(std::span<const Piece> pieces, std::size_t tokens) {
  stream.resize(std::max(stream.size(), tokens * config.hidden));
  ids.clear();
  rows.clear();
  memories.clear();
  crossing.begin_batch(tokens);
  for (const Piece& piece : pieces) {
    ids.insert(ids.end(), piece.tokens.begin(), piece.tokens.end());
    rows.push_back({piece.row, piece.count(), piece.cache->length()});
    workspace.rotary.fill(piece.row, piece.count(), piece.cache->length(), piece.cache->capacity());
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    layers[i].caches.clear();
    for (const std::size_t state : network.states_of(static_cast<std::int64_t>(i)))
      for (const Piece& piece : pieces) layers[i].caches.push_back(&piece.cache->layers_[state].pages);
  }
  for (std::size_t state = 0; state < network.recurrent_states().size(); ++state)
    for (const Piece& piece : pieces) memories.push_back(piece.cache->recurrent_[state].data());
}

// Logits of the tokens that want them; returns how many rows that made.
std::size_t Decoder::State::logits_of(std::span<const Piece> pieces, float* logits) {
  const std::size_t hidden = config.hidden;
  const auto rows_of = [&](const Piece& p) {
    return std::span(stream).subspan((p.row + p.skip) * hidden, (p.count() - p.skip) * hidden);
  };
  std::size_t count = 0;
  for (const Piece& p : pieces) count += p.count() - p.skip;
  float* given = rows_of(pieces.front()).data();
  if (pieces.size() > 1) {
    last.clear();
    for (const Piece& p : pieces) last.insert(last.end(), rows_of(p).begin(), rows_of(p).end());
    given = last.data();
  }
  if (count != 0)
    program_of(network.end())
        .run({.tokens = count, .pieces = {}}, end.program, {{&given, 1}, {&logits, 1}}, workspace, machine);
  return count;
}

std::size_t Decoder::State::run_batch(std::span<const Piece> pieces, std::size_t tokens, std::size_t first_token,
                                      float* logits, const StreamVisitor& visitor) {
  const auto show = [&](std::size_t passed) {
    if (visitor) visitor({passed, first_token, std::span(stream).first(tokens * config.hidden)});
  };
  fill_batch(pieces, tokens);
  for (const Piece& piece : pieces) piece.cache->is_torn_ = true;
  float* const x = stream.data();
  program_of(network.begin())
      .run({.tokens = tokens, .pieces = rows, .ids = ids}, begin.program, {{}, crossing.wanted(x, begin_crossings)},
           workspace, machine);
  show(0);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer& layer = layers[i];
    const std::span<float* const> remembered = std::span(memories).subspan(layer.first_recurrent * pieces.size());
    layer.program->run({.tokens = tokens, .pieces = rows, .caches = layer.caches, .memories = remembered},
                       layer.weights.program, {crossing.given(x, layer.crossings), crossing.wanted(x, layer.crossings)},
                       workspace, machine);
    show(i + 1);
  }
  for (const Piece& piece : pieces) {
    piece.cache->length_ += piece.count();
    piece.cache->is_torn_ = false;
    piece.cache->give_up_unseen();
  }
  return logits_of(pieces, logits);
}

namespace {

void check_step(const SequenceStep& step, std::uint64_t vocab) {
  const KvCache& cache = *step.cache;
  if (step.tokens.size() > cache.capacity() - cache.length())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the cache is too short for these tokens: capacity {}, filled {}, new {}", cache.capacity(),
                            cache.length(), step.tokens.size()));
  for (std::size_t t = 0; t < step.tokens.size(); ++t)
    if (step.tokens[t] < 0 || static_cast<std::uint64_t>(step.tokens[t]) >= vocab)
      throw Error(ErrorKind::unusable_input,
                  fmt::format("token {} is outside the vocabulary of {}: id {}", t, vocab, step.tokens[t]));
}

}  // namespace

void Decoder::step(std::span<const SequenceStep> steps, std::span<float> logits, const ProgressCallback& progress) {
  std::vector<std::size_t> before;
  for (const SequenceStep& step : steps) before.push_back(step.cache->length());
  try {
    run(steps, logits, {}, progress);
  } catch (...) {
    for (std::size_t i = 0; i < steps.size(); ++i) steps[i].cache->go_back(before[i]);
    throw;
  }
}

void Decoder::run(std::span<const SequenceStep> steps, std::span<float> logits, const StreamVisitor& visitor,
                  const ProgressCallback& progress) {
  State& s = *state_;
  const std::uint64_t vocab = s.config.vocab_size;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    check_step(steps[i], vocab);
    assert(steps[i].first <= steps[i].tokens.size());
    for (std::size_t j = 0; j < i; ++j)
      if (steps[j].cache == steps[i].cache)
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("a step takes each sequence once, but two share a cache: {} and {}", j, i));
  }

  std::size_t tokens = 0;
  for (const SequenceStep& step : steps) tokens += step.tokens.size();
  ProgressMeter meter(progress, "read", tokens);
  std::vector<Piece> pieces;
  std::size_t rows = 0, done = 0, written = 0;
  const auto flush = [&] {
    if (rows != 0) written += s.run_batch(pieces, rows, done, logits.data() + written * vocab, visitor);
    pieces.clear();
    done += rows;
    if (rows != 0) meter.report(done);
    rows = 0;
  };
  for (const SequenceStep& step : steps)
    for (std::size_t begin = 0; begin < step.tokens.size();) {
      const std::size_t count = std::min(kMaxBatch - rows, step.tokens.size() - begin);
      pieces.push_back(
          {step.cache, step.tokens.subspan(begin, count), rows, std::clamp(step.first, begin, begin + count) - begin});
      rows += count;
      begin += count;
      if (rows == kMaxBatch) flush();
    }
  flush();
  assert(logits.size() == written * vocab);
}

void Decoder::forward_from(KvCache& cache, std::span<const std::int32_t> tokens, std::size_t first,
                           std::span<float> logits, const StreamVisitor& visitor) {
  const SequenceStep alone{&cache, tokens, first};
  run(std::span(&alone, 1), logits, visitor, {});
}

void Decoder::forward(KvCache& cache, std::span<const std::int32_t> tokens, LogitsFor which, std::span<float> logits) {
  const std::size_t first = which == LogitsFor::all || tokens.empty() ? 0 : tokens.size() - 1;
  forward_from(cache, tokens, first, logits);
}

}  // namespace nibble
