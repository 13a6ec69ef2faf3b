// SPDX-License-Identifier: Apache-2.0
//
// Carries windows of text through a decoder one layer at a time: hidden states of all windows are kept in f32, weights of one layer only.
// Every step shows the activations that its Linears read, window by window, so that a layer can be changed piece by piece while the text
// walks through it. The same bits for any number of threads. One thread at a time; the pool does the work.
//
//   LayerWalk walk(config, tokens, {.kernels = kernels}, pool);
//   walk.embed(embedding_rows);
//   for each layer: for (Step step : kSteps) {
//     for (window ...) use(walk.inputs(step, layer, window));       // [length, width_of(step)]
//     walk.leave(step, layer);                                       // applies the step's Linears
//   }
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "calibrate/calibration_text.h"
#include "calibrate/kept_inputs.h"
#include "calibrate/spillable_bytes.h"
#include "io/checkpoint.h"
#include "kernels/attention.h"
#include "kernels/linear.h"
#include "model/arch/architecture.h"
#include "model/config.h"

namespace nibble {

// A layer in the order in which text meets its sites.
enum class Step { attention_in, attention_out, mlp_in, mlp_out };
inline constexpr std::array kSteps = {Step::attention_in, Step::attention_out, Step::mlp_in, Step::mlp_out};
std::string_view site_of(Step step);                    // the architecture's name of it, "attention_in"
std::span<const std::string_view> parts_of(Step step);  // the Linears that read it
inline constexpr std::string_view kHeadSite = "head_in";

// A weight matrix [rows, cols] or a vector (rows = 1) in f32, in the source's row order.
struct Matrix {
  std::uint64_t rows = 0, cols = 0;
  std::vector<float> values;
};

// The same as a tensor in f32. Borrowed: the matrix outlives the view.
QuantizedView view_of(const Matrix& matrix);

// One layer's tensors by part: "q", "q.bias", "attention_norm".
class LayerWeights {
 public:
  LayerWeights() = default;
  // Decodes the layer's tensors. Error(corrupt) names a tensor with a value that is not finite.
  LayerWeights(const Checkpoint& checkpoint, const ModelTensors& tensors, std::int64_t layer, ThreadPool& pool);

  bool has(std::string_view part) const { return parts_.find(part) != parts_.end(); }
  const Matrix& at(std::string_view part) const { return parts_.find(part)->second; }
  Matrix& at(std::string_view part) { return parts_.find(part)->second; }
  std::map<std::string, Matrix, std::less<>>& all() { return parts_; }
  LayerWeights copy(ThreadPool& pool) const;

 private:
  std::map<std::string, Matrix, std::less<>> parts_;
};

Matrix decode_matrix(const StoredTensor& tensor, ThreadPool& pool);

// What Linears are multiplied in on the way. f32: weights and activations as they are. int8: activations rounded to 8 bits, wide columns
// to 15, as an engine rounds them; weights in their own codes where they are quantized, else rounded to int8:g128. The latter
// is several times faster. automatic: int8 for models that would take long otherwise.
enum class WalkArithmetic { automatic, f32, int8 };
WalkArithmetic parse_walk_arithmetic(std::string_view spelling);  // Error(invalid_argument) lists what is known
std::string_view walk_arithmetic_name(WalkArithmetic arithmetic);
// f32 or int8.
WalkArithmetic resolve_walk_arithmetic(WalkArithmetic arithmetic, const ModelConfig& config);

struct WalkOptions {
  KernelOptions kernels{};  // the instruction set, and how activations are rounded where the arithmetic is int8
  WalkArithmetic arithmetic = WalkArithmetic::f32;
  // In int8: what mlp_out reads is kept, rounded as products round, for windows to be looked at before they are left. A byte a number.
  bool keeps_inputs = false;
  // What is kept of all windows lies in a file without a name there; empty: in memory. The results are the same.
  std::filesystem::path spill_directory{};
};

class LayerWalk {
 public:
  LayerWalk(const ModelConfig& config, const CalibrationTokens& tokens, const WalkOptions& options, ThreadPool& pool);

  std::size_t windows() const { return tokens_.windows(); }
  std::size_t length() const { return tokens_.length; }
  std::size_t width_of(Step step) const;

  // Hidden states become rows of the embedding: row_of(id, out[hidden]).
  void embed(const std::function<void(std::int32_t, float*)>& row_of);

  // Packs the weights that the step multiplies with (q, k, v; o; gate, up; down). Call it whenever they have changed.
  void pack(Step step, const LayerWeights& layer);
  // One of them alone; from the codes that an engine will read where the walk multiplies_codes(). Rows in the source's order.
  void pack(std::string_view part, const Matrix& weights);
  void pack(std::string_view part, const QuantizedView& weights);
  bool multiplies_codes() const { return kernels_.activations == ActivationMode::int8; }
  // What the step's Linears read in this window; valid until the next call. mlp_out needs gate and up packed, not down.
  std::span<const float> inputs(Step step, const LayerWeights& layer, std::size_t window);
  // Applies the step's packed Linears to a window, or to all: afterwards the next step's inputs are ready.
  void leave(Step step, const LayerWeights& layer, std::size_t window);
  void leave(Step step, const LayerWeights& layer);

  // The residual stream of a window, [length, hidden].
  std::span<const float> hidden(std::size_t window) const;
  // Of all windows, to come back to.
  SpillableBytes save() const;
  void restore(const SpillableBytes& saved);
  // The final norm of a window's hidden states, what the head reads.
  std::span<const float> head_inputs(std::span<const float> final_norm, std::size_t window);

 private:
  // outputs: of each of the step's parts.
  void multiply(Step step, const LayerWeights& layer, const float* x, std::initializer_list<std::vector<float>*> outputs);
  void gate(const LayerWeights& layer, std::size_t window);
  void forget();
  // The windows are met one after the other: what is kept of the last one may leave memory.
  void visit(std::size_t window);
  void copy_by_window(const SpillableBytes& from, const SpillableBytes& to) const;
  float* hidden_of(std::size_t window) const { return hidden_.as<float>() + window * tokens_.length * config_.hidden; }
  float* mixed_of(std::size_t window) const { return mixed_.as<float>() + window * tokens_.length * width_of(Step::attention_out); }
  void norm(const Matrix& weight, std::size_t window);
  void mix(const LayerWeights& layer, std::size_t window);

  const ModelConfig& config_;
  const CalibrationTokens& tokens_;
  KernelOptions kernels_;
  FormatPtr format_;  // what weights are packed in
  ThreadPool& pool_;
  KernelScratch scratch_;
  std::map<std::string, PackedLinear, std::less<>> packed_;
  KvLayer cache_;                                                            // of one window's attention
  std::optional<std::size_t> gated_;                                         // the window whose inputs of mlp_out gate_ holds
  std::optional<KeptInputs> kept_;                                           // of mlp_out
  std::filesystem::path spill_directory_;
  SpillableBytes hidden_, mixed_;                                            // of all windows, f32
  std::size_t visited_ = 0;                                                  // the window that was met last
  std::vector<float> normed_, q_, k_, v_, gate_, up_, out_, cosine_, sine_;  // of one
};

}  // namespace nibble
