// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/gptq.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "base/round_up.h"
#include "format/row_tiles.h"
#include "kernels/dense/dense.h"
#include "kernels/linear/linear.h"
#include "quantize/round/feedback_factor.h"
#include "quantize/round/span_codes.h"
#include "quantize/round/span_descent.h"

namespace nibble {
namespace {

// Zeros that are a share of every run are chosen when feedback comes to the run (SparseGPT, Frantar and Alistarh 2023),
// so that its columns are rounded together.
const SparsePattern* chosen_on_the_way(const Format& format) {
  const SparseFormat* const sparse = find_sparse_format(format);
  return sparse != nullptr && sparse->pattern().percent != 0 ? &sparse->pattern() : nullptr;
}

FactorOptions factor_options(const Format& format, const GptqOptions& options) {
  FactorOptions chosen{.damp_percent = options.damp_percent, .act_order = options.desc_act, .unit = format.info().unit};
  if (const SparsePattern* const pattern = chosen_on_the_way(format)) {
    chosen.act_order = false;
    chosen.block = round_up(chosen.block, pattern->columns);
  }
  return chosen;
}

class GptqPlan final : public RoundPlan {
 public:
  GptqPlan(const SiteStatistics& site, const Format& format, const GptqOptions& options, Machine& machine)
      : factor_(site.second_moment, site.width(), factor_options(format, options), machine) {
    if (options.sweeps > 0 && find_row_tiles(format) == nullptr)
      descent_.emplace(site.second_moment, site.width(), format, factor_.damping(), machine);
  }
  const FeedbackFactor* factor() const override { return &factor_; }
  const SpanDescent* descent() const { return descent_ ? &*descent_ : nullptr; }

 private:
  FeedbackFactor factor_;
  std::optional<SpanDescent> descent_;
};

// One band on its way: weights and errors lie block after block in the order of rounding, each block [rows, columns of
// the block].
class BandRounder {
 public:
  // costs: of columns, [cols]; where zeros are chosen on the way.
  BandRounder(const FeedbackFactor& factor, const RoundBand& band, SpanCodes& codes, std::span<const float> costs,
              Machine& machine)
      : factor_(factor), band_(band), codes_(codes), costs_(costs), machine_(machine), errors_(band.rows * band.cols) {}

  void run() {
    fit_grids();
    std::vector<float> targets;
    for (std::size_t b = 0; b < factor_.num_blocks(); ++b) {
      gather(b, targets);
      for (std::size_t from = 0; from < b; ++from)
        gemm(block(from), factor_.feedback(from, b), band_.rows, factor_.block_cols(b), factor_.block_cols(from),
             targets.data(), machine_);
      round_block(b, targets.data());
    }
  }

 private:
  float* block(std::size_t b) { return &errors_[b * factor_.block() * band_.rows]; }

  void fit_grids() {
    machine_.pool.parallel_for(band_.rows, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
      const std::span<const float> importance(factor_.diagonal());
      for (std::size_t row = begin; row < end; ++row)
        for (std::size_t s = 0; s < codes_.spans(); ++s) {
          const std::size_t first = row * band_.cols + s * codes_.span();
          codes_.fit(band_, row, s, band_.values.subspan(first, codes_.span_cols(s)),
                     importance.subspan(s * codes_.span(), codes_.span_cols(s)), codes_.grid(row, s));
        }
    });
  }

