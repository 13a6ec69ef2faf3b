// SPDX-License-Identifier: Apache-2.0
//
// Carries windows of text through a decoder one layer at a time, in f32: hidden states of all windows are kept, weights of one layer only.
// Every step shows the activations that its Linears read, window by window, so that a layer can be changed piece by piece while the text
// walks through it. The same bits for any number of threads. One thread at a time; the pool does the work.
//
//   LayerWalk walk(config, tokens, kernels, pool);
//   walk.embed(embedding_rows);
//   for each layer: for (Step step : kSteps) {
//     for (window ...) use(walk.inputs(step, layer, window));       // [length, width_of(step)]
//     walk.leave(step, layer);                                       // applies the step's Linears
//   }
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "calibrate/calibration_text.h"
#include "io/checkpoint.h"
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

 private:
  std::map<std::string, Matrix, std::less<>> parts_;
};

Matrix decode_matrix(const StoredTensor& tensor, ThreadPool& pool);

class LayerWalk {
 public:
  LayerWalk(const ModelConfig& config, const CalibrationTokens& tokens, const KernelOptions& kernels, ThreadPool& pool);

  std::size_t windows() const { return tokens_.windows(); }
  std::size_t length() const { return tokens_.length; }
  std::size_t width_of(Step step) const;

  // Hidden states become rows of the embedding: row_of(id, out[hidden]).
  void embed(const std::function<void(std::int32_t, float*)>& row_of);

  // Packs the weights that the step multiplies with (q, k, v; o; gate, up; down). Call it whenever they have changed.
  void pack(Step step, const LayerWeights& layer);
  // What the step's Linears read in this window; valid until the next call. mlp_out needs gate and up packed.
  std::span<const float> inputs(Step step, const LayerWeights& layer, std::size_t window);
  // Applies the step's packed Linears to all windows: afterwards the next step's inputs are ready.
  void leave(Step step, const LayerWeights& layer);

  // The residual stream of a window, [length, hidden].
  std::span<const float> hidden(std::size_t window) const;
  // Of all windows, to come back to.
  const std::vector<float>& all_hidden() const { return hidden_; }
  void restore(std::vector<float> hidden) { hidden_ = std::move(hidden); }
  // The final norm of a window's hidden states, what the head reads.
  std::span<const float> head_inputs(std::span<const float> final_norm, std::size_t window);

 private:
  void multiply(const LayerWeights& layer, std::string_view part, const float* x, std::vector<float>& y);
  void norm(const Matrix& weight, std::size_t window);
  void mix(const LayerWeights& layer, std::size_t window);

  const ModelConfig& config_;
  const CalibrationTokens& tokens_;
  KernelOptions kernels_;
  ThreadPool& pool_;
  KernelScratch scratch_;
  std::map<std::string, PackedLinear, std::less<>> packed_;
  std::vector<float> hidden_, mixed_;                                        // of all windows
  std::vector<float> normed_, q_, k_, v_, gate_, up_, out_, cosine_, sine_;  // of one
};

}  // namespace nibble
