// SPDX-License-Identifier: Apache-2.0
//
// One drawing, walked forwards over a batch of sequences and back again. Linears, those of experts, and attention are
// dense products, norms and activations kernels; every other operation runs its own arithmetic, a shard of tokens at a
// time (where it mixes tokens, a sequence at a time). Values of experts lie by expert, a row for each token that is
// sent there, as the engine has them. Shards do not depend on the number of threads: the same bits for any. One thread
// at a time.
//
//   GraphRun run(network.layer(3).graph, 3, weights, {8, 512}, room);
//   run.give(stream, x);
//   run.forward(GraphRun::Keep::outputs);  const std::span<const float> y = run.value(output);
//   run.forward(GraphRun::Keep::inputs_of_gradients);
//   run.add_gradient(output, dy);
//   run.backward();                        const std::span<const float> dx = run.gradient(stream);
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "engine/expert_groups.h"
#include "graph/graph.h"
#include "kernels/attention/kv_rounding.h"
#include "kernels/training/training_loops.h"
#include "train/network_weights.h"
#include "train/tape_room.h"

namespace nibble {

class GraphRun {
 public:
  // layer: whose weights it reads; the graph, the weights and the room outlive it.
  GraphRun(const Graph& graph, std::int64_t layer, NetworkWeights& weights, const SequenceBatch& batch, TapeRoom& room);
  ~GraphRun();
  GraphRun(const GraphRun&) = delete;

  // A value that goes in, [tokens, width]: borrowed. needs_gradient: gradient() will be asked for.
  void give(ValueId input, std::span<const float> numbers, bool needs_gradient = true);
  // Is shown each Linear's inputs, [tokens, cols], and the gradient by its outputs, [tokens, rows], on the way back.
  using Watch =
      std::function<void(const Linear& op, std::span<const float> inputs, std::span<const float> output_gradient)>;
  void watch(Watch watch) { watch_ = std::move(watch); }
  void give_ids(std::span<const std::int32_t> ids) { ids_ = ids; }  // [tokens]

  // What is made, and kept: outputs, with what they take; what the way back reads, and nothing else; or both.
  enum class Keep { outputs, inputs_of_gradients, all };
  void forward(Keep keep);
  std::span<const float> value(ValueId value) const { return values_[value].numbers; }
  std::span<float> take_value(ValueId value);  // to be changed in its place

  // The gradient by an output; where several are added, their sum.
  void add_gradient(ValueId output, std::span<const float> gradient);
  // Adds to the gradients of weights and finds those of the values given. Afterwards values are gone.
  void backward();
  // [tokens, width]; empty: nothing depends on it.
  std::span<const float> gradient(ValueId input) const { return gradients_[input]; }

 private:
  struct Value {
    std::span<const float> numbers = {};
    std::vector<float> own = {};  // empty: borrowed
  };
  struct Shard {
    std::size_t first = 0, tokens = 0;  // of the rows of the batch, or of an expert's rows
    std::size_t position = 0;           // of the first, in its sequence
  };

  void mark_needs();
  std::vector<bool> values_to_make(Keep keep) const;
  bool is_by_expert(ValueId value) const { return graph_.values[value].size() == 3; }
  std::vector<Shard> shards_of(const Node& node, bool mixes_tokens) const;
  Operands operands_of(const Node& node, const Shard& shard) const;
  std::vector<Dimensions> shapes_of(const Node& node) const;
  const Matrix& weight(std::string_view part) const;
  std::span<float> weight_gradient(std::string_view part);  // empty: it is not trained
  // What a Linear multiplies in place of x: rounded into `room`, which is to be given back; or x as it is, and no room.
  const float* rounded_inputs(std::string_view part, std::span<const float> x, std::size_t cols,
                              std::vector<float>& room);
  // Of the same part whether inputs may be cut off, and which slopes go with them.
  bool cuts_inputs_off(std::string_view part) const;
  void cut_slopes(std::string_view part, std::span<const float> x, std::span<float> slopes) const;
  std::vector<float>& make(ValueId value, std::size_t size);
  // Of a value that needs one, zeros at first; else empty. has: whether something is in it already.
  std::span<float> gradient_of(ValueId value, bool* has = nullptr);
  void release(Value& value);
  const ExpertGroups& groups_of(ValueId routing);

  void run_forward(const Node& node);
  void run_forward(const Node& node, const Linear& op);
  void run_forward(const Node& node, const ExpertLinear& op);
  void run_forward(const Node& node, const MixExperts& op);
  void run_forward(const Node& node, const Attention& op);
  void run_forward(const Node& node, const Silu& op);
  void run_forward(const Node& node, const Gelu& op);
  void run_forward(const Node& node, const RmsNorm& op);
  template <class Op>
  void run_forward(const Node& node, const Op& op);

  void run_backward(const Node& node);
  void run_backward(const Node& node, const Linear& op);
  void run_backward(const Node& node, const ExpertLinear& op);
  void run_backward(const Node& node, const MixExperts& op);
  void run_backward(const Node& node, const Attention& op);
  void run_backward(const Node& node, const Silu& op);
  void run_backward(const Node& node, const Gelu& op);
  void run_backward(const Node& node, const RmsNorm& op);
  void run_backward(const Node& node, const Embedding& op);
  template <class Op>
  void run_backward(const Node& node, const Op& op);

  // Keys or values as queries meet them: rounded into `room`, which is to be given back; or as they are, and no room.
  const float* cached(ValueId value, const Attention& op, CachedNumbers which, std::vector<float>& room);
  void add_to_rows(std::span<float> y, std::span<const float> bias);
  void add_column_sums(std::span<const float> rows, std::span<float> sums);
  std::vector<float> gathered(const ExpertGroups& groups, std::span<const float> x, std::size_t width);

  const Graph& graph_;
  std::int64_t layer_;
  NetworkWeights& weights_;
  SequenceBatch batch_;
  TapeRoom& room_;
  const TrainingLoops& loops_;
  std::span<const std::int32_t> ids_;
  Watch watch_;
  std::vector<Value> values_;
  std::vector<std::vector<float>> gradients_;
  std::vector<bool> needs_gradient_, given_needs_;
  std::map<ValueId, ExpertGroups> groups_;  // by routing
  std::size_t expert_rows_ = 0;             // of all of a routing's experts
};

}  // namespace nibble
