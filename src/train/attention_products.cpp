// SPDX-License-Identifier: Apache-2.0
#include "train/attention_products.h"

#include <algorithm>
#include <cmath>

#include "kernels/select.h"
#include "kernels/training/training_loops.h"

namespace nibble {
namespace {

constexpr std::size_t kQueries = 128;  // of a run

// Memory of one thread: shares of a run and what they are worth, [kQueries, length] each, and room for products.
struct WorkerRoom {
  static std::size_t product_bytes(const AttentionOperands& a, ProductArithmetic arithmetic) {
    const std::size_t length = a.batch.length, dim = a.op.head_dim, run = std::min(kQueries, length);
    return std::max({product_room({run, length, dim}, arithmetic), product_room({run, dim, length}, arithmetic),
                     product_room({length, dim, run}, arithmetic)});
  }
  WorkerRoom(const AttentionOperands& a, ProductArithmetic arithmetic, KernelScratch& scratch) {
    const std::size_t scores = kQueries * ((a.batch.length + 15) / 16 * 16);
    std::byte* const memory = scratch.reserve(2 * scores * sizeof(float) + product_bytes(a, arithmetic));
    shares = reinterpret_cast<float*>(memory);
    worth = shares + scores;
    products = memory + 2 * scores * sizeof(float);
  }
  float *shares, *worth;
  std::byte* products;
};

// One head of one sequence.
struct Head {
  const AttentionOperands& a;
  const TapeRoom& room;
  const WorkerRoom& memory;
  std::size_t sequence, head;

