// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/span_descent.h"

#include <algorithm>
#include <cstring>

#include "kernels/dense/dense.h"
#include "kernels/linear/linear.h"

namespace nibble {

struct SpanDescent::Work {
  std::vector<float> target, rounded, change, weights;
  std::vector<float> stored, candidate;      // values of the span: now, and as last rounded
  std::vector<float> addends, best_addends;  // of its outliers
  std::vector<Code> codes, best_codes;
  std::vector<std::byte> grid, best_grid;
  std::vector<float> best;
};

SpanDescent::SpanDescent(std::span<const float> second_moment, std::size_t cols, const Format& format, double damping,
                         Machine& machine)
    : format_(format),
      cols_(cols),
      unit_(format.info().unit),
      span_(format.info().span == 0 ? cols : std::min(format.info().span, cols)),
      columns_(cols * cols) {
  double mean = 0;
  for (std::size_t i = 0; i < cols; ++i)
    mean += static_cast<double>(second_moment[i * cols + i]) / static_cast<double>(cols);
  if (!(mean > 0)) mean = 1;
  const auto moment = [&](std::size_t i, std::size_t j) {
    const float value = second_moment[i * cols + j];
    return i != j ? value : static_cast<float>((value > 0 ? static_cast<double>(value) : mean) + damping * mean);
  };
  for (std::size_t first = 0; first < cols; first += span_) {
    Span span;
    span.first = first;
    span.cols = std::min(span_, cols - first);
    const std::size_t n = span.cols;
    for (std::size_t i = 0; i < cols; ++i)
      for (std::size_t j = 0; j < n; ++j) columns_[first * cols + i * n + j] = moment(i, first + j);
    span.moment.assign(&columns_[first * cols + first * n], &columns_[first * cols + first * n] + n * n);
    // A diagonal block of a matrix that has a Cholesky factor has one, too.
    std::vector<double> lower(span.moment.begin(), span.moment.end());
    cholesky(lower.data(), n, machine);
    invert_lower(lower.data(), n, machine);
    span.inverse.resize(n * n);
    machine.pool.parallel_for(n, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i)
        for (std::size_t j = 0; j < n; ++j) {
          double sum = 0;
          for (std::size_t k = std::max(i, j); k < n; ++k) sum += lower[k * n + i] * lower[k * n + j];
          span.inverse[i * n + j] = static_cast<float>(sum);
        }
    });
    const FeedbackFactor factor(span.moment, n, {.damp_percent = 0, .act_order = false, .unit = unit_, .block = n},
                                machine);
    span.factor.assign(factor.feedback(0, 0), factor.feedback(0, 0) + n * n);
    for (std::size_t p = 0; p < n; p += unit_) {
      span.metrics.insert(span.metrics.end(), factor.metric(p), factor.metric(p) + unit_ * unit_);
      for (std::size_t j = 0; j < unit_; ++j) span.weights.push_back(factor.metric(p)[j * unit_ + j]);
    }
    spans_.push_back(std::move(span));
  }
}

// Rounds work.target on `grid` by feedback within the span into work.codes and work.candidate; returns a H_ss a^T.
double SpanDescent::round_span(const Span& span, const SpanCodes& codes, std::size_t row, const std::byte* grid,
                               Work& work) const {
  const std::size_t n = span.cols;
  double loss = 0;
  std::copy_n(work.target.begin(), n, work.rounded.begin());
  for (std::size_t p = 0; p < n; p += unit_) {
    const float* const metric = &span.metrics[p * unit_];
    float* const t = &work.rounded[p];
    work.codes[p / unit_] =
        codes.nearest(grid, row, span.first + p, t, unit_ > 1 ? metric : nullptr, &work.candidate[p], &work.addends[p]);
    for (std::size_t i = 0; i < unit_; ++i)
      for (std::size_t j = 0; j < unit_; ++j)
        loss += static_cast<double>((t[i] - work.candidate[p + i]) * metric[i * unit_ + j] *
                                    (t[j] - work.candidate[p + j]));
    for (std::size_t i = 0; i < unit_; ++i) {
      const float error = work.target[p + i] - work.candidate[p + i];
      const float* const share = &span.factor[(p + i) * n];
      for (std::size_t k = p + unit_; k < n; ++k) work.rounded[k] += error * share[k];
    }
  }
  return loss;
}

