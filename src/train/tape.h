// SPDX-License-Identifier: Apache-2.0
//
// Reverse mode over a network as it is drawn: forwards over a batch of sequences, the loss of what it says, and back to
// the gradients of the weights that are trained. Between layers the stream is kept, and what crosses them; the inside
// of a layer is computed anew on the way back, so that memory is that of one layer whatever their number. Logits exist
// of some tokens at a time. The same bits for any number of threads. One thread at a time.
//
//   NetworkWeights weights(model, machine.pool);
//   weights.train([](const NetworkWeight&) { return true; });
//   Tape tape(model.parts().network(), weights, {.arithmetic = fastest_products(machine.isa)}, machine);
//   const double loss = tape.run(ids, {8, 512}, next_token_loss(targets, machine), Tape::Walk::there_and_back);
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graph/network.h"
#include "train/graph_run.h"
#include "train/losses.h"
#include "train/network_weights.h"
#include "train/tape_room.h"

namespace nibble {

// bf16 where the set has it and it pays, else f32.
ProductArithmetic fastest_products(Isa isa);

// What walking through one layer there and back takes beside its weights, in bytes.
std::uint64_t layer_bytes(const DrawnGraph& drawing, const SequenceBatch& batch);

struct TapeOptions {
  ProductArithmetic arithmetic = ProductArithmetic::f32;
  // Queries meet keys and values as a cache of this type gives them back; slopes pass through, as if nothing had been
  // rounded.
  KvType kv = KvType::f32;
  std::size_t most_logits = std::size_t{1} << 25;  // that exist at a time, in numbers
  // Is shown the inputs of every layer's Linears and the gradient by their outputs, from the last layer to the first
  // that is watched, whether anything is trained or not.
  std::function<void(std::int64_t layer, const Linear& op, std::span<const float> inputs,
                     std::span<const float> output_gradient)>
      watch = {};
  // The same of the gradient by the stream behind every layer.
  std::function<void(std::int64_t layer, std::span<const float> stream_gradient)> watch_stream = {};
  std::int64_t first_watched = 0;
};

class Tape {
 public:
  // network and weights outlive this.
  Tape(const Network& network, NetworkWeights& weights, const TapeOptions& options, Machine& machine);

  enum class Walk { there, there_and_back };
  // ids: [sequences, length]. The mean loss; on the way back gradients are added to those of the weights. Not finite
  // where the network has gone astray: first_unsound() then says where, and gradients mean nothing.
  double run(std::span<const std::int32_t> ids, const SequenceBatch& batch, const LossFunction& loss, Walk walk);
  // The logits of a batch, some tokens at a time.
  void show_logits(std::span<const std::int32_t> ids, const SequenceBatch& batch,
                   const std::function<void(std::size_t first, std::span<const float> logits)>& show);

  // The same from the inside of a loss: walks up to the network's end, and then gives logits of tokens of that batch,
  // from `first` on, [tokens, vocabulary], whenever they are asked for.
  void listen(std::span<const std::int32_t> ids, const SequenceBatch& batch);
  void read_logits(std::size_t first, std::span<float> logits);

  // The first layer of the last run whose output holds NaN or infinity, Network::kBegin for what comes before them, and
  // num_layers() for the logits. None: all of them were finite.
  std::optional<std::int64_t> first_unsound() const;
  // In words, layers counted from 0: "the embedding", "the output of layer 3", "the logits"; empty: there is none.
  std::string unsound_place() const;

  std::int64_t num_layers() const { return network_.num_layers(); }

  // What run() takes beside weights and their gradients, in bytes.
  std::uint64_t bytes(const SequenceBatch& batch) const;

 private:
  // A crossing value, by its name and the layer that passes it on.
  using CrossingKey = std::pair<std::string, std::int64_t>;
  struct Crossed {
    std::vector<float> numbers, gradient;  // gradient empty: nothing was added
    bool needs_gradient = false;
  };

  void walk_there(std::span<const std::int32_t> ids, const SequenceBatch& batch);
  double walk_end(const SequenceBatch& batch, const LossFunction& loss, Walk walk);
  void walk_back(std::span<const std::int32_t> ids, const SequenceBatch& batch);
  const DrawnGraph& drawing(std::int64_t layer) const {
    return layer == Network::kBegin ? network_.begin() : network_.layer(layer);
  }
  CrossingKey key_of(const Crossing& received, std::int64_t layer) const;
  void give_all(GraphRun& run, std::int64_t layer, std::span<const std::int32_t> ids);
  std::size_t tokens_at_a_time(const SequenceBatch& batch) const;
  std::vector<float>& border(std::int64_t layer) { return borders_[static_cast<std::size_t>(layer + 1)]; }

  const Network& network_;
  NetworkWeights& weights_;
  TapeOptions options_;
  TapeRoom room_;
  SequenceBatch shape_;                      // of the last walk
  std::vector<std::vector<float>> borders_;  // behind the beginning, and behind every layer
  std::vector<bool> needs_gradient_;         // by border
  std::map<CrossingKey, Crossed> crossed_;
  std::vector<float> stream_gradient_;  // by the border that is walked to
  double last_loss_ = 0;
};

}  // namespace nibble
