// SPDX-License-Identifier: Apache-2.0
//
// Weights with outliers: products of their codes, in whatever form these have, and behind each panel what the outliers
// add to them, from inputs in f32.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "format/outlier_format.h"
#include "kernels/linear/outlier_kernels.h"
#include "kernels/linear/packed_weights.h"

namespace nibble {
namespace {

static_assert(kOutlierRows == 64, "a tile is a panel");
constexpr std::size_t kPanel = kOutlierRows;
constexpr std::size_t kLine = 64;
constexpr std::uint64_t kOwnPreparation = 0x5bd1e9955bd1e995;  // no other form's

class OutlierPanels final : public PackedWeights {
 public:
  OutlierPanels(std::unique_ptr<PackedWeights> weights, const QuantizedView& view, Isa isa)
      : PackedWeights(weights->rows(), weights->cols(), weights->name() + " and outliers"),
        weights_(std::move(weights)),
        kernels_(outlier_kernels(isa)) {
    const OutlierFormat& format = *find_outlier_format(*view.format);
    const OutlierLayout layout = format.layout(view.cols);
    for (std::uint64_t first = 0; first < rows_; first += kPanel) {
      mark_start();
      add_panel(layout, format.tile(view.row(first)), std::min<std::size_t>(kPanel, rows_ - first));
    }
    mark_start();
    columns_.resize(columns_.size() + kOutlierSlack);
    addends_.resize(columns_.size());
    rounds_.shrink_to_fit();
    others_.shrink_to_fit();
    columns_.shrink_to_fit();
    addends_.shrink_to_fit();
  }

  Arithmetic arithmetic() const noexcept override { return weights_->arithmetic(); }
  std::uint64_t resident_bytes() const noexcept override {
    return weights_->resident_bytes() + starts_.size() * sizeof(Start) + rounds_.size() * sizeof(rounds_[0]) +
           others_.size() + (columns_.size() + addends_.size()) * sizeof(columns_[0]);
  }
  void decode_row(std::uint64_t row, float* out) const override {
    weights_->decode_row(row, out);
    const OutlierRounds panel = rounds(static_cast<std::size_t>(row / kPanel));
    const std::uint64_t own = row % kPanel, bit = std::uint64_t{1} << own;
    std::size_t i = 0;
    for (std::size_t round = 0; round < panel.rounds; ++round) {
      const std::uint64_t rows = panel.rows[round];
      const std::size_t at = i + static_cast<std::size_t>(std::popcount(rows & (bit - 1)));
      if ((rows & bit) != 0) out[panel.columns[at]] += f16_to_f32(panel.addends[at]);
      i += static_cast<std::size_t>(std::popcount(rows));
    }
    for (std::size_t other = 0; other < panel.num_others; ++other, ++i)
      if (panel.others[other] == own) out[panel.columns[i]] += f16_to_f32(panel.addends[i]);
  }

  // Behind what the codes' form prepares: inputs of kOutlierTokens tokens side by side, [cols, kOutlierTokens] each.
  // A single token is read as it comes.
  std::uint64_t preparation() const noexcept override { return weights_->preparation() ^ kOwnPreparation; }
  std::uint64_t input_grid() const noexcept override { return weights_->input_grid(); }
  std::span<const std::uint32_t> input_order() const noexcept override { return weights_->input_order(); }
  std::size_t shared_bytes(std::size_t tokens) const noexcept override {
    return own_at(tokens) + (tokens == 1 ? 0 : runs(tokens) * run_floats() * sizeof(float));
  }
  std::size_t worker_bytes() const noexcept override { return sums_bytes() + weights_->worker_bytes(); }
  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const override {
    weights_->prepare(x, tokens, pool, shared);
    if (tokens == 1) return;
    float* const out = reinterpret_cast<float*>(shared + own_at(tokens));
    const auto cols = static_cast<std::size_t>(cols_);
    pool.parallel_for(runs(tokens), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t run = begin; run < end; ++run) {
        const float* const first = x + run * kOutlierTokens * cols;
        const std::size_t count = std::min(kOutlierTokens, tokens - run * kOutlierTokens);
        float* const lanes = out + run * run_floats();
        for (std::size_t c = 0; c < cols; ++c)
          for (std::size_t t = 0; t < kOutlierTokens; ++t)
            lanes[c * kOutlierTokens + t] = t < count ? first[t * cols + c] : 0.0F;
      }
    });
  }
  void multiply_panel(std::size_t panel, const float* x, std::size_t tokens, float* y, std::byte* shared,
                      std::byte* worker) const override {
    if (tokens == 1) ask_for(panel);
    weights_->multiply_panel(panel, x, tokens, y, shared, worker + sums_bytes());
    const OutlierRounds outliers = rounds(panel);
    const auto rows = static_cast<std::size_t>(rows_);
    const std::size_t first = panel * kPanel, width = std::min(kPanel, rows - first);
    float* const sums = reinterpret_cast<float*>(worker);
    if (tokens == 1) {
      kernels_.one_token(outliers, x, sums);
      for (std::size_t row = 0; row < width; ++row) y[first + row] += sums[row];
      return;
    }
    const float* const prepared = reinterpret_cast<const float*>(shared + own_at(tokens));
    for (std::size_t run = 0; run < runs(tokens); ++run) {
      kernels_.tokens(outliers, prepared + run * run_floats(), sums);
      const std::size_t begin = run * kOutlierTokens, count = std::min(kOutlierTokens, tokens - begin);
      for (std::size_t t = 0; t < count; ++t) {
        float* const out = y + (begin + t) * rows + first;
        for (std::size_t row = 0; row < width; ++row) out[row] += sums[row * kOutlierTokens + t];
      }
    }
  }

