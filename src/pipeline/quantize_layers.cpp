// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/huge_pages.h"
#include "calibrate/calibrate.h"
#include "calibrate/fold.h"
#include "calibrate/site_accumulator.h"
#include "kernels/dense.h"
#include "kernels/encoders.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/statistics_gaps.h"
#include "quantize/round/feedback_factor.h"
#include "quantize/round/target.h"

namespace nibble {
namespace {

constexpr std::uint64_t kBandElements = std::uint64_t{8} << 20;

std::uint64_t rows_of_band(std::uint64_t cols) { return std::max<std::uint64_t>(1, kBandElements / cols); }

std::string piece_name(std::size_t tensor, std::uint64_t row) { return fmt::format("{}-{}", tensor, row); }
std::string error_piece_name(std::size_t tensor) { return fmt::format("{}-error", tensor); }

std::uint64_t source_row(const TensorPlan& tensor, Spelling target, std::uint64_t row) {
  if (tensor.permuted_head_dim == 0) return row;
  return target == Spelling::gguf ? row_for_gguf(row, tensor.permuted_head_dim) : row_for_huggingface(row, tensor.permuted_head_dim);
}

// The bias of a step whose one Linear is added to the residual stream; empty: none.
std::span<const float> bias_of(Step step, const LayerWeights& layer) {
  const std::string name = std::string(parts_of(step).front()) + ".bias";
  return layer.has(name) ? std::span<const float>(layer.at(name).values) : std::span<const float>{};
}

// What a Linear should add to a stream so that it becomes the original's. All but the bias [n]: [tokens, n].
void wanted_outputs(std::span<const float> original, std::span<const float> now, std::span<const float> bias, std::vector<float>& wanted,
                    ThreadPool& pool) {
  wanted.resize(now.size());
  pool.parallel_for(now.size(), std::size_t{1} << 15, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) wanted[i] = original[i] - now[i];
    for (std::size_t i = begin; i < end && !bias.empty(); ++i) wanted[i] -= bias[i % bias.size()];
  });
}

}  // namespace

std::uint64_t progress_weight(TensorRole role) { return role == TensorRole::linear ? 16 : 1; }

bool needs_calibration(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  return std::ranges::any_of(plan.tensors, [&](const TensorPlan& tensor) {
    return tensor.target.format->info().kind != FormatKind::raw && method_for(tensor, options).needs() != Needs::nothing;
  });
}

struct LayerQuantizer::Live {
  CalibrationTokens tokens;
  std::optional<LayerWalk> original, stored;  // the text through the original's layers, and through those quantized so far
};

// What the Linears of a site share while they are rounded.
struct LayerQuantizer::SiteContext {
  const SiteStatistics* given = nullptr;  // of statistics that were read
  std::optional<SiteStatistics> own;      // in place of them: of the walk, or rescaled
  // What the original's layer has with the inputs x' of the quantized layers; empty without a walk. Its inputs, E[x x'^T]; or where outputs are
  // added to the residual stream, what they should be, E[y x'^T]: the original's stream behind them less the stream that they are added to.
  std::vector<float> cross;
  bool is_original_left = false;  // the original's text has gone on
  std::map<std::string, std::shared_ptr<const RoundPlan>> plans;  // by format and method
  std::optional<FeedbackFactor> factor;                           // of the moment, for targets where the rounder has made none
  std::span<const float> column_scales;                           // of the transform; empty: none

  const SiteStatistics* site() const { return own ? &*own : given; }  // null: nothing is known
};

LayerQuantizer::LayerQuantizer(const Checkpoint& source, const QuantizePlan& plan, const QuantizeModelOptions& options, CheckpointWriter& writer,
                               ThreadPool& pool, ProgressMeter& meter, WorkDirectory& work)
    : source_(source), plan_(plan), options_(options), writer_(writer), pool_(pool), meter_(meter), work_(work), tensors_(plan.config) {
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) index_.emplace(plan.tensors[i].target.name, i);
}

LayerQuantizer::~LayerQuantizer() = default;

const ModelTensor& LayerQuantizer::part(std::string_view name, std::int64_t layer) const { return *tensors_.part(name, layer); }

std::size_t LayerQuantizer::index_of(const ModelTensor& tensor) const { return index_.find(tensor.name(plan_.target_spelling))->second; }

