// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <numbers>
#include <vector>

#include "kernels/attention/kv_layout.h"
#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kRows =
    48;  // query rows (tokens x heads of a group) that share the work on a chunk; 8 tiles of 6
constexpr std::size_t kSpan =
    16 * kKvChunk;  // positions whose softmax runs by itself; spans are merged in order, whoever computed them
constexpr std::size_t kNoWindow = SIZE_MAX / 2;  // longer than any cache
constexpr std::size_t kVector = 16;              // arrays of one number a row are read in whole vectors

// What is the same for all pieces of a call.
struct Setting {
  const KernelTable& kernels;
  std::size_t heads, kv_heads, head_dim, depth;
  KvType type;
  bool has_values;
  float scale;                          // of scores that are exponents of 2
  std::size_t window;                   // beyond any position where there is none
  ScoreCap cap;                         // of scaled scores
  std::span<const float> sinks = {};    // [heads], as exponents of 2; empty: none
  std::span<const float> nothing = {};  // [depth]: what a sink's value is
  std::size_t group() const { return heads / kv_heads; }
  std::size_t block_tokens() const { return std::max<std::size_t>(1, kRows / group()); }
  std::size_t block_rows() const { return block_tokens() * group(); }
  // The first position that a query at `position` sees; before it there are window - 1 others at most.
  std::size_t first_seen(std::size_t position) const { return position < window ? 0 : position + 1 - window; }
  // The tokens from `position` on see something of these spans.
  std::size_t first_span(std::size_t position) const { return first_seen(position) / kSpan; }
  std::size_t num_spans(std::size_t position, std::size_t tokens) const {
    return (position + tokens + kSpan - 1) / kSpan - first_span(position);
  }
  std::size_t num_spans(const AttentionPiece& piece) const { return num_spans(piece.position, piece.tokens); }
  // A piece is cut into blocks of tokens, or, where it is a single block, into spans: there may be fewer heads than
  // there are threads.
  std::size_t parts(const AttentionPiece& piece) const {
    return piece.tokens > block_tokens() ? (piece.tokens + block_tokens() - 1) / block_tokens() : num_spans(piece);
  }
  bool is_cut_into_spans(const AttentionPiece& piece) const {
    return piece.tokens <= block_tokens() && num_spans(piece) > 1;
  }
  bool coded() const { return kv_code_bits(type) != 0; }
  std::int32_t offset() const { return kv_code_bits(type) == 8 ? 128 : 8; }
};