 private:
  // Among the rounds, the others and the outliers of all panels.
  struct Start {
    std::uint32_t round, other, outlier;
  };

  static std::size_t runs(std::size_t tokens) { return (tokens + kOutlierTokens - 1) / kOutlierTokens; }
  static std::size_t sums_bytes() { return kPanel * kOutlierTokens * sizeof(float); }
  std::size_t run_floats() const { return static_cast<std::size_t>(cols_) * kOutlierTokens; }
  std::size_t own_at(std::size_t tokens) const { return whole_lines(weights_->shared_bytes(tokens)); }

  OutlierRounds rounds(std::size_t panel) const {
    const Start begin = starts_[panel], end = starts_[panel + 1];
    return {rounds_.data() + begin.round, end.round - begin.round,         others_.data() + begin.other,
            end.other - begin.other,      columns_.data() + begin.outlier, addends_.data() + begin.outlier};
  }

  // They are few, and come too late where they are asked for only behind the codes.
  void ask_for(std::size_t panel) const {
    const auto ask = [](const auto* begin, const auto* end) {
      for (auto* line = reinterpret_cast<const std::byte*>(begin); line < reinterpret_cast<const std::byte*>(end);
           line += kLine)
        __builtin_prefetch(line);
    };
    const Start begin = starts_[panel], end = starts_[panel + 1];
    ask(rounds_.data() + begin.round, rounds_.data() + end.round);
    ask(columns_.data() + begin.outlier, columns_.data() + end.outlier);
    ask(addends_.data() + begin.outlier, addends_.data() + end.outlier);
  }

  void mark_start() {
    starts_.push_back({static_cast<std::uint32_t>(rounds_.size()), static_cast<std::uint32_t>(others_.size()),
                       static_cast<std::uint32_t>(columns_.size())});
  }

  // In rounds as long as these take fewer bytes than rows that are named one by one.
  void add_panel(const OutlierLayout& layout, const std::byte* tile, std::size_t rows) {
    std::array<std::size_t, kPanel> next{}, end{};
    for (std::size_t row = 0; row < rows; ++row) {
      next[row] = layout.begin(tile, row);
      end[row] = layout.end(tile, row);
    }
    const auto add = [&](std::size_t row) {
      columns_.push_back(static_cast<std::uint16_t>(layout.column(tile, next[row])));
      addends_.push_back(f32_to_f16(layout.addend(tile, next[row])));
      ++next[row];
    };
    for (;;) {
      std::uint64_t round = 0;
      for (std::size_t row = 0; row < rows; ++row)
        if (next[row] < end[row]) round |= std::uint64_t{1} << row;
      if (static_cast<std::size_t>(std::popcount(round)) <= sizeof round) break;
      rounds_.push_back(round);
      for (; round != 0; round &= round - 1) add(static_cast<std::size_t>(std::countr_zero(round)));
    }
    for (std::size_t row = 0; row < rows; ++row)
      while (next[row] < end[row]) {
        others_.push_back(static_cast<std::uint8_t>(row));
        add(row);
      }
  }

  std::unique_ptr<PackedWeights> weights_;
  const OutlierKernels& kernels_;
  std::vector<Start> starts_;  // of each panel, and the end
  std::vector<std::uint64_t> rounds_;
  std::vector<std::uint8_t> others_;
  std::vector<std::uint16_t> columns_, addends_;  // and kOutlierSlack zeros
};

}  // namespace

const OutlierKernels& outlier_kernels(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      break;
    case Isa::avx2:
    case Isa::avxvnni:
      return avx2::kOutlierKernels;
    case Isa::avx512:
      return avx512::kOutlierKernels;
  }
  return scalar::kOutlierKernels;
}

std::unique_ptr<PackedWeights> pack_outlier_panels(std::unique_ptr<PackedWeights> weights, const QuantizedView& view,
                                                   Machine& machine) {
  return std::make_unique<OutlierPanels>(std::move(weights), view, machine.isa);
}

}  // namespace nibble
