// SPDX-License-Identifier: Apache-2.0
#include "calibrate/layer_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "base/huge_pages.h"
#include "kernels/attention.h"
#include "kernels/encoders.h"
#include "kernels/vector_ops.h"
#include "model/stored_activations.h"
#include "nibble/error.h"
#include "tensor/shape.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMostExactWeights = 200'000'000;  // of all layers' Linears, for an automatic walk in f32

}  // namespace

std::string_view site_of(Step step) {
  constexpr std::array<std::string_view, 4> kNames = {"attention_in", "attention_out", "mlp_in", "mlp_out"};
  return kNames[static_cast<std::size_t>(step)];
}

std::span<const std::string_view> parts_of(Step step) {
  static constexpr std::string_view kAttentionIn[] = {"q", "k", "v"}, kAttentionOut[] = {"o"}, kMlpIn[] = {"gate", "up"}, kMlpOut[] = {"down"};
  switch (step) {
    case Step::attention_in:
      return kAttentionIn;
    case Step::attention_out:
      return kAttentionOut;
    case Step::mlp_in:
      return kMlpIn;
    case Step::mlp_out:
      return kMlpOut;
  }
  return {};
}

QuantizedView view_of(const Matrix& matrix) {
  return make_view(find_raw_format(DType::f32), matrix.rows, matrix.cols, {std::as_bytes(std::span(matrix.values))}, "matrix");
}

Matrix decode_matrix(const StoredTensor& tensor, ThreadPool& pool) {
  const QuantizedView& view = tensor.view;
  Matrix matrix{view.rows, view.cols, large_vector(view.rows * view.cols)};
  std::atomic<std::uint64_t> bad_row = view.rows;
  pool.parallel_for(view.rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::span<float> out(matrix.values.data() + row * view.cols, view.cols);
      view.decode_row(row, out);
      if (!first_not_finite(out)) continue;
      for (std::uint64_t known = bad_row; row < known && !bad_row.compare_exchange_weak(known, row);) {
      }
    }
  });
  if (bad_row != view.rows)
    throw Error(ErrorKind::corrupt, fmt::format("{}: tensor '{}' holds a value that is not finite; repair or retrain the model: row {}", tensor.file,
                                                tensor.name, bad_row.load()));
  return matrix;
}

LayerWeights::LayerWeights(const Checkpoint& checkpoint, const ModelTensors& tensors, std::int64_t layer, ThreadPool& pool) {
  const Spelling spelling = spelling_of(checkpoint);
  for (const ModelTensor& tensor : tensors.all()) {
    if (tensor.layer != layer) continue;
    const StoredTensor& stored = checkpoint.tensor(tensor.name(spelling));
    if (!is_same_shape(stored.shape, tensor.shape) || !stored.view.format)
      throw Error(ErrorKind::corrupt, fmt::format("{}: tensor '{}' does not have the shape that the model's configuration asks for: {}, not {}",
                                                  stored.file, stored.name, shape_text(stored.shape), shape_text(tensor.shape)));
    parts_.emplace(tensor.part, decode_matrix(stored, pool));
    checkpoint.release(stored);
  }
}

LayerWeights LayerWeights::copy(ThreadPool& pool) const {
  LayerWeights result;
  for (const auto& [part, matrix] : parts_) {
    Matrix& copied = result.parts_.emplace(part, Matrix{matrix.rows, matrix.cols, large_vector(matrix.values.size())}).first->second;
    pool.parallel_for(matrix.values.size(), std::size_t{1} << 16, [&, &from = matrix.values](std::size_t begin, std::size_t end, std::size_t) {
      std::copy_n(&from[begin], end - begin, &copied.values[begin]);
    });
  }
  return result;
}

WalkArithmetic parse_walk_arithmetic(std::string_view spelling) {
  for (const WalkArithmetic known : {WalkArithmetic::automatic, WalkArithmetic::f32, WalkArithmetic::int8})
    if (walk_arithmetic_name(known) == spelling) return known;
  throw Error(ErrorKind::invalid_argument, fmt::format("what text is walked through the model in is auto, f32 or int8: '{}'", spelling));
}

std::string_view walk_arithmetic_name(WalkArithmetic arithmetic) {
  if (arithmetic == WalkArithmetic::automatic) return "auto";
  return arithmetic == WalkArithmetic::f32 ? "f32" : "int8";
}

WalkArithmetic resolve_walk_arithmetic(WalkArithmetic arithmetic, const ModelConfig& config) {
  if (arithmetic != WalkArithmetic::automatic) return arithmetic;
  const std::uint64_t attention = config.hidden * config.head_dim * 2 * (config.heads + config.kv_heads);
  const std::uint64_t weights = config.layers * (attention + 3 * config.hidden * config.intermediate);
  return weights > kMostExactWeights ? WalkArithmetic::int8 : WalkArithmetic::f32;
}