// Cuts arrays from memory that the caller has; with none it only counts.
class Cutter {
 public:
  explicit Cutter(std::byte* base) : base_(base) {}
  template <class T>
  T* take(std::size_t count) {
    const std::size_t at = used_;
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

// What rows have gathered over a run of positions.
struct Gathered {
  float *result, *top, *sum;  // [rows, depth], [rows], [rows]: weighted values, largest score, sum of weights
  Gathered(Cutter& cut, std::size_t rows, std::size_t depth)
      : result(cut.take<float>(rows * depth)),
        top(cut.take<float>(rows + kVector)),
        sum(cut.take<float>(rows + kVector)) {}
  void clear(std::size_t rows, std::size_t depth) const {
    std::fill_n(result, rows * depth, 0.0f);
    std::fill_n(top, rows, std::numeric_limits<float>::lowest());
    std::fill_n(sum, rows, 0.0f);
  }
};

// Everything a worker needs for one block of rows.
struct Workspace {
  float *queries, *scores;       // [rows, head_dim], [rows, 64]
  float *keys, *values;          // [depth, 64], [64, depth]: of an f16 cache, values where they are keys, too
  CodedRows coded = {};          // of quantized ones
  std::int8_t* codes = nullptr;  // what `coded` reads
  float* scales = nullptr;
  std::int32_t* biases = nullptr;
  std::uint8_t* turned = nullptr;  // keys as values
  Gathered total, span;

  Workspace(Cutter& cut, const Setting& a)
      : queries(cut.take<float>(a.block_rows() * a.head_dim)),
        scores(cut.take<float>(a.block_rows() * kKvChunk)),
        keys(cut.take<float>(a.type == KvType::f16 ? a.depth * kKvChunk : 0)),
        values(cut.take<float>(a.type == KvType::f16 || (!a.has_values && !a.coded()) ? a.depth * kKvChunk : 0)),
        total(cut, a.block_rows(), a.depth),
        span(cut, a.block_rows(), a.depth) {
    if (!a.coded()) return;
    const std::size_t rows = a.block_rows(), groups = a.depth / kKvGroup;
    turned = cut.take<std::uint8_t>(a.has_values ? 0 : a.depth * kKvChunk);
    codes = cut.take<std::int8_t>(rows * a.depth);
    scales = cut.take<float>(rows * groups);
    biases = cut.take<std::int32_t>(rows * groups);
    coded.scores = scores;
    coded.here = cut.take<float>(rows + kVector);
    coded.kept = cut.take<float>(rows + kVector);
    coded.factor = cut.take<float>(rows + kVector);
    coded.added = cut.take<float>(rows + kVector);
    coded.bound = cut.take<float>(rows + kVector);
    coded.weights = cut.take<std::uint8_t>(rows * groups * 2 * kKvChunk);
    coded.panels = cut.take<std::uint8_t>(kv_code_bits(a.type) == 4 ? 2 * a.depth * kKvChunk : 0);
    coded.grids = cut.take<float>((2 * groups + 1) * kKvChunk);
  }
};

// Some tokens of a piece and the heads that share a kv head. Row r: token first + r / group.
struct Block {
  const AttentionPiece* piece;
  std::size_t kv_head, first, tokens;
  const KvLayer::State& cache() const { return piece->cache->state(); }
  std::size_t here() const { return piece->position + first; }  // where the first token stands
  std::size_t rows(const Setting& a) const { return tokens * a.group(); }
  // The rows that see some of the positions begin .. end - 1.
  struct Rows {
    std::size_t begin, end;
    std::size_t count() const { return end - begin; }
  };
  Rows rows_seeing(const Setting& a, std::size_t begin, std::size_t end) const {
    const auto tokens_before = [this](std::size_t position) {
      return std::min(tokens, position > here() ? position - here() : 0);
    };
    return {tokens_before(begin) * a.group(), tokens_before(end + a.window - 1) * a.group()};
  }
  std::size_t offset(const Setting& a, std::size_t row) const {
    return ((first + row / a.group()) * a.heads + kv_head * a.group() + row % a.group()) * a.head_dim;
  }
};

void take_queries(const Setting& a, const Block& block, const Workspace& w) {
  const std::size_t groups = a.depth / kKvGroup;
  for (std::size_t r = 0; r < block.rows(a); ++r) {
    float* const query = w.queries + r * a.head_dim;
    std::copy_n(block.piece->queries + block.offset(a, r), a.head_dim, query);
    if (block.cache().rotates()) block.cache().rotation.turn(query);
    if (a.coded())
      a.kernels.quantize_query(query, a.head_dim, a.scale, a.offset(), w.codes + r * a.depth, w.scales + r * groups,
                               w.biases + r * groups);
  }
}

// One chunk, whose first position is `start`, and the rows that see some of it.
void attend_to_codes(const Setting& a, const Block& block, std::size_t start, const Block::Rows& seeing,
                     const Workspace& w, const Gathered& out) {
  const KvLayer::State& s = block.cache();
  const std::byte *const keys = s.keys(block.kv_head, start / kKvChunk), *const values = s.has_values
                                                                                             ? s.values_behind(keys)
                                                                                             : keys;
  const auto codes = [](const std::byte* p) { return reinterpret_cast<const std::uint8_t*>(p); };
  const auto scales = [&s](const std::byte* p) { return reinterpret_cast<const std::uint16_t*>(p + s.code_bytes); };
  CodedRows rows = w.coded;
  rows.codes = w.codes;
  rows.scales = w.scales;
  rows.biases = w.biases;
  rows.result = out.result;
  rows.top = out.top;
  rows.sum = out.sum;
  const bool is_last = start + kKvChunk >= block.here() + block.tokens;
  const std::size_t next_bytes = is_last ? 0 : s.chunk_bytes();
  if (!s.has_values) keys_as_values(codes(keys), a.depth, a.type, w.turned);
  const CodedChunk chunk{kv_code_bits(a.type),
                         a.depth,
                         codes(keys),
                         s.has_values ? codes(values) : w.turned,
                         scales(keys),
                         scales(values),
                         is_last ? keys : s.keys(block.kv_head, start / kKvChunk + 1),
                         next_bytes};
  const std::size_t seen =
      block.here() + seeing.begin / a.group() + 1 - start;  // of the chunk, by the first of these rows
  const std::ptrdiff_t first = a.window == kNoWindow
                                   ? SeenPositions::kNoWindow
                                   : static_cast<std::ptrdiff_t>(seen) - static_cast<std::ptrdiff_t>(a.window);
  a.kernels.attend_to_codes(chunk, rows.from(seeing.begin, a.depth), seeing.count(), {first, seen, a.group()}, a.cap);
}

void attend_to_floats(const Setting& a, const Block& block, std::size_t start, const Block::Rows& seeing,
                      const Workspace& w, const Gathered& out) {
  const KvLayer::State& s = block.cache();
  const std::byte *const k = s.keys(block.kv_head, start / kKvChunk), *const v = s.has_values ? s.values_behind(k) : k;
  const float *keys = reinterpret_cast<const float*>(k), *values = reinterpret_cast<const float*>(v);
  if (a.type == KvType::f16) {
    a.kernels.widen_f16(reinterpret_cast<const std::uint16_t*>(k), kKvChunk * a.depth, w.keys);
    if (s.has_values) a.kernels.widen_f16(reinterpret_cast<const std::uint16_t*>(v), kKvChunk * a.depth, w.values);
    keys = w.keys;
    values = w.values;
  }
  if (!s.has_values) {
    keys_as_values(keys, a.depth, w.values);
    values = w.values;
  }
  const std::size_t rows = seeing.count();
  a.kernels.f32_tile(keys, a.head_dim, kKvChunk, w.queries + seeing.begin * a.head_dim, a.head_dim, rows, w.scores,
                     kKvChunk, 0);
  const bool is_capped = a.cap.outer != 0;
  if (is_capped) a.kernels.soft_cap(w.scores, rows * kKvChunk, a.cap.inner * a.scale, a.cap.outer);
  for (std::size_t i = 0; i < rows; ++i) {
    const std::size_t r = seeing.begin + i, position = block.here() + r / a.group(),
                      end = std::min(kKvChunk, position + 1 - start);
    const std::size_t first = a.first_seen(position), begin = first > start ? first - start : 0;
    const float kept =
        a.kernels.softmax_chunk(w.scores + i * kKvChunk, begin, end, is_capped ? 1 : a.scale, &out.top[r], &out.sum[r]);
    if (kept != 1)
      for (float* x = out.result + r * a.depth; x != out.result + (r + 1) * a.depth; ++x) *x *= kept;
  }
  a.kernels.f32_tile(values, kKvChunk, a.depth, w.scores, kKvChunk, rows, out.result + seeing.begin * a.depth, a.depth,
                     1);
}

// One span of positions, for rows whose queries were taken.
void attend(const Setting& a, const Block& block, std::size_t span, const Workspace& w, const Gathered& out) {
  out.clear(block.rows(a), a.depth);
  const std::size_t first_chunk = a.first_seen(block.here()) / kKvChunk,
                    end = std::min(block.here() + block.tokens, (span + 1) * kSpan);
  for (std::size_t start = std::max(span * kSpan, first_chunk * kKvChunk); start < end; start += kKvChunk) {
    const Block::Rows seeing = block.rows_seeing(a, start, start + kKvChunk);
    if (a.coded())
      attend_to_codes(a, block, start, seeing, w, out);
    else
      attend_to_floats(a, block, start, seeing, w, out);
  }
}

// Rows that have seen nothing of the span have nothing to add.
void merge(const Setting& a, const Block& block, std::size_t span, const Gathered& from, const Gathered& into) {
  const Block::Rows seeing = block.rows_seeing(a, span * kSpan, (span + 1) * kSpan);
  for (std::size_t r = seeing.begin; r < seeing.end; ++r)
    a.kernels.merge_softmax(from.result + r * a.depth, from.top[r], from.sum[r], a.depth, into.result + r * a.depth,
                            &into.top[r], &into.sum[r]);
}

// Behind all positions, however they were cut into spans.
void add_sinks(const Setting& a, const Block& block, const Gathered& total) {
  for (std::size_t r = 0; r < block.rows(a); ++r)
    a.kernels.merge_softmax(a.nothing.data(), a.sinks[block.kv_head * a.group() + r % a.group()], 1, a.depth,
                            total.result + r * a.depth, &total.top[r], &total.sum[r]);
}

void finish(const Setting& a, const Block& block, const Gathered& total) {
  if (!a.sinks.empty()) add_sinks(a, block, total);
  const KvLayer::State& cache = block.cache();
  for (std::size_t r = 0; r < block.rows(a); ++r) {
    float* const out = block.piece->out + block.offset(a, r);
    a.kernels.divide(total.result + r * a.depth, a.head_dim, total.sum[r], out);
    if (cache.gathers_turned()) cache.rotation.turn_back(out);
  }
}

void attend_to_all(const Setting& a, const Block& block, const Workspace& w) {
  take_queries(a, block, w);
  const std::size_t first = a.first_span(block.here());
  attend(a, block, first, w, w.total);
  for (std::size_t i = 1; i < a.num_spans(block.here(), block.tokens); ++i) {
    attend(a, block, first + i, w, w.span);
    merge(a, block, first + i, w.span, w.total);
  }
  finish(a, block, w.total);
}

}  // namespace

void attention(std::span<const AttentionPiece> pieces, const AttentionRule& rule, Machine& machine) {
  if (pieces.empty()) return;
  const KvLayer::State& shape = pieces[0].cache->state();
  assert(shape.kv_heads != 0 && rule.heads % shape.kv_heads == 0);
  constexpr float kLog2E = std::numbers::log2e_v<float>;
  const ScoreCap cap = rule.soft_cap == 0
                           ? ScoreCap{}
                           : ScoreCap{.inner = 1 / (rule.soft_cap * kLog2E), .outer = rule.soft_cap * kLog2E};
  std::vector<float> sinks;
  if (rule.sinks != nullptr) sinks.assign(rule.sinks, rule.sinks + rule.heads);
  for (float& sink : sinks) sink *= kLog2E;
  const std::vector<float> nothing(sinks.empty() ? 0 : shape.depth);
  const Setting a{kernel_table(machine.isa),
                  rule.heads,
                  shape.kv_heads,
                  shape.head_dim,
                  shape.depth,
                  shape.type,
                  shape.has_values,
                  rule.scale * kLog2E,
                  rule.window == 0 ? kNoWindow : rule.window,
                  cap,
                  sinks,
                  nothing};

  // Partial results of pieces that are cut into spans.
  std::size_t tasks = 0, slots = 0, slot_rows = 0;
  for (const AttentionPiece& piece : pieces) {
    tasks += a.kv_heads * a.parts(piece);
    if (!a.is_cut_into_spans(piece)) continue;
    slots += a.kv_heads * a.parts(piece);
    slot_rows = std::max(slot_rows, piece.tokens * a.group());
  }
  Cutter sizes(nullptr);
  Workspace(sizes, a);
  Cutter slot_sizes(nullptr);
  Gathered(slot_sizes, slot_rows, a.depth);
  std::byte* const base =
      machine.scratch.reserve(machine.pool.num_threads() * sizes.used() + slots * slot_sizes.used());
  const auto slot = [&](std::size_t i) {
    Cutter cut(base + machine.pool.num_threads() * sizes.used() + i * slot_sizes.used());
    return Gathered(cut, slot_rows, a.depth);
  };

  machine.pool.parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    Cutter cut(base + worker * sizes.used());
    const Workspace w(cut, a);
    for (std::size_t task = begin; task < end; ++task) {
      std::size_t part = task, first_slot = 0;
      const AttentionPiece* piece = pieces.data();
      for (; part >= a.kv_heads * a.parts(*piece); ++piece) {
        part -= a.kv_heads * a.parts(*piece);
        if (a.is_cut_into_spans(*piece)) first_slot += a.kv_heads * a.parts(*piece);
      }
      if (a.is_cut_into_spans(*piece)) {
        const Block block{piece, part / a.parts(*piece), 0, piece->tokens};
        take_queries(a, block, w);
        attend(a, block, a.first_span(piece->position) + part % a.parts(*piece), w, slot(first_slot + part));
      } else {
        // Late tokens see the most keys: their blocks are handed out first.
        const std::size_t first = (a.parts(*piece) - 1 - part / a.kv_heads) * a.block_tokens();
        attend_to_all(a, {piece, part % a.kv_heads, first, std::min(a.block_tokens(), piece->tokens - first)}, w);
      }
    }
  });

  std::size_t next_slot = 0;
  for (const AttentionPiece& piece : pieces)
    for (std::size_t head = 0; a.is_cut_into_spans(piece) && head < a.kv_heads; ++head, next_slot += a.parts(piece)) {
      const Block block{&piece, head, 0, piece.tokens};
      const Gathered total = slot(next_slot);
      for (std::size_t i = 1; i < a.parts(piece); ++i)
        merge(a, block, a.first_span(piece.position) + i, slot(next_slot + i), total);
      finish(a, block, total);
    }
}

}  // namespace nibble
