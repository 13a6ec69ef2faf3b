// SPDX-License-Identifier: Apache-2.0
//
// A drawing, or a part of one, made ready to run: what is not needed is left out, products with the same inputs are
// made together, activations are fused with the multiplication behind them, and values share memory where one is no
// longer read when another begins. Fused operations are this file's private list: drawings, training and exports never
// see them. A token's arithmetic does not depend on how many share the batch. Programs are immutable; threads may share
// one, each with a workspace of its own.
//
//   Program program(graph, {.given = graph.inputs, .wanted = graph.outputs}, workspace.rotary);
//   program.run(batch, weights, {{&x, 1}, {&y, 1}}, workspace, machine);
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/expert_groups.h"
#include "engine/rotary_tables.h"
#include "graph/graph.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/latent_heads.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "kernels/recurrent/recurrent.h"

namespace nibble {

// Which part of a drawing: from values that are there to values that are to be made.
struct ProgramSpan {
  std::vector<ValueId> given, wanted;
  std::vector<ValueId> kept = {};  // of those given: still read afterwards, so nothing else may be put in their place
};

// All of a drawing, by who keeps the states of sequences. Received keys and values that nobody gives are those that a
// state has already.
ProgramSpan span_beside_states(const Graph& graph);

// Consecutive tokens of one sequence that are part of a batch, in its rows row .. row + tokens, at position, position +
// 1, ...
struct BatchPiece {
  std::size_t row = 0, tokens = 0, position = 0;
};

// Where attention reads its values.
inline KvValues values_of(const KeyValueState& state) {
  return state.values_are_keys ? KvValues::are_keys : KvValues::own;
}

struct Batch {
  std::size_t tokens = 0;                  // of all pieces
  std::span<const BatchPiece> pieces;      // of different sequences
  std::span<KvLayer* const> caches = {};   // of the graph's states, [states, pieces]
  std::span<float* const> memories = {};   // of its recurrent states, [recurrent, pieces]
  std::span<const std::int32_t> ids = {};  // of embeddings, [tokens]
};

// What a program reads, in the order of Program::linears() and vectors(). Borrowed.
struct ProgramWeights {
  std::vector<const PackedLinear*> linears;    // null: of experts whose outputs nobody reads, which are not made
  std::vector<std::span<const float>> biases;  // by linear; empty: none
  std::vector<std::span<const float>> vectors;
  std::vector<const LatentHeads*> latents = {};  // of Program::latents()
};

// Memory of a batch, kept between runs and shared by the programs of a network. One thread at a time.
struct Workspace {
  RotaryTables rotary;  // filled by whoever runs the batch
  std::vector<std::vector<float>> slots;
  std::vector<float*> places;        // of a program's slots
  std::vector<ExpertGroups> groups;  // of a program's routings
  std::vector<float> gathered;       // rows of an expert's tokens
  std::vector<AttentionPiece> attended;
  std::vector<ConvolutionPiece> convolved;
  std::vector<DeltaPiece> recurred;
};

class Program {
 public:
  struct LinearUse {
    std::string part, bias;    // bias: its part; empty: none
    std::int64_t expert = -1;  // whose it is
  };

  struct LatentUse {
    std::string part;
    LatentHeads::Shape shape;
  };

  // tables: those of the workspace that it will run with. Error(unsupported): an operation that no kernel runs.
  Program(const Graph& graph, const ProgramSpan& span, RotaryTables& tables);

  const std::vector<LinearUse>& linears() const noexcept { return linears_; }
  // Parts in f32: norms' weights, coefficients, sinks.
  const std::vector<std::string>& vectors() const noexcept { return vectors_; }
  // Matrices that make keys and values of a latent vector; no Linear here multiplies them.
  const std::vector<LatentUse>& latents() const noexcept { return latents_; }
  // The given value (by its place in the span) that a wanted one is put in the place of; none: it has a place of its
  // own.
  std::optional<std::size_t> place_of(std::size_t wanted) const { return places_[wanted]; }

  // What it keeps beside the bound values, in f32 numbers for each token of a batch.
  std::uint64_t numbers_per_token() const {
    return std::accumulate(widths_.begin() + static_cast<std::ptrdiff_t>(num_bound_), widths_.end(), std::uint64_t{0});
  }

  struct Bound {
    std::span<float* const> given, wanted;  // [tokens, width] each; those that share a place are the same
  };
  void run(const Batch& batch, const ProgramWeights& weights, const Bound& bound, Workspace& workspace,
           Machine& machine) const;