LayerWalk::LayerWalk(const ModelConfig& config, const CalibrationTokens& tokens, const WalkOptions& options, ThreadPool& pool)
    : config_(config),
      tokens_(tokens),
      kernels_(options.kernels),
      pool_(pool),
      cache_(tokens.length, config.kv_heads, config.head_dim, KvType::f32),
      spill_directory_(options.spill_directory) {
  const bool is_int8 = resolve_walk_arithmetic(options.arithmetic, config) == WalkArithmetic::int8;
  kernels_.activations = is_int8 ? ActivationMode::int8 : ActivationMode::f32;
  format_ = is_int8 ? with_kernels(find_format("int8:g128"), kernels_.isa) : find_raw_format(DType::f32);
  const std::size_t length = tokens.length, all = tokens.ids.size();
  hidden_ = SpillableBytes(all * config.hidden * sizeof(float), spill_directory_);
  mixed_ = SpillableBytes(all * config.heads * config.head_dim * sizeof(float), spill_directory_);
  normed_.resize(length * config.hidden);
  if (is_int8 && options.keeps_inputs) {
    const ActivationFormat format = activations_of_site(kernels_.activation_format, "down");
    kept_.emplace(tokens.windows(), length, config.intermediate, format, kernels_.isa, spill_directory_);
  }
  const std::vector<double> frequencies = rope_inverse_frequencies(config.rope);
  for (std::size_t t = 0; t < length; ++t)
    for (const double frequency : frequencies) {
      cosine_.push_back(static_cast<float>(std::cos(static_cast<double>(t) * frequency)));
      sine_.push_back(static_cast<float>(std::sin(static_cast<double>(t) * frequency)));
    }
}

std::size_t LayerWalk::width_of(Step step) const {
  if (step == Step::attention_out) return config_.heads * config_.head_dim;
  return step == Step::mlp_out ? config_.intermediate : config_.hidden;
}

void LayerWalk::embed(const std::function<void(std::int32_t, float*)>& row_of) {
  forget();
  const auto vocab = static_cast<std::int64_t>(config_.vocab_size);
  for (const std::int32_t id : tokens_.ids)
    if (id < 0 || id >= vocab)
      throw Error(ErrorKind::unusable_input, fmt::format("the tokenizer gives an id outside the vocabulary of {}: {}", vocab, id));
  for (std::size_t window = 0; window < windows(); ++window) {
    visit(window);
    const std::span<const std::int32_t> ids = tokens_.window(window);
    pool_.parallel_for(ids.size(), 64, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t) row_of(ids[t], hidden_of(window) + t * config_.hidden);
    });
  }
}

void LayerWalk::pack(Step step, const LayerWeights& layer) {
  for (const std::string_view part : parts_of(step)) pack(part, layer.at(part));
}

void LayerWalk::pack(std::string_view part, const Matrix& weights) {
  const std::uint64_t rows = weights.rows, cols = weights.cols;
  if (!multiplies_codes()) return pack(part, view_of(weights));
  QuantizedTensor rounded(format_, rows, cols);
  pool_.parallel_for(rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row)
      format_->encode_row(std::span(weights.values).subspan(row * cols, cols), {}, nullptr, row, {}, rounded.row(row));
  });
  pack(part, rounded.view());
}

void LayerWalk::pack(std::string_view part, const QuantizedView& weights) {
  if (part == "gate" || part == "up") forget();
  KernelOptions kernels = kernels_;
  kernels.activation_format = activations_of_site(kernels.activation_format, part);
  packed_.insert_or_assign(std::string(part), PackedLinear::pack(weights, kernels, pool_));
}

void LayerWalk::multiply(Step step, const LayerWeights& layer, const float* x, std::initializer_list<std::vector<float>*> outputs) {
  const std::size_t length = tokens_.length;
  std::vector<LinearProduct> products;
  for (std::vector<float>* const y : outputs) {
    const PackedLinear& weight = packed_.find(parts_of(step)[products.size()])->second;
    y->resize(length * weight.rows());
    products.push_back({&weight, y->data()});
  }
  multiply_all(products, x, length, pool_, scratch_);
  for (std::size_t p = 0; p < products.size(); ++p) {
    const std::string bias = std::string(parts_of(step)[p]) + ".bias";
    if (!layer.has(bias)) continue;
    const std::vector<float>& values = layer.at(bias).values;
    for (std::size_t t = 0; t < length; ++t)
      for (std::size_t i = 0; i < values.size(); ++i) products[p].y[t * values.size() + i] += values[i];
  }
}

std::span<const float> LayerWalk::hidden(std::size_t window) const {
  return {hidden_of(window), tokens_.length * config_.hidden};
}

