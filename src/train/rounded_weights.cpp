// SPDX-License-Identifier: Apache-2.0
#include "train/rounded_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "format/planar/format.h"
#include "format/planar/tensor_grid.h"
#include "format/trainable_grid.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kMostNumbers = 4;  // of a grid: a table of four points
constexpr float kLeastShare = 1e-3F;     // of the scale that a run began with: it keeps its sign

bool is_one_grid(const Format& format) {
  const PlanarSpec* const planar = find_planar_spec(format);
  return planar != nullptr && planar->grain == PlanarGrain::tensor;
}

// Where a learned scale begins: a run of zeros, for which any would do, can still be learnt.
float first_scale(std::span<const float> masters, float fitted) {
  constexpr float kOfZeros = 1e-4F;
  const bool is_zero = std::ranges::all_of(masters, [](float master) { return master == 0; });
  return is_zero || fitted == 0 ? kOfZeros : fitted;
}

}  // namespace

// Of a matrix's numbers those of a run; rows end where their last, shorter run does.
std::span<const float> RoundedWeights::Matrix::run_of(std::size_t index, std::span<const float> values) const {
  if (runs_of_row == 0) return values;
  const std::size_t cols = static_cast<std::size_t>(weight->values.cols);
  const std::size_t begin = index % runs_of_row * run;
  return values.subspan(index / runs_of_row * cols + begin, std::min(run, cols - begin));
}

// body(run, its values in the network)
template <class Body>
void RoundedWeights::each_run(const Matrix& matrix, ThreadPool& pool, Body body) {
  const std::size_t grain = std::max<std::size_t>(1, 16384 / std::max<std::size_t>(1, matrix.run));
  pool.parallel_for(matrix.runs(), grain, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t run = begin; run < end; ++run) body(run);
  });
}

RoundedWeights::RoundedWeights(NetworkWeights& weights, const std::map<std::string, FormatPtr>& formats,
                               const Estimator* estimator, ThreadPool& pool) {
  for (NetworkWeight& weight : weights.all()) {
    const auto chosen = formats.find(weight.name);
    if (chosen == formats.end()) continue;
    const Format& format = *chosen->second;
    Matrix matrix{.weight = &weight, .format = chosen->second, .estimator = estimator, .points = code_points(format)};
    if (estimator == nullptr) matrix.estimator = &default_estimator(matrix.points);
    if (const std::string why = matrix.estimator->refusal(matrix.points); !why.empty())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{}; choose another estimator or format: {}", why, format.name()), "estimator");
    const std::size_t cols = static_cast<std::size_t>(weight.values.cols);
    const bool is_whole = is_one_grid(format);
    format.planes(weight.values.rows, weight.values.cols);  // refuses rows of a length that it does not take
    matrix.run = is_whole ? weight.values.values.size() : format.info().span == 0 ? cols : format.info().span;
    matrix.runs_of_row = is_whole ? 0 : (cols + matrix.run - 1) / matrix.run;
    matrix.masters = weight.values.values;
    const std::size_t runs = is_whole ? 1 : static_cast<std::size_t>(weight.values.rows) * matrix.runs_of_row;
    matrix.scales.resize(runs * matrix.estimator->num_scales());
    matrix.grids.resize(matrix.runs() * format.grid_bytes());
    if (matrix.estimator->learns_scales()) {
      matrix.first.resize(matrix.scales.size());
      matrix.shares.assign(matrix.scales.size(), 1.0F);
      matrix.slopes.resize(matrix.scales.size());
    }
    matrices_.push_back(std::move(matrix));
  }
  for (Matrix& matrix : matrices_) {
    const TrainableGrid& free = *find_trainable_grid(*matrix.format);
    const std::unique_ptr<TensorGrid> shared =
        matrix.format->needs_prepare()
            ? matrix.format->prepare(matrix.masters, matrix.weight->values.rows, matrix.weight->values.cols, {}, {})
            : nullptr;
    each_run(matrix, pool, [&](std::size_t run) {
      const std::span<const float> masters = matrix.run_of(run, matrix.masters);
      std::byte* const grid = &matrix.grids[run * matrix.format->grid_bytes()];
      const std::size_t row = matrix.runs_of_row == 0 ? 0 : run / matrix.runs_of_row;
      matrix.format->fit(masters, {}, shared.get(), row, {}, grid,
                         matrix.runs_of_row == 0 ? 0 : run % matrix.runs_of_row);
      if (matrix.first.empty()) return;
      std::vector<float> fitted(free.num_parameters());
      free.parameters(grid, fitted.data());
      const std::size_t count = matrix.estimator->num_scales();
      float* const first = &matrix.first[run * count];
      matrix.estimator->find_scales({matrix.points, masters}, fitted.front(), first);
      for (std::size_t i = 0; i < count; ++i) first[i] = first_scale(masters, first[i]);
    });
  }
  round(pool);
}

