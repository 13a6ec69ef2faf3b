// SPDX-License-Identifier: Apache-2.0
//
// Weights with outliers: products of their codes, in whatever form these have, and behind each panel what the outliers
// add to them, from inputs in f32.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "base/round_up.h"
#include "format/outlier_format.h"
#include "kernels/linear/outlier_kernels.h"
#include "kernels/linear/packed_weights.h"
#include "kernels/linear/resident_bytes.h"

namespace nibble {
namespace {

static_assert(kOutlierRows == 64, "a tile is a panel");
constexpr std::size_t kPanel = kOutlierRows;
constexpr std::size_t kLine = 64;
constexpr std::uint64_t kOwnPreparation = 0x5bd1e9955bd1e995;  // no other form's

// Where a panel's outliers lie among the bytes of all: rounds, addends, columns, others, one behind the other.
struct Place {
  std::size_t begin;
  std::uint32_t rounds, outliers, others;

  std::size_t addends() const { return begin + rounds * sizeof(std::uint64_t); }
  std::size_t columns() const { return addends() + outliers * sizeof(std::uint16_t); }
  std::size_t named_rows() const { return columns() + (outliers + kOutlierSlack) * sizeof(std::uint16_t); }
  std::size_t end() const { return round_up(named_rows() + others, alignof(std::uint64_t)); }
};

// A panel's outliers in the order in which kernels take them. In rounds as long as these take fewer bytes than rows
// that are named one by one.
class PanelOutliers {
 public:
  PanelOutliers(const OutlierLayout& layout, const std::byte* tile, std::size_t rows) {
    std::array<std::size_t, kPanel> next{}, end{};
    for (std::size_t row = 0; row < rows; ++row) {
      next[row] = layout.begin(tile, row);
      end[row] = layout.end(tile, row);
    }
    for (bool is_full = true;;) {
      std::uint64_t round = 0;
      for (std::size_t row = 0; row < rows; ++row)
        if (next[row] < end[row]) round |= std::uint64_t{1} << row;
      if (round == 0) break;
      is_full = is_full && static_cast<std::size_t>(std::popcount(round)) > sizeof round;
      if (is_full) rounds_.push_back(round);
      for (; round != 0; round &= round - 1) {
        const auto row = static_cast<std::size_t>(std::countr_zero(round));
        if (!is_full) others_.push_back(static_cast<std::uint8_t>(row));
        columns_.push_back(static_cast<std::uint16_t>(layout.column(tile, next[row])));
        addends_.push_back(f32_to_f16(layout.addend(tile, next[row])));
        ++next[row];
      }
    }
  }

  Place place(std::size_t begin) const {
    return {begin, static_cast<std::uint32_t>(rounds_.size()), static_cast<std::uint32_t>(columns_.size()),
            static_cast<std::uint32_t>(others_.size())};
  }
  void write(const Place& place, std::byte* bytes) const {
    const auto put = [&](const auto& values, std::size_t at) {
      if (!values.empty()) std::memcpy(bytes + at, values.data(), values.size() * sizeof values[0]);
    };
    put(rounds_, place.begin);
    put(addends_, place.addends());
    put(columns_, place.columns());
    put(others_, place.named_rows());
  }

 private:
  std::vector<std::uint64_t> rounds_;
  std::vector<std::uint16_t> columns_, addends_;
  std::vector<std::uint8_t> others_;
};

class OutlierPanels final : public PackedWeights {
 public:
  OutlierPanels(std::unique_ptr<PackedWeights> weights, const QuantizedView& view, Isa isa)
      : PackedWeights(weights->rows(), weights->cols(), weights->name() + " and outliers"),
        weights_(std::move(weights)),
        kernels_(outlier_kernels(isa)) {
    const OutlierFormat& format = *find_outlier_format(*view.format);
    const OutlierLayout layout = format.layout(view.cols);
    std::vector<PanelOutliers> panels;
    std::size_t bytes = 0;
    for (std::uint64_t first = 0; first < rows_; first += kPanel) {
      panels.emplace_back(layout, format.tile(view.row(first)), std::min<std::size_t>(kPanel, rows_ - first));
      places_.push_back(panels.back().place(bytes));
      bytes = places_.back().end();
    }
    bytes_ = ResidentBytes(bytes);
    for (std::size_t panel = 0; panel < panels.size(); ++panel) panels[panel].write(places_[panel], bytes_.data());
  }

  Arithmetic arithmetic() const noexcept override { return weights_->arithmetic(); }
  std::uint64_t resident_bytes() const noexcept override {
    return weights_->resident_bytes() + places_.size() * sizeof(places_[0]) + bytes_.size();
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
  static std::size_t runs(std::size_t tokens) { return (tokens + kOutlierTokens - 1) / kOutlierTokens; }
  static std::size_t sums_bytes() { return kPanel * kOutlierTokens * sizeof(float); }
  std::size_t run_floats() const { return static_cast<std::size_t>(cols_) * kOutlierTokens; }
  std::size_t own_at(std::size_t tokens) const { return whole_lines(weights_->shared_bytes(tokens)); }

  OutlierRounds rounds(std::size_t panel) const {
    const Place& place = places_[panel];
    return {bytes_.as<std::uint64_t>(place.begin),       place.rounds,
            bytes_.as<std::uint8_t>(place.named_rows()), place.others,
            bytes_.as<std::uint16_t>(place.columns()),   bytes_.as<std::uint16_t>(place.addends())};
  }

  // They are few, and come too late where they are asked for only behind the codes. Inlined: g++ takes the call of a
  // function that only asks for one without any effect, and leaves it out.
  [[gnu::always_inline]] void ask_for(std::size_t panel) const {
    const Place& place = places_[panel];
    for (std::size_t at = place.begin; at < place.end(); at += kLine) __builtin_prefetch(bytes_.data() + at);
  }

  std::unique_ptr<PackedWeights> weights_;
  const OutlierKernels& kernels_;
  std::vector<Place> places_;  // of each panel
  ResidentBytes bytes_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_outlier_panels(std::unique_ptr<PackedWeights> weights, const QuantizedView& view,
                                                   Machine& machine) {
  return std::make_unique<OutlierPanels>(std::move(weights), view, machine.isa);
}

}  // namespace nibble