bool LayerQuantizer::asks_for(const ModelTensor& tensor, Needs needs) const {
  const TensorPlan& planned = plan_.tensors[index_of(tensor)];
  return planned.target.format->info().kind != FormatKind::raw && method_for(planned, options_).needs() >= needs;
}

void LayerQuantizer::begin_walk() {
  const Calibration& calibration = options_.calibration;
  const WalkOptions walk{.kernels = calibration.kernels, .arithmetic = calibration.walk, .spill_directory = calibration.spill_directory};
  live_ = std::make_unique<Live>();
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(source_);
  live_->tokens = choose_windows(calibration.texts, tokenizer, calibration.sampling, plan_.config.context);
  WalkOptions stored = walk;
  stored.keeps_inputs = true;
  live_->stored.emplace(plan_.config, live_->tokens, stored, pool_);
  bool has_targets = false;  // only they need the original beside the quantized layers
  for (const ModelTensor& tensor : tensors_.all())
    has_targets = has_targets || (tensor.role == TensorRole::linear && asks_for(tensor, Needs::second_moment));
  if (calibration.follow_original && has_targets) live_->original.emplace(plan_.config, live_->tokens, walk, pool_);
}

std::vector<std::string> LayerQuantizer::warnings() const {
  if (!live_) return statistics_warnings(*options_.calibration.statistics);
  std::vector<std::string> lines = warning_lines(site_warnings_);
  if (const std::string shortage = shortage_warning(live_->tokens); !shortage.empty()) lines.insert(lines.begin(), shortage);
  return lines;
}

void LayerQuantizer::run() {
  if (!options_.calibration.statistics) begin_walk();
  embedding();
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(plan_.config.layers); ++i) layer(i);
  head();
}

void LayerQuantizer::embedding() {
  const ModelTensor& tensor = part("embedding", -1);
  const StoredTensor& stored = source_.tensor(tensor.name(plan_.source_spelling));
  const SiteStatistics* site = nullptr;
  if (plan_.config.tied_embedding && asks_for(tensor, Needs::mean_square)) {
    if (live_) {
      const CollectOptions collect{.kernels = options_.calibration.kernels,
                                   .arithmetic = options_.calibration.walk,
                                   .second_moments = asks_for(tensor, Needs::second_moment),
                                   .layers = false,
                                   .spill_directory = options_.calibration.spill_directory};
      head_statistics_ = collect_statistics(source_, live_->tokens, collect, pool_);
    }
    const Statistics* const statistics = live_ ? &*head_statistics_ : options_.calibration.statistics;
    site = statistics->find(-1, kHeadSite);
  }
  const Matrix weights = decode_matrix(stored, pool_);
  const Matrix rounded = quantize(tensor, weights, weights, site, nullptr).values;
  if (!live_) return;
  const std::size_t width = plan_.config.hidden;
  const auto rows_of = [width](const Matrix& matrix) {
    return [&matrix, width](std::int32_t id, float* out) { std::copy_n(&matrix.values[static_cast<std::size_t>(id) * width], width, out); };
  };
  live_->stored->embed(rows_of(rounded));
  if (live_->original) live_->original->embed(rows_of(weights));
}

LayerQuantizer::SiteContext LayerQuantizer::context_of(Step step, std::int64_t layer, const LayerWeights& original, const LayerWeights& current) {
  SiteContext context;
  if (const auto scales = column_scales_.find(step); scales != column_scales_.end()) context.column_scales = scales->second;
  if (!live_) {
    context.given = options_.calibration.statistics->find(layer, site_of(step));
    if (context.given != nullptr && column_scales_.contains(step)) context.own = rescaled(*context.given, column_scales_[step]);
    return context;
  }
  LayerWalk& walk = *live_->stored;
  const Isa isa = options_.calibration.kernels.isa;
  const std::size_t width = walk.width_of(step);
  bool full = false;
  for (const std::string_view name : parts_of(step)) full = full || asks_for(part(name, layer), Needs::second_moment);
  const bool follow = full && live_->original.has_value();
  const bool adds = follow && (step == Step::attention_out || step == Step::mlp_out);
  SiteAccumulator sums(layer, site_of(step), width, {.second_moment = full, .distribution = false, .rounded = walk.multiplies_codes()}, pool_, isa);
  std::optional<CrossAccumulator> cross;
  if (follow) cross.emplace(adds ? plan_.config.hidden : width, width, walk.multiplies_codes(), pool_, isa);
  std::vector<float> wanted;
  for (std::size_t window = 0; window < walk.windows(); ++window) {
    const auto x = walk.inputs(step, current, window);
    sums.add(x.data(), walk.length());
    if (!follow) continue;
    if (adds) {
      live_->original->leave(step, original, window);
      wanted_outputs(live_->original->hidden(window), walk.hidden(window), bias_of(step, original), wanted, pool_);
    }
    cross->add(adds ? wanted.data() : live_->original->inputs(step, original, window).data(), x.data(), walk.length(),
               sums.last_rounded());
  }
  context.is_original_left = adds;
  context.own = sums.finish();
  site_warnings_.push_back({context.own->name(), site_warning(*context.own, true)});
  if (follow) context.cross = cross->finish();
  return context;
}