  void gather(std::size_t b, std::vector<float>& targets) {
    const std::size_t width = factor_.block_cols(b);
    const std::uint32_t* const order = &factor_.order()[b * factor_.block()];
    targets.resize(band_.rows * width);
    machine_.pool.parallel_for(band_.rows, 64, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row)
        for (std::size_t p = 0; p < width; ++p) targets[row * width + p] = band_.values[row * band_.cols + order[p]];
    });
  }

  // One block on its way: [rows, width] each.
  struct Block {
    std::size_t first, width;
    const std::uint32_t* order;
    const float* feedback;
    float *targets, *errors;
  };

  // What the unit at `p` of a row has become leaves errors, which the columns behind it in the block are to make up
  // for.
  void feed_back(const Block& block, std::size_t row, std::size_t p, const float* stored) const {
    float* const t = block.targets + row * block.width;
    float* const e = block.errors + row * block.width;
    for (std::size_t i = 0; i < factor_.unit(); ++i) {
      const float error = band_.values[row * band_.cols + block.order[p + i]] - stored[i];
      e[p + i] = error;
      const float* const share = block.feedback + (p + i) * block.width;
      for (std::size_t k = p + factor_.unit(); k < block.width; ++k) t[k] += error * share[k];
    }
  }

  void round_block(std::size_t b, float* targets) {
    const std::size_t first = b * factor_.block();
    const Block now{first, factor_.block_cols(b), &factor_.order()[first], factor_.feedback(b, b), targets, block(b)};
    if (!costs_.empty()) choose_zeros(now);
    codes_.has_tiles() ? round_tiles(now) : round_rows(now);
  }

  // Columns are in their own order.
  void choose_zeros(const Block& block) {
    machine_.pool.parallel_for(band_.rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row)
        codes_.choose_zeros_of(row, block.first, std::span(block.targets + row * block.width, block.width),
                               costs_.subspan(block.first, block.width));
    });
  }

  void round_rows(const Block& block) {
    const std::size_t unit = factor_.unit();
    machine_.pool.parallel_for(band_.rows, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
      float stored[8];
      for (std::size_t row = begin; row < end; ++row)
        for (std::size_t p = 0; p < block.width; p += unit) {
          codes_.round(row, block.order[p], block.targets + row * block.width + p,
                       unit > 1 ? factor_.metric(block.first + p) : nullptr, stored);
          feed_back(block, row, p, stored);
        }
    });
  }

  // The same where rows are coded together, all rows of a tile a unit further at a time.
  void round_tiles(const Block& block) {
    const std::size_t unit = factor_.unit(), step = codes_.tile_rows();
    machine_.pool.parallel_for((band_.rows + step - 1) / step, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
      const std::unique_ptr<TileCoder> coder = codes_.make_coder();
      std::vector<float> wanted(step * unit), stored(step * unit);
      for (std::size_t tile = begin * step; tile < std::min<std::size_t>(band_.rows, end * step); tile += step) {
        const std::size_t rows = std::min<std::size_t>(step, band_.rows - tile);
        for (std::size_t p = 0; p < block.width; p += unit) {
          for (std::size_t row = 0; row < rows; ++row)
            std::copy_n(block.targets + (tile + row) * block.width + p, unit, &wanted[row * unit]);
          codes_.round_tile(*coder, tile, rows, block.order[p], wanted.data(), factor_.metric(block.first + p),
                            stored.data());
          for (std::size_t row = 0; row < rows; ++row) feed_back(block, tile + row, p, &stored[row * unit]);
        }
      }
    });
  }

  const FeedbackFactor& factor_;
  const RoundBand& band_;
  SpanCodes& codes_;
  std::span<const float> costs_;
  Machine& machine_;
  std::vector<float> errors_;
};

// What a column's error costs when those behind it have made it good as far as they can, [cols]: of columns that are
// coded one by one.
std::vector<float> costs_of(const FeedbackFactor& factor) {
  if (factor.unit() != 1) return {};
  std::vector<float> costs(factor.cols());
  for (std::size_t p = 0; p < costs.size(); ++p) costs[factor.order()[p]] = *factor.metric(p);
  return costs;
}

class GptqRounder final : public Rounder {
 public:
  explicit GptqRounder(const GptqOptions& options) : options_(options) {}
  std::string_view name() const noexcept override { return options_.sweeps > 0 ? "descent" : "gptq"; }
  Needs needs() const noexcept override { return Needs::second_moment; }
  // Without statistics every column is as active as the other and none knows of the others: nearest values.
  void encode(const Format& format, const RoundInput& input, const RowPlanes& out) const override {
    format.encode_row(input.values, input.importance, input.tensor_grid, input.row, input.fit, out);
  }
  std::shared_ptr<const RoundPlan> plan(const SiteStatistics& site, const Format& format,
                                        Machine& machine) const override {
    return std::make_shared<GptqPlan>(site, format, options_, machine);
  }
  void encode_band(const Format& format, const RoundBand& band, QuantizedTensor& out, Machine& machine) const override {
    if (band.plan == nullptr) return Rounder::encode_band(format, band, out, machine);
    const auto& plan = static_cast<const GptqPlan&>(*band.plan);
    SpanCodes codes(format, band.rows, band.cols);
    const std::vector<float> costs = costs_of(*plan.factor());
    codes.choose_outliers(band, plan.factor()->diagonal(), costs, machine.pool);
    codes.choose_zeros(band, costs, machine.pool);
    const bool chooses = chosen_on_the_way(format) != nullptr;
    BandRounder(*plan.factor(), band, codes, chooses ? std::span(costs) : std::span<const float>(), machine).run();
    if (plan.descent() != nullptr) plan.descent()->run(band, codes, options_.sweeps, machine);
    codes.pack(band.rows, out, machine.pool);
  }

 private:
  GptqOptions options_;
};

}  // namespace

std::shared_ptr<const Rounder> make_gptq_rounder(const GptqOptions& options) {
  return std::make_shared<GptqRounder>(options);
}

}  // namespace nibble
