// SPDX-License-Identifier: Apache-2.0
//
// Where in a model the damage is: how far a candidate's hidden states are from the original's, layer by layer.
//
// x_i is the original's residual stream after i layers, y_i the candidate's, both [tokens, hidden] over all scored
// positions; x_0 and y_0 enter the first layer. |.| is the Frobenius norm, the root of the sum of squares over all
// tokens and dimensions.
//
//   LayerWatch watch(config, tokens, pool);              // for that many tokens of all points at a time
//   original.forward_from(a, ids, 0, p, watch.record());
//   candidate.forward_from(b, ids, 0, q, watch.compare(sums));
//   candidate.forward_from(c, ids, ids.size(), {}, watch.hold(sums));
//   LayerErrors errors = layer_errors(all_sums);
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/decoder.h"
#include "nibble/evaluate.h"

namespace nibble {

// Sums of squares over some tokens. [i]: the point after i layers; added, output and local are 0 at point 0.
struct LayerSums {
  std::vector<double> stream, added;            // of the original: x_i, x_i - x_{i-1}
  std::vector<double> residual, output, local;  // the numerators above

  explicit LayerSums(std::size_t layers = 0)
      : stream(layers + 1), added(layers + 1), residual(layers + 1), output(layers + 1), local(layers + 1) {}
};

// Of all these tokens together. parts: at least one, of equally many layers. What differs from a zero is an error of
// infinity.
LayerErrors layer_errors(std::span<const LayerSums> parts);

// Holds the original's stream of some tokens at every point, and compares candidates with it. Visitors are valid as
// long as the watch is; what one adds to the sums is the same bits for any number of threads. One thread at a time.
class LayerWatch {
 public:
  // How many tokens of a window at a time keep the stream within 256 MiB.
  static std::size_t tokens_at_once(const ModelConfig& config, std::size_t context);

  LayerWatch(const ModelConfig& config, std::size_t max_tokens, ThreadPool& pool);

  StreamVisitor record();                  // for the original: keeps its stream
  StreamVisitor compare(LayerSums& sums);  // for a candidate on the same tokens: adds all but local
  StreamVisitor hold();                 // for a candidate on the same tokens: every layer reads the original's stream
  StreamVisitor hold(LayerSums& sums);  // the same, and adds local

 private:
  const float* original(const StreamPoint& point, std::size_t layers) const;
  std::size_t rows_of(const StreamPoint& point) const { return point.x.size() / hidden_; }

  struct RowSums {
    double stream = 0, added = 0, residual = 0, output = 0;
  };
  ThreadPool& pool_;
  std::size_t hidden_, max_tokens_;
  std::vector<float> stream_;    // [layers + 1, max_tokens, hidden]
  std::vector<float> previous_;  // [max_tokens, hidden]: the candidate's, one layer ago
  std::vector<RowSums> rows_;
};

}  // namespace nibble