std::shared_ptr<const RoundPlan> LayerQuantizer::plan_of(const TensorPlan& tensor, const SiteStatistics* site, SiteContext* context) {
  const Method method = method_for(tensor, options_);
  if (tensor.target.format->info().kind == FormatKind::raw || site == nullptr || !site->has_second_moment() ||
      method.rounder->needs() != Needs::second_moment)
    return nullptr;
  const auto make = [&] { return method.rounder->plan(*site, *fast(tensor.target.format), pool_, options_.calibration.kernels.isa); };
  if (context == nullptr) return make();
  const auto [plan, is_new] = context->plans.try_emplace(method.name + " " + tensor.target.format->name());
  if (is_new) plan->second = make();
  return plan->second;
}

std::vector<float> LayerQuantizer::target_of(std::string_view name, std::int64_t layer, SiteContext& context, const LayerWeights& original,
                                             const Matrix& weights) {
  const Isa isa = options_.calibration.kernels.isa;
  const std::shared_ptr<const RoundPlan> plan = plan_of(plan_.tensors[index_of(part(name, layer))], context.site(), &context);
  const FeedbackFactor* factor = plan ? plan->factor() : nullptr;
  if (factor == nullptr && !context.factor)
    context.factor.emplace(context.site()->second_moment, context.site()->width(), FactorOptions{.act_order = false}, pool_, isa);
  if (factor == nullptr) factor = &*context.factor;
  if (context.is_original_left) return solve_target(*factor, weights.values, context.cross, weights.rows, pool_, isa);
  std::vector<float> outputs = large_vector(weights.values.size());
  KernelScratch scratch;
  gemm(original.at(name).values.data(), context.cross.data(), weights.rows, weights.cols, weights.cols, outputs.data(), isa, pool_, scratch);
  if (const auto scale = row_scales_.find(name); scale != row_scales_.end())
    for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i] *= scale->second[i / weights.cols];
  return solve_target(*factor, weights.values, outputs, weights.rows, pool_, isa);
}

Statistics LayerQuantizer::preview(std::int64_t index, const LayerWeights& layer) {
  LayerWalk& walk = *live_->stored;
  const SpillableBytes before = walk.save();
  Statistics statistics;
  for (const Step step : kSteps) {
    bool full = false;
    for (const std::string_view name : parts_of(step))
      full = full || method_for(plan_.tensors[index_of(part(name, index))], options_).transform.needs == Needs::second_moment;
    walk.pack(step, layer);
    const AccumulateOptions accumulate{.second_moment = full, .distribution = false, .rounded = walk.multiplies_codes()};
    SiteAccumulator sums(index, site_of(step), walk.width_of(step), accumulate, pool_, options_.calibration.kernels.isa);
    for (std::size_t window = 0; window < walk.windows(); ++window) {
      sums.add(walk.inputs(step, layer, window).data(), walk.length());
      walk.leave(step, layer, window);
    }
    statistics.sites.push_back(sums.finish());
  }
  walk.restore(before);
  return statistics;
}