SpillableBytes LayerWalk::save() const {
  SpillableBytes saved(hidden_.size(), spill_directory_);
  copy_by_window(hidden_, saved);
  return saved;
}

void LayerWalk::restore(const SpillableBytes& saved) {
  forget();
  copy_by_window(saved, hidden_);
}

void LayerWalk::copy_by_window(const SpillableBytes& from, const SpillableBytes& to) const {
  const std::size_t size = tokens_.length * config_.hidden * sizeof(float);
  for (std::size_t window = 0; window < windows(); ++window) {
    std::memcpy(to.as<std::byte>(window * size), from.as<std::byte>(window * size), size);
    for (const SpillableBytes* const done : {&from, &to}) done->release(window * size, size);
  }
}

void LayerWalk::visit(std::size_t window) {
  if (window == visited_) return;
  const std::size_t hidden = tokens_.length * config_.hidden * sizeof(float), mixed = tokens_.length * width_of(Step::attention_out) * sizeof(float);
  hidden_.release(visited_ * hidden, hidden);
  mixed_.release(visited_ * mixed, mixed);
  visited_ = window;
}

void LayerWalk::norm(const Matrix& weight, std::size_t window) {
  rms_norm(hidden(window).data(), weight.values.data(), tokens_.length, config_.hidden, config_.norm_epsilon, normed_.data(), kernels_.isa, pool_);
}

std::span<const float> LayerWalk::head_inputs(std::span<const float> final_norm, std::size_t window) {
  visit(window);
  rms_norm(hidden(window).data(), final_norm.data(), tokens_.length, config_.hidden, config_.norm_epsilon, normed_.data(), kernels_.isa, pool_);
  return normed_;
}

std::span<const float> LayerWalk::inputs(Step step, const LayerWeights& layer, std::size_t window) {
  visit(window);
  switch (step) {
    case Step::attention_in:
      norm(layer.at("attention_norm"), window);
      return normed_;
    case Step::attention_out:
      return {mixed_of(window), tokens_.length * width_of(step)};
    case Step::mlp_in:
      norm(layer.at("mlp_norm"), window);
      return normed_;
    case Step::mlp_out:
      gate(layer, window);
      return gate_;
  }
  return {};
}

// silu(gate(normed)) * up(normed) of one window into gate_.
void LayerWalk::gate(const LayerWeights& layer, std::size_t window) {
  if (gated_ == window) return;
  gated_ = window;
  if (kept_ && kept_->has(window)) return kept_->get(window, gate_.data(), pool_);
  norm(layer.at("mlp_norm"), window);
  multiply(Step::mlp_in, layer, normed_.data(), {&gate_, &up_});
  silu_multiply(gate_.data(), up_.data(), gate_.size(), gate_.data(), kernels_.isa, pool_);
  if (kept_) kept_->put(window, gate_.data(), pool_);
}

void LayerWalk::forget() {
  gated_.reset();
  if (kept_) kept_->forget();
}

// attention(rope(q(normed)), rope(k(normed)), v(normed)) of one window.
void LayerWalk::mix(const LayerWeights& layer, std::size_t window) {
  const std::size_t length = tokens_.length;
  const RopeConfig& r = config_.rope;
  const float* const x = inputs(Step::attention_in, layer, window).data();
  multiply(Step::attention_in, layer, x, {&q_, &k_, &v_});
  rope(q_.data(), cosine_.data(), sine_.data(), length, config_.heads, config_.head_dim, r.rotary_dim, r.half_split, kernels_.isa, pool_);
  rope(k_.data(), cosine_.data(), sine_.data(), length, config_.kv_heads, config_.head_dim, r.rotary_dim, r.half_split, kernels_.isa, pool_);
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config_.head_dim)));
  const AttentionPiece piece{&cache_, 0, length, q_.data(), k_.data(), v_.data(), mixed_of(window)};
  store_keys_values({&piece, 1}, pool_);
  attention({&piece, 1}, config_.heads, scale, kernels_.isa, pool_, scratch_);
}

void LayerWalk::leave(Step step, const LayerWeights& layer, std::size_t window) {
  switch (step) {
    case Step::attention_in:
      mix(layer, window);
      break;
    case Step::mlp_in:
      break;  // its products are made when mlp_out asks for them: keeping them would take the most memory of all
    case Step::attention_out:
    case Step::mlp_out: {
      const float* const x = inputs(step, layer, window).data();
      multiply(step, layer, x, {&out_});
      add_in_place(hidden_of(window), out_.data(), out_.size(), kernels_.isa, pool_);
      gated_.reset();
    }
  }
}

void LayerWalk::leave(Step step, const LayerWeights& layer) {
  for (std::size_t window = 0; window < windows(); ++window) leave(step, layer, window);
}

}  // namespace nibble