void RoundedWeights::round(ThreadPool& pool) {
  for (Matrix& matrix : matrices_) {
    const TrainableGrid& free = *find_trainable_grid(*matrix.format);
    const float bound = matrix.estimator->bound();
    if (bound != 0)
      for (float& master : matrix.masters) master = std::clamp(master, -bound, bound);
    std::vector<float>& values = matrix.weight->values.values;
    each_run(matrix, pool, [&](std::size_t run) {
      const MasterRun masters{matrix.points, matrix.run_of(run, matrix.masters)};
      const std::size_t count = matrix.estimator->num_scales();
      float* const scales = &matrix.scales[run * count];
      if (matrix.first.empty()) matrix.estimator->find_scales(masters, 0, scales);
      for (std::size_t i = run * count; i < (run + 1) * count && !matrix.first.empty(); ++i) {
        matrix.shares[i] = std::max(matrix.shares[i], kLeastShare);
        matrix.scales[i] = matrix.first[i] * matrix.shares[i];
      }
      std::byte* const grid = &matrix.grids[run * matrix.format->grid_bytes()];
      float numbers[kMostNumbers] = {};
      matrix.estimator->to_grid(scales, numbers);
      free.store(numbers, grid);
      free.parameters(grid, numbers);
      matrix.estimator->from_grid(numbers, scales);
      const std::span<const float> place = matrix.run_of(run, values);
      const std::span<float> out(&values[static_cast<std::size_t>(place.data() - values.data())], place.size());
      if (count == 1 && scales[0] == 0)
        std::ranges::fill(out, 0.0F);
      else
        matrix.estimator->values(masters, scales, out);
    });
  }
}

void RoundedWeights::pull_back(ThreadPool& pool) {
  for (Matrix& matrix : matrices_) {
    std::vector<float>& gradient = matrix.weight->gradient;
    each_run(matrix, pool, [&](std::size_t run) {
      const MasterRun masters{matrix.points, matrix.run_of(run, matrix.masters)};
      const std::size_t count = matrix.estimator->num_scales();
      const float* const scales = &matrix.scales[run * count];
      if (count == 1 && scales[0] == 0) return;  // as if nothing were rounded
      const std::span<const float> place = matrix.run_of(run, gradient);
      const std::span<float> slopes(&gradient[static_cast<std::size_t>(place.data() - gradient.data())], place.size());
      double by_scales[kMostScales] = {};
      matrix.estimator->gradient(masters, scales, slopes, by_scales);
      for (std::size_t i = 0; i < count && !matrix.first.empty(); ++i)
        matrix.slopes[run * count + i] +=
            static_cast<float>(by_scales[i] * static_cast<double>(matrix.first[run * count + i]));
    });
  }
}

void RoundedWeights::clear_gradients() {
  for (Matrix& matrix : matrices_) std::ranges::fill(matrix.slopes, 0.0F);
}

std::vector<float>* RoundedWeights::find_masters(std::string_view name) {
  for (Matrix& matrix : matrices_)
    if (matrix.weight->name == name) return &matrix.masters;
  return nullptr;
}

std::vector<Parameter> RoundedWeights::scales() {
  std::vector<Parameter> found;
  for (Matrix& matrix : matrices_)
    if (!matrix.shares.empty())
      found.push_back({matrix.weight->name + ".scales", 1, matrix.shares.size(), matrix.shares, matrix.slopes});
  return found;
}

QuantizedTensor RoundedWeights::store(std::size_t index, ThreadPool& pool) const {
  const Matrix& matrix = matrices_[index];
  const Format& format = *matrix.format;
  const std::vector<float>& values = matrix.weight->values.values;
  QuantizedTensor made(matrix.format, matrix.weight->values.rows, matrix.weight->values.cols);
  const auto cols = static_cast<std::size_t>(made.cols), unit_span = matrix.runs_of_row == 0 ? cols : matrix.run;
  if (matrix.runs_of_row == 0) {
    const auto shared = std::make_shared<PlanarTensorGrid>();
    shared->grid = *reinterpret_cast<const PlanarGrid*>(matrix.grids.data());
    made.tensor_grid = shared;
    format.pack_tensor(shared.get(), made.row(0));
  }
  pool.parallel_for(static_cast<std::size_t>(made.rows), 4, [&](std::size_t begin, std::size_t end, std::size_t) {
    std::vector<Code> codes(unit_span);
    for (std::size_t row = begin; row < end; ++row)
      for (std::size_t from = 0; from < cols; from += unit_span) {
        const std::size_t run = matrix.runs_of_row == 0 ? 0 : row * matrix.runs_of_row + from / unit_span;
        const std::byte* const grid = &matrix.grids[run * format.grid_bytes()];
        const std::size_t columns = std::min(unit_span, cols - from);
        for (std::size_t i = 0; i < columns; ++i)
          codes[i] = format.nearest(grid, i, &values[row * cols + from + i], nullptr);
        format.pack(grid, codes.data(), from / unit_span, columns, made.row(row));
      }
  });
  if (made.view().decode() != values)
    throw Error(ErrorKind::internal, fmt::format("{}: what is stored is not what was trained", matrix.weight->name));
  return made;
}

}  // namespace nibble