void LayerQuantizer::transform(std::int64_t index, LayerWeights& layer) {
  row_scales_.clear();
  column_scales_.clear();
  bool any = false;
  for (const Step step : kSteps)
    for (const std::string_view name : parts_of(step))
      any = any || method_for(plan_.tensors[index_of(part(name, index))], options_).transform.rule != Transform::Rule::none;
  if (!any) return;
  Statistics own;
  if (live_) own = preview(index, layer);
  const Statistics& statistics = live_ ? own : *options_.calibration.statistics;
  for (const Step step : kSteps) {
    const FoldSite* const fold = find_fold(tensors_.architecture(), step);
    const SiteStatistics* const site = statistics.find(index, site_of(step));
    if (fold == nullptr || site == nullptr || is_silent(*site)) continue;
    ScaleRequest request{site, {}, fold_channels(*fold, plan_.config, site->width()), options_.calibration.kernels.isa};
    const Transform* rule = nullptr;
    std::vector<Method> methods;
    for (const std::string_view name : parts_of(step)) methods.push_back(method_for(plan_.tensors[index_of(part(name, index))], options_));
    for (std::size_t i = 0; i < methods.size(); ++i) {
      const TensorPlan& planned = plan_.tensors[index_of(part(parts_of(step)[i], index))];
      if (planned.target.format->info().kind == FormatKind::raw || methods[i].transform.rule == Transform::Rule::none) continue;
      rule = &methods[i].transform;
      const Matrix& weights = layer.at(parts_of(step)[i]);
      request.linears.push_back({weights.values, weights.rows, fast(planned.target.format), methods[i].fit});
    }
    // Smoothing moves what norms put out only: the ranges of other activations are the weights' own doing.
    const bool norm_only = rule != nullptr && rule->rule == Transform::Rule::smoothquant;
    if (rule == nullptr || (norm_only && layer.at(fold->producer).rows != 1)) continue;
    std::vector<float> scales = choose_scales(*rule, request, pool_);
    fold_scales(*fold, request.group_of, scales, layer);
    std::vector<float>& rows = row_scales_[std::string(fold->producer)];
    for (std::size_t i = 0; i < scales.size(); ++i) {
      rows.resize(std::max<std::size_t>(rows.size(), request.group_of[i] + 1u), 1.0F);
      rows[request.group_of[i]] = 1 / scales[i];
    }
    column_scales_[step] = std::move(scales);
  }
}