  std::size_t dim() const { return a.op.head_dim; }
  std::size_t width() const { return a.op.heads * a.op.head_dim; }
  std::size_t kv_width() const { return a.op.kv_heads * a.op.head_dim; }
  std::size_t query_place(std::size_t t) const { return (sequence * a.batch.length + t) * width() + head * dim(); }
  std::size_t key_place(std::size_t t) const {
    return (sequence * a.batch.length + t) * kv_width() + head / (a.op.heads / a.op.kv_heads) * dim();
  }
  void multiply(const Factor& left, const Factor& right, const ProductExtents& extents, const ProductResult& y) const {
    multiply_alone(left, right, extents, y, room.arithmetic, room.machine.isa, memory.products);
  }
};

// Queries first .. end, and the keys from `seen` to end that any of them sees.
struct Run {
  std::size_t first, end, seen;
  std::size_t queries() const { return end - first; }
  std::size_t keys() const { return end - seen; }
};

Run run_of(const AttentionOperands& a, std::size_t first) {
  const std::size_t window = a.op.window;
  return {first, std::min(first + kQueries, a.batch.length), window == 0 || first < window ? 0 : first + 1 - window};
}

// Scores of the keys that query t sees become shares; those of others 0. slopes: of the bound, where there is one, as
// the scores; null: nobody asks. Gives the sink's share.
float share(const Head& h, const Run& run, std::size_t t, float sink, float* row, float* slopes) {
  const Attention& op = h.a.op;
  const std::size_t begin = (op.window == 0 || t < op.window ? 0 : t + 1 - op.window) - run.seen,
                    count = t + 1 - run.seen - begin;
  float* const seen = row + begin;
  float scale = op.scale;
  if (op.soft_cap != 0) {
    kernel_table(h.room.machine.isa).soft_cap(seen, count, op.scale / op.soft_cap, op.soft_cap);
    scale = 1;
    for (std::size_t s = 0; s < count && slopes != nullptr; ++s) {
      const float bend = seen[s] / op.soft_cap;
      slopes[begin + s] = 1 - bend * bend;
    }
  }
  const float rest = training_loops(h.room.machine.isa).softmax(seen, count, scale, sink);
  std::fill(row, seen, 0.0F);
  std::fill(seen + count, row + run.keys(), 0.0F);
  return rest;
}

float sink_of(const Head& h) { return h.a.sinks.empty() ? -INFINITY : h.a.sinks[h.head]; }

// memory.shares becomes the run's; sink_shares: [queries], where it is not null; slopes: [queries, keys], with a bound.
void find_shares(const Head& h, const Run& run, float* sink_shares, float* slopes) {
  float* const shares = h.memory.shares;
  h.multiply({h.a.queries + h.query_place(run.first), h.width()},
             {h.a.keys + h.key_place(run.seen), h.kv_width(), true}, {run.queries(), run.keys(), h.dim()},
             {shares, run.keys()});
  for (std::size_t t = run.first; t < run.end; ++t) {
    const std::size_t row = t - run.first;
    const float rest = share(h, run, t, sink_of(h), shares + row * run.keys(),
                             slopes == nullptr ? nullptr : slopes + row * run.keys());
    if (sink_shares != nullptr) sink_shares[row] = rest;
  }
}

void attend_head(const Head& h, float* out) {
  for (std::size_t first = 0; first < h.a.batch.length; first += kQueries) {
    const Run run = run_of(h.a, first);
    find_shares(h, run, nullptr, nullptr);
    h.multiply({h.memory.shares, run.keys()}, {h.a.values + h.key_place(run.seen), h.kv_width()},
               {run.queries(), h.dim(), run.keys()}, {out + h.query_place(first), h.width()});
  }
}

// Gives what is added to the gradient by the head's sink.
float add_head_gradient(const Head& h, const float* dy, const AttentionGradients& into) {
  float by_sink = 0;
  std::vector<float> slopes;  // of the bound
  for (std::size_t first = 0; first < h.a.batch.length; first += kQueries) {
    const Run run = run_of(h.a, first);
    float sink_shares[kQueries];
    if (h.a.op.soft_cap != 0) slopes.assign(run.queries() * run.keys(), 0.0F);
    find_shares(h, run, sink_shares, slopes.empty() ? nullptr : slopes.data());
    float *const shares = h.memory.shares, *const worth = h.memory.worth;
    const std::size_t keys = run.keys(), query = h.query_place(first), key = h.key_place(run.seen);
    h.multiply({shares, keys, true}, {dy + query, h.width()}, {keys, h.dim(), run.queries()},
               {into.values + key, h.kv_width(), true});
    h.multiply({dy + query, h.width()}, {h.a.values + key, h.kv_width(), true}, {run.queries(), keys, h.dim()},
               {worth, keys});
    for (std::size_t row = 0; row < run.queries(); ++row) {
      const float* const p = shares + row * keys;
      float* const g = worth + row * keys;
      const float mean = training_loops(h.room.machine.isa).softmax_gradient(p, keys, h.a.op.scale, g);
      for (std::size_t s = 0; s < keys && !slopes.empty(); ++s) g[s] *= slopes[row * keys + s];
      by_sink -= mean * sink_shares[row];
    }
    h.multiply({worth, keys}, {h.a.keys + key, h.kv_width()}, {run.queries(), h.dim(), keys},
               {into.queries + query, h.width(), true});
    h.multiply({worth, keys, true}, {h.a.queries + query, h.width()}, {keys, h.dim(), run.queries()},
               {into.keys + key, h.kv_width(), true});
  }
  return by_sink;
}

// Heads that read the same keys are one task: they add to the same gradients.
template <class Body>
void for_each_key_head(const AttentionOperands& a, TapeRoom& room, Body&& body) {
  room.workers.resize(room.machine.pool.num_threads());
  const std::size_t group = a.op.heads / a.op.kv_heads;
  room.machine.pool.parallel_for(
      a.batch.sequences * a.op.kv_heads, 1, [&](std::size_t begin, std::size_t end, std::size_t worker) {
        const WorkerRoom memory(a, room.arithmetic, room.workers[worker]);
        for (std::size_t task = begin; task < end; ++task)
          for (std::size_t i = 0; i < group; ++i)
            body(Head{a, room, memory, task / a.op.kv_heads, task % a.op.kv_heads * group + i});
      });
}

}  // namespace

void attend(const AttentionOperands& operands, float* out, TapeRoom& room) {
  for_each_key_head(operands, room, [&](const Head& head) { attend_head(head, out); });
}

void add_attention_gradient(const AttentionOperands& operands, const float* output_gradient,
                            const AttentionGradients& into, TapeRoom& room) {
  std::vector<float> by_sinks(operands.batch.sequences * operands.op.heads);
  for_each_key_head(operands, room, [&](const Head& head) {
    by_sinks[head.sequence * operands.op.heads + head.head] = add_head_gradient(head, output_gradient, into);
  });
  for (std::size_t i = 0; i < by_sinks.size() && !into.sinks.empty(); ++i)
    into.sinks[i % operands.op.heads] += by_sinks[i];
}

}  // namespace nibble