 private:
  using Slot = std::size_t;
  struct Embed {
    std::size_t linear;
    Slot out;
    std::uint64_t width;
  };
  struct Norm {
    Slot in, out;
    std::size_t weight;
    float epsilon;
    std::uint64_t rows, length;  // a token's groups, and their length
  };
  struct Normalize {
    Slot in, out;
    float epsilon;
    std::uint64_t rows, length;  // as Norm's
  };
  struct Products {
    Slot in;
    std::vector<std::size_t> linears;
    std::vector<Slot> outs;
    std::optional<GatedProducts> gated = {};
  };
  struct Rotate {
    Slot x;
    std::size_t table;
    std::uint64_t heads, head_dim, pairs;
    bool half_split;
  };
  struct Attend {
    Slot q, k, v, out;
    Attention op;
    std::size_t state;
    std::optional<std::size_t> sinks;  // their vector
    bool stores;                       // keys and values; else they are in the state
  };
  // Queries are taken to the latent vectors, of which keys and values are the state.
  struct AttendToLatent {
    Slot plain, turned, latent, shared;  // inputs
    Slot queries, kept;                  // what is made of them; the queries' place is the results', too
    Slot out;
    LatentAttention op;
    std::size_t weights, state;  // weights: of latents()
  };
  struct Convolve {
    Slot in, out;
    std::size_t taps;  // a vector
    std::uint64_t num_taps, width;
    std::size_t state;
    bool activates;
  };
  struct Recur {
    Slot q, k, v, forgets, learns, out;
    std::size_t rate, bias;  // vectors
    GatedDeltaRule op;
    std::size_t state;
  };
  // Where the products that it is about are not made by the step before.
  struct GatedActivation {
    Activation activation;
    Slot gate, up, out;
    std::uint64_t width;
  };
  struct GatedTokens {
    Slot gate, x;
    std::uint64_t width;
  };
  struct ClampedGate {
    Slot gate, up, out;
    std::uint64_t width;
    ClampedSwiglu op;
  };
  struct Multiplied {
    Slot x;
    std::uint64_t width;
    float factor;
  };
  struct MultipliedByWeight {
    Slot x;
    std::uint64_t width;
    std::size_t factor;  // a vector of one number
  };
  struct ScaledByPosition {
    Slot x;
    std::uint64_t width;
    PositionScale op;
  };
  struct Squared {  // what is above 0; the rest becomes 0
    Slot x;
    std::uint64_t width;
  };
  struct Product {
    Slot x, factor;
    std::uint64_t width;
  };
  struct Capped {
    Slot x;
    std::uint64_t width;
    float cap;
  };
  struct Accumulate {
    Slot into, from;
    std::uint64_t width;
  };
  struct Choose {
    Slot logits, routing;
    std::uint64_t experts;
    Route op;
    std::optional<std::size_t> scales, correction;  // vectors
  };
  struct Group {
    Slot routing;
    std::uint64_t experts;
    std::size_t group;
  };
  // Every expert's matrices, multiplied with the rows of its tokens: taken from x [tokens, cols], or from rows that lie
  // by expert already.
  struct ExpertProducts {
    Slot in;
    bool gathers;
    std::uint64_t cols;
    std::size_t group;
    struct Part {
      std::vector<std::size_t> linears;  // by expert
      Slot out;
      std::uint64_t rows;
    };
    std::vector<Part> parts;
    std::optional<GatedProducts> gated = {};
  };
  struct Mix {
    Slot in, out;
    std::uint64_t width;
    std::size_t group;
  };
  struct Copy {
    Slot from, to;
    std::uint64_t width, begin, from_width;  // channels, the first of them, and how many there are
    std::uint64_t rows = 1;                  // of a token: its heads
  };
  using Step = std::variant<Embed, Norm, Normalize, Products, Rotate, Attend, AttendToLatent, Convolve, Recur,
                            GatedActivation, ClampedGate, GatedTokens, Multiplied, MultipliedByWeight, ScaledByPosition,
                            Squared, Product, Capped, Choose, Group, ExpertProducts, Mix, Accumulate, Copy>;
  class Compiler;
  struct Runner;

  std::vector<Step> steps_;
  std::vector<LinearUse> linears_;
  std::vector<std::string> vectors_;
  std::vector<LatentUse> latents_;
  std::size_t num_groups_ = 0;
  std::vector<std::uint64_t> widths_;  // of slots; first those of the given values, then the wanted ones'
  std::size_t num_bound_ = 0;          // of these two
  std::vector<std::optional<std::size_t>> places_;
};

}  // namespace nibble