void LayerQuantizer::layer(std::int64_t index) {
  const auto start = std::chrono::steady_clock::now();
  source_.require_unchanged();
  const LayerWeights original(source_, tensors_, index, pool_);
  source_.require_unchanged();
  LayerWeights current = original.copy(pool_);
  restored_.clear();
  transform(index, current);
  for (const Step step : kSteps) {
    if (live_ && live_->original) live_->original->pack(step, original);
    SiteContext context;
    if (is_done(step, index))
      restored_.insert(step);
    else
      context = context_of(step, index, original, current);
    std::map<std::string_view, QuantizedTensor> codes;
    for (const std::string_view name : parts_of(step)) {
      const ModelTensor& tensor = part(name, index);
      Matrix& weights = current.at(name);
      if (!context.cross.empty() && asks_for(tensor, Needs::second_moment)) weights.values = target_of(name, index, context, original, weights);
      Stored stored = quantize(tensor, weights, original.at(name), context.site(), &context);
      weights = std::move(stored.values);
      if (stored.codes) codes.emplace(name, std::move(*stored.codes));
    }
    if (live_) leave(step, context, original, current, codes);
  }
  for (auto& [name, values] : current.all())
    if (const ModelTensor& tensor = part(name, index); is_vector(tensor))
      write_vector(tensor, values);
  report_layer(index, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

void LayerQuantizer::leave(Step step, const SiteContext& context, const LayerWeights& original, const LayerWeights& current,
                           const std::map<std::string_view, QuantizedTensor>& codes) {
  for (const std::string_view name : parts_of(step)) {
    const auto own = codes.find(name);
    if (own == codes.end())
      live_->stored->pack(name, current.at(name));
    else
      live_->stored->pack(name, own->second.view());
  }
  live_->stored->leave(step, current);
  if (live_->original && !context.is_original_left) live_->original->leave(step, original);
}

void LayerQuantizer::report_layer(std::int64_t index, double seconds) {
  if (!options_.on_layer) return;
  LayerReport report{.layer = static_cast<std::uint64_t>(index), .layers = plan_.config.layers, .seconds = seconds, .restored = true};
  double count = 0;
  for (const Step step : kSteps) {
    report.restored = report.restored && restored_.contains(step);
    for (const std::string_view name : parts_of(step)) {
      const auto error = errors_.find(index_of(part(name, index)));
      if (error == errors_.end()) continue;
      ++count;
      report.error.nearest += error->second.nearest;
      report.error.stored += error->second.stored;
      if (error->second.stored < report.worst_error.stored) continue;
      report.worst = name;
      report.worst_error = error->second;
    }
  }
  if (count == 0) return;
  report.error.nearest /= count;
  report.error.stored /= count;
  options_.on_layer(report);
}

bool LayerQuantizer::is_done(Step step, std::int64_t layer) const {
  return std::ranges::all_of(parts_of(step), [&](std::string_view name) {
    const std::size_t index = index_of(part(name, layer));
    const TensorPlan& tensor = plan_.tensors[index];
    if (tensor.target.format->info().kind == FormatKind::raw) return true;
    for (std::uint64_t begin = 0; begin < tensor.rows; begin += rows_of_band(tensor.cols))
      if (!work_.has(piece_name(index, begin))) return false;
    return work_.has(error_piece_name(index));
  });
}

void LayerQuantizer::head() {
  const ModelTensor& norm = part("final_norm", -1);
  const Matrix norm_weights = decode_matrix(source_.tensor(norm.name(plan_.source_spelling)), pool_);
  write_vector(norm, norm_weights);
  if (plan_.config.tied_embedding) return;
  const ModelTensor& tensor = part("head", -1);
  const SiteStatistics* site = nullptr;
  SiteStatistics own;
  if (live_ && asks_for(tensor, Needs::mean_square)) {
    LayerWalk& walk = *live_->stored;
    SiteAccumulator sums(-1, kHeadSite, plan_.config.hidden,
                         {.second_moment = asks_for(tensor, Needs::second_moment), .distribution = false, .rounded = walk.multiplies_codes()},
                         pool_, options_.calibration.kernels.isa);
    for (std::size_t window = 0; window < walk.windows(); ++window) sums.add(walk.head_inputs(norm_weights.values, window).data(), walk.length());
    own = sums.finish();
    site_warnings_.push_back({own.name(), site_warning(own, true)});
    site = &own;
  }
  if (!live_) site = options_.calibration.statistics->find(-1, kHeadSite);
  const Matrix weights = decode_matrix(source_.tensor(tensor.name(plan_.source_spelling)), pool_);
  quantize(tensor, weights, weights, site, nullptr);
}

void LayerQuantizer::write_vector(const ModelTensor& tensor, const Matrix& values) {
  const std::size_t index = index_of(tensor);
  const TensorPlan& planned = plan_.tensors[index];
  std::vector<float> moved(values.values.size());
  for (std::size_t i = 0; i < moved.size(); ++i) moved[i] = values.values[source_row(planned, plan_.target_spelling, i)];
  QuantizedTensor result(planned.target.format, 1, moved.size());
  planned.target.format->encode_row(moved, {}, nullptr, 0, {}, result.row(0));
  writer_.write_rows(index, result.view());
  meter_.advance(moved.size() * progress_weight(planned.role), planned.target.name);
}

FormatPtr LayerQuantizer::fast(const FormatPtr& format) {
  const auto [known, is_new] = fast_.try_emplace(format->name());
  if (is_new) known->second = with_kernels(format, options_.calibration.kernels.isa);
  return known->second;
}

LayerQuantizer::Stored LayerQuantizer::quantize(const ModelTensor& tensor, const Matrix& weights, const Matrix& original,
                                                const SiteStatistics* site, SiteContext* context) {
  if (site != nullptr && is_silent(*site)) site = nullptr;  // zeros would make any choice as good as any other
  const std::size_t index = index_of(tensor);
  const TensorPlan& planned = plan_.tensors[index];
  const FormatPtr format = fast(planned.target.format);
  const Method method = method_for(planned, options_);
  const bool raw = format->info().kind == FormatKind::raw;
  const std::uint64_t rows = weights.rows, cols = weights.cols;

  std::span<const float> ordered = weights.values;
  std::vector<float> moved;
  if (planned.permuted_head_dim != 0) {
    moved = large_vector(rows * cols);
    for (std::uint64_t row = 0; row < rows; ++row)
      std::copy_n(&weights.values[source_row(planned, plan_.target_spelling, row) * cols], cols, &moved[row * cols]);
    ordered = moved;
  }
  std::span<const float> importance;
  if (!raw && site != nullptr && method.needs() >= Needs::mean_square) importance = site->mean_square;
  std::shared_ptr<const TensorGrid> grid;
  if (!raw && format->needs_prepare()) grid = format->prepare(ordered, rows, cols, importance, method.fit);
  const std::shared_ptr<const RoundPlan> plan = plan_of(planned, site, context);

  Stored stored{{rows, cols, large_vector(rows * cols)}, {}};
  // Rows that know their place in a tensor cannot be put into another order.
  if (!raw && grid == nullptr && tensor.role == TensorRole::linear && live_ && live_->stored->multiplies_codes())
    stored.codes.emplace(format, rows, cols);
  const std::uint64_t band_rows = rows_of_band(cols);
  for (std::uint64_t begin = 0; begin < rows; begin += band_rows) {
    const std::uint64_t count = std::min(rows - begin, band_rows);
    quantize_band(index, method, {ordered.subspan(begin * cols, count * cols), importance, count, cols, begin, grid.get(), method.fit, plan.get()},
                  grid, stored);
  }
  if (raw) return stored;
  RoundedLinear linear{.site = site, .weights = weights.values, .stored = stored.values.values, .original = original.values, .rows = rows};
  linear.tensor_grid = grid.get();
  if (context != nullptr) linear.column_scales = context->column_scales;
  record_error(index, linear);
  return stored;
}

void LayerQuantizer::quantize_band(std::size_t index, const Method& method, const RoundBand& band, const std::shared_ptr<const TensorGrid>& grid,
                                   Stored& stored) {
  const TensorPlan& planned = plan_.tensors[index];
  const FormatPtr format = fast(planned.target.format);
  QuantizedTensor bytes(format, band.rows, band.cols);
  bytes.tensor_grid = grid;
  for (std::size_t p = 0; p < bytes.specs.size(); ++p)
    if (bytes.specs[p].row_bytes == 0) {
      format->pack_tensor(grid.get(), bytes.row(0));
      break;
    }
  const std::string piece = piece_name(index, band.first_row);
  if (format->info().kind == FormatKind::raw) {
    pool_.parallel_for(band.rows, 16, [&](std::size_t first, std::size_t last, std::size_t) {
      for (std::size_t row = first; row < last; ++row)
        format->encode_row(band.values.subspan(row * band.cols, band.cols), {}, nullptr, band.first_row + row, {}, bytes.row(row));
    });
  } else if (!work_.load(piece, bytes)) {
    method.rounder->encode_band(*format, band, bytes, pool_, options_.calibration.kernels.isa);
    work_.store(piece, bytes);
  }
  // Through the bytes, tensor-wide parts included: what a reader will see.
  const QuantizedView packed = bytes.view();
  const QuantizedView view = make_view(format, band.rows, band.cols, packed.planes, planned.target.name);
  pool_.parallel_for(band.rows, 16, [&](std::size_t first, std::size_t last, std::size_t) {
    for (std::size_t row = first; row < last; ++row) {
      const std::uint64_t to = source_row(planned, plan_.target_spelling, band.first_row + row);
      view.decode_row(row, {&stored.values.values[to * band.cols], band.cols});
      if (!stored.codes) continue;
      const RowPlanes planes = stored.codes->row(to);
      for (std::size_t p = 0; p < bytes.specs.size(); ++p) std::copy_n(bytes.row(row)[p], bytes.specs[p].row_bytes, planes[p]);
    }
  });
  writer_.write_rows(index, view);
  meter_.advance(band.rows * band.cols * progress_weight(planned.role), planned.target.name);
}

// Kept with the pieces: a run that goes on from them does not know the inputs any more.
void LayerQuantizer::record_error(std::size_t index, const RoundedLinear& linear) {
  QuantizedTensor piece(find_raw_format(DType::f32), 1, 2);
  std::array<float, 2> values{};
  if (work_.load(error_piece_name(index), piece)) {
    std::memcpy(values.data(), piece.planes[0].data(), sizeof values);
  } else {
    const OutputError error = measure_output_error(linear, fast(plan_.tensors[index].target.format), pool_, options_.calibration.kernels.isa);
    values = {static_cast<float>(error.nearest), static_cast<float>(error.stored)};
    std::memcpy(piece.planes[0].data(), values.data(), sizeof values);
    work_.store(error_piece_name(index), piece);
  }
  errors_[index] = {static_cast<double>(values[0]), static_cast<double>(values[1])};
}

}  // namespace nibble