void SpanDescent::descend_row(const Span& span, std::size_t s, const RoundBand& band, SpanCodes& codes, std::size_t row,
                              float* gradient, float* errors, Work& work) const {
  const std::size_t n = span.cols;
  // errors and gradient: this span's n columns.
  const float* const weights = &band.values[row * band.cols + span.first];
  std::copy_n(gradient, n, work.change.begin());
  std::fill_n(work.target.begin(), n, 0.0F);
  for (std::size_t i = 0; i < n; ++i) {
    const float g = gradient[i];
    const float* const inverse = &span.inverse[i * n];
    for (std::size_t j = 0; j < n; ++j) work.target[j] += g * inverse[j];
  }
  double best = 0;
  for (std::size_t j = 0; j < n; ++j) best += static_cast<double>(work.target[j]) * static_cast<double>(gradient[j]);
  for (std::size_t j = 0; j < n; ++j) work.target[j] += weights[j] - errors[j];
  bool changed = false;
  const auto consider = [&](const std::byte* grid) {
    const double loss = round_span(span, codes, row, grid, work);
    if (!(loss < best * (1 - 1e-6))) return;
    best = loss;
    changed = true;
    std::copy_n(work.candidate.begin(), n, work.best.begin());
    std::copy_n(work.codes.begin(), n / unit_, work.best_codes.begin());
    std::copy_n(work.addends.begin(), n, work.best_addends.begin());
    std::memcpy(work.best_grid.data(), grid, work.best_grid.size());
  };
  consider(codes.grid(row, s));
  for (std::size_t j = 0; j < n; ++j) work.weights[j] = span.moment[j * n + j];
  codes.fit(band, row, s, std::span(work.target).first(n), std::span(work.weights).first(n), work.grid.data());
  consider(work.grid.data());
  codes.fit(band, row, s, std::span(work.target).first(n), std::span(span.weights).first(n), work.grid.data());
  consider(work.grid.data());
  if (!changed) return;
  for (std::size_t j = 0; j < n; ++j) errors[j] = weights[j] - work.best[j];
  for (std::size_t p = 0; p < n; p += unit_) {
    codes.code(row, span.first + p) = work.best_codes[p / unit_];
    if (codes.is_outlier(row, span.first + p)) codes.keep_addend(row, span.first + p, work.best_addends[p]);
  }
  std::memcpy(codes.grid(row, s), work.best_grid.data(), work.best_grid.size());
}

void SpanDescent::run(const RoundBand& band, SpanCodes& codes, int sweeps, Machine& machine) const {
  const std::size_t rows = band.rows;
  std::vector<float> errors(rows * cols_), gradient(rows * span_);
  machine.pool.parallel_for(rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    float stored[8];
    for (std::size_t row = begin; row < end; ++row)
      for (std::size_t i = 0; i < cols_; i += unit_) {
        const std::size_t s = i / span_;
        codes.value(row, i, stored);
        for (std::size_t j = 0; j < unit_; ++j)
          errors[spans_[s].first * rows + row * spans_[s].cols + i % span_ + j] =
              band.values[row * cols_ + i + j] - stored[j];
      }
  });
  std::vector<Work> work(machine.pool.num_threads());
  for (Work& w : work) {
    for (auto* values :
         {&w.target, &w.rounded, &w.change, &w.weights, &w.candidate, &w.best, &w.addends, &w.best_addends})
      values->resize(span_);
    w.codes.resize(span_);
    w.best_codes.resize(span_);
    w.grid.resize(format_.grid_bytes());
    w.best_grid.resize(format_.grid_bytes());
  }
  for (int sweep = 0; sweep < sweeps; ++sweep)
    for (std::size_t s = 0; s < spans_.size(); ++s) {
      const Span& span = spans_[s];
      std::fill(gradient.begin(), gradient.end(), 0.0F);
      for (const Span& from : spans_)
        gemm(&errors[from.first * rows], &columns_[span.first * cols_ + from.first * span.cols], rows, span.cols,
             from.cols, gradient.data(), machine);
      machine.pool.parallel_for(rows, 4, [&](std::size_t begin, std::size_t end, std::size_t worker) {
        for (std::size_t row = begin; row < end; ++row)
          descend_row(span, s, band, codes, row, &gradient[row * span.cols],
                      &errors[span.first * rows + row * span.cols], work[worker]);
      });
    }
}

}  // namespace nibble
