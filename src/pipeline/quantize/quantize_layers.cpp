// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/quantize_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>

#include "base/elapsed.h"
#include "calibrate/calibrate.h"
#include "calibrate/site_observer.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/quantize/layer_scales.h"
#include "pipeline/quantize/loss_weights.h"
#include "pipeline/quantize/statistics_gaps.h"
#include "quantize/pooled_moment.h"
#include "quantize/transform/transform.h"

namespace nibble {

bool needs_calibration(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  return std::ranges::any_of(plan.tensors, [&](const TensorPlan& tensor) {
    return tensor.target.format->info().kind != FormatKind::raw &&
           method_for(tensor, options).needs() != Needs::nothing;
  });
}

struct LayerQuantizer::Live {
  CalibrationTokens tokens;
  std::optional<LossWeights> weights;
  std::optional<LayerWalk> original,
      stored;  // the text through the original's layers, and through those quantized so far
};

LayerQuantizer::LayerQuantizer(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options,
                               TensorOutput& output, Machine& machine, const ProgressCallback& progress)
    : source_(source),
      plan_(plan),
      options_(options),
      output_(output),
      machine_(machine),
      progress_(progress),
      parts_(plan, options),
      learner_(plan, parts_, options, output, machine) {}

LayerQuantizer::~LayerQuantizer() = default;

void LayerQuantizer::begin_walk() {
  const Calibration& calibration = options_.calibration;
  const WalkOptions walk{
      .kernels = calibration.kernels, .arithmetic = calibration.walk, .spill_directory = calibration.spill_directory};
  live_ = std::make_unique<Live>();
  const Tokenizer& tokenizer = source_.tokenizer();
  live_->tokens = choose_windows(calibration.texts, tokenizer, calibration.sampling, plan_.config.context);
  if (const std::string line = loss_weight_warning(calibration.hessian, live_->tokens); !line.empty() && options_.note)
    options_.note("note: " + line);
  const bool rotates = std::ranges::any_of(plan_.tensors, [](const TensorPlan& tensor) {
    return tensor.target.parts && !tensor.target.parts->input_transform.empty();
  });
  const LearningText text{live_->tokens.ids.size(), live_->tokens.length};
  const std::uint64_t learning = learner_.learns_anything() ? learning_bytes(plan_, options_, text).layer : 0;
  live_->weights.emplace(
      source_, live_->tokens,
      LossWeightOptions{calibration.hessian, calibration.follow_original, rotates, learning, progress_}, machine_);
  WalkOptions stored = walk;
  stored.keeps_inputs = true;
  live_->stored.emplace(parts_.tensors().network(), live_->tokens, stored, machine_);
  if (learner_.learns_anything()) learner_.require_room(text, live_->weights->bytes_to_come());
  bool has_targets = learner_.learns_anything();  // only they need the original beside the quantized layers
  for (const ModelTensor& tensor : parts_.tensors().all())
    has_targets = has_targets || (tensor.role == TensorRole::linear &&
                                  parts_.asks_for(tensor.part, tensor.layer, Needs::second_moment));
  if (calibration.follow_original && has_targets)
    live_->original.emplace(parts_.tensors().network(), live_->tokens, walk, machine_);
}

std::vector<std::string> LayerQuantizer::warnings() const {
  if (!live_) return statistics_warnings(*options_.calibration.statistics);
  std::vector<std::string> lines = warning_lines(site_warnings_);
  if (std::string line = experts_warning(experts_); !line.empty()) lines.push_back(std::move(line));
  for (std::string line :
       {loss_weight_warning(options_.calibration.hessian, live_->tokens), shortage_warning(live_->tokens)})
    if (!line.empty()) lines.insert(lines.begin(), std::move(line));
  return lines;
}

void LayerQuantizer::run() {
  if (!options_.calibration.statistics)
    begin_walk();
  else if (options_.calibration.statistics->length != 0)
    experts_ = expert_tokens(*options_.calibration.statistics);
  embedding();
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(plan_.config.layers); ++i) layer(i);
  head();
}

void LayerQuantizer::embedding() {
  const StoredTensor& stored = *parts_.planned("embedding", -1).source;
  SiteView view;
  if (plan_.config.tied_embedding && parts_.asks_for("embedding", -1, Needs::mean_square)) {
    if (live_) {
      const CollectOptions collect{.kernels = options_.calibration.kernels,
                                   .arithmetic = options_.calibration.walk,
                                   .second_moments = parts_.asks_for("embedding", -1, Needs::second_moment),
                                   .layers = false,
                                   .spill_directory = options_.calibration.spill_directory};
      head_statistics_ = collect_statistics(source_, live_->tokens, collect, machine_);
    }
    const Statistics* const statistics = live_ ? &*head_statistics_ : options_.calibration.statistics;
    view.given = statistics->find({.site = std::string(kHeadSite)});
  }
  Matrix weights, rounded;
  if (output_.concerns(parts_.index("embedding", -1))) {
    weights = decode_matrix(stored, machine_.pool);
    rounded = quantize("embedding", -1, weights, weights, std::span(&view, 1)).values;
  }
  // What else there is before the layers is rounded by itself, and the text meets the original.
  for (const WeightUse& use : parts_.tensors().network().begin().graph.weights())
    if (use.part != "embedding")
      write_alone(parts_.index(use.part, Network::kBegin), plan_, options_, source_, output_, machine_);
  if (!live_) return;
  const LayerWeights begin(source_, parts_.tensors(), Network::kBegin, machine_.pool);
  const auto rows_of = [others = stored_rows(source_)](const Matrix& matrix) {
    return [&matrix, others](std::string_view part, std::int32_t id, float* out) {
      if (part != "embedding") return others(part, id, out);
      std::copy_n(&matrix.values[static_cast<std::size_t>(id) * matrix.cols], matrix.cols, out);
    };
  };
  live_->stored->embed(rows_of(rounded), begin);
  if (live_->original) live_->original->embed(rows_of(weights), begin);
}

Statistics LayerQuantizer::preview(std::int64_t index, const LayerWeights& layer) {
  LayerWalk& walk = *live_->stored;
  const WalkState before = walk.save();
  Statistics statistics;
  statistics.samples = walk.windows();
  statistics.length = walk.length();
  for (const Site& site : layer.drawing().sites) {
    // Of experts' own inputs as much as may be known at a time.
    const bool fits =
        !site.has_own_inputs || site.experts * site.width * site.width * sizeof(float) * 3 <= kExpertMomentBytes;
    const bool full = fits && std::ranges::any_of(layer.drawing().graph.weights(), [&](const WeightUse& use) {
                        return use.role == TensorRole::linear &&
                               parts_.method(use.part, index).transform.needs == Needs::second_moment;
                      });
    walk.pack(site, layer);
    const AccumulateOptions accumulate{
        .second_moment = full, .distribution = false, .rounded = walk.multiplies_codes()};
    // Experts that share inputs are scaled together, by what their router sees.
    if (site.experts == 0 || site.has_own_inputs) {
      std::ranges::move(
          observe_site(walk, site, layer, index, {site.first_expert(), site.end_expert()}, accumulate, machine_),
          std::back_inserter(statistics.sites));
    } else if (seen_by(layer.drawing(), site) == site.name) {
      statistics.sites.push_back(observe_pooled(walk, site, layer, index, accumulate, machine_));
    }
    walk.leave(site, layer);
  }
  walk.restore(before);
  return statistics;
}

LayerScales LayerQuantizer::transform(std::int64_t index, LayerWeights& weights) {
  LayerScales scales;
  if (!LayerScales::wanted(parts_, index)) return scales;
  const Statistics own = live_ ? preview(index, weights) : Statistics{};
  scales.fold(parts_, index, live_ ? own : *options_.calibration.statistics, weights, machine_);
  return scales;
}

void LayerQuantizer::layer(std::int64_t index) {
  if (std::ranges::none_of(parts_.tensors().all(), [&](const ModelTensor& tensor) {
        return tensor.layer == index && output_.concerns(parts_.index(tensor.part, index));
      }))
    return;
  const auto start = std::chrono::steady_clock::now();
  source_.require_unchanged();
  const auto is_done = [&](const std::string& part) { return output_.is_done(parts_.index(part, index)); };
  if (live_)
    live_->weights->prepare(
        index, learner_.is_due(index) || !std::ranges::all_of(parts_.drawing(index).sites, [&](const Site& site) {
                 return std::ranges::all_of(site.parts, is_done);
               }));
  const LayerWeights original(source_, parts_.tensors(), index, machine_.pool);
  source_.require_unchanged();
  LayerWeights current = original.copy(machine_.pool);
  restored_.clear();
  const LayerScales scales = transform(index, current);
  if (live_) learner_.begin(index, current, *live_->stored);
  for (const Site& site : original.drawing().sites) {
    if (live_ && live_->original) live_->original->pack(site, original);
    quantize_site(site, index, original, current, scales);
  }
  if (learner_.is_open()) learn(current);
  write_vectors(index, current);
  report_layer(index, seconds_since(start));
}

void LayerQuantizer::learn(LayerWeights& current) {
  try {
    learner_.finish(current, *live_->stored, live_->original ? &*live_->original : nullptr,
                    live_->weights->stream_moment(current.layer()));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::unusable_input) throw;
    throw Error(error.kind(), source_.path().string() + ": " + error.what(), error.setting());
  }
}

std::optional<SiteStatistics> LayerQuantizer::pooled_inputs(const Site& site, std::int64_t layer,
                                                            const LayerWeights& current, const LayerScales& scales) {
  if (site.experts == 0) return std::nullopt;
  if (!live_) return pool_where_few(*options_.calibration.statistics, layer, site.name);
  LayerWalk& walk = *live_->stored;
  if (count_tokens_of(site, layer, current).few == 0) return std::nullopt;
  const AccumulateOptions accumulate{.second_moment = parts_.site_asks_for(site, layer, Needs::second_moment),
                                     .distribution = false,
                                     .rounded = walk.multiplies_codes()};
  return observe_pooled(walk, site, current, layer, accumulate, machine_,
                        [&](std::int64_t expert) { return scales.columns(site, expert); });
}

ExpertTokens LayerQuantizer::count_tokens_of(const Site& site, std::int64_t layer, const LayerWeights& current) {
  const ExpertTokens tokens = summarize_tokens(layer, count_tokens(*live_->stored, site, current), site.width);
  if (experts_.empty() || experts_.back().layer != layer) experts_.push_back(tokens);
  experts_.back().few = std::max(experts_.back().few, tokens.few);
  return tokens;
}

// What an expert's accumulators take: a shard's sums and the total, and the same of targets.
std::uint64_t LayerQuantizer::moment_bytes(const Site& site, std::int64_t layer) const {
  if (!live_ || !parts_.site_asks_for(site, layer, Needs::second_moment)) return site.width * sizeof(double);
  return (live_->original ? 4 : 2) * site.width * site.width * sizeof(float);
}

std::vector<SiteView> LayerQuantizer::observe(const Site& site, std::int64_t layer, ExpertRange experts,
                                              const LayerPair& weights, const LayerScales& scales,
                                              std::span<const TokenShares> shares) {
  std::vector<SiteView> views;
  if (live_)
    views = views_of_text(site, layer, experts, parts_, weights, *live_->stored,
                          live_->original ? &*live_->original : nullptr, shares, machine_);
  if (!shares.empty()) {
    for (SiteView& view : views) view.column_scales = scales.columns(site, -1);
    site_warnings_.push_back({views.front().own->name(), site_warning(*views.front().own, true)});
    return views;
  }
  for (std::int64_t e = experts.begin; e < experts.end; ++e) {
    const std::span<const float> columns = scales.columns(site, e);
    if (!live_) {
      const SiteStatistics* const given = options_.calibration.statistics->find({layer, site.name, e});
      views.push_back(view_of_statistics(given, columns, pooled_ ? &*pooled_ : nullptr));
      continue;
    }
    SiteView& view = views[static_cast<std::size_t>(e - experts.begin)];
    view.column_scales = columns;
    if (pooled_ && saw_few(*view.own))
      view.shrink_towards(site.has_own_inputs && !columns.empty() ? rescaled(*pooled_, columns) : *pooled_);
    site_warnings_.push_back({view.own->name(), site_warning(*view.own, true)});
  }
  return views;
}

// The site's Linears, and the text through what they have become.
void LayerQuantizer::quantize_site(const Site& site, std::int64_t layer, const LayerWeights& original,
                                   LayerWeights& current, const LayerScales& scales) {
  const LayerPair weights{original, current};
  const auto is_done = [&](const std::string& part) {
    const std::size_t index = parts_.index(part, layer);
    return !output_.concerns(index) || (!learner_.awaits(part) && output_.is_done(index));
  };
  bool is_original_left = false;
  if (!std::ranges::all_of(site.parts, is_done)) {
    pooled_ = pooled_inputs(site, layer, current, scales);
  } else {
    restored_.insert(site.name);
    if (live_ && site.experts != 0) count_tokens_of(site, layer, current);
  }
  const auto shares_of = [&](const std::string& part) {
    return live_ ? live_->weights->shares_of(site, layer, part) : std::vector<TokenShares>();
  };
  if (live_ && live_->weights->is_by_part() && site.experts == 0) {
    for (const std::string& part : site.parts) {
      std::vector<SiteView> views(1);
      if (!is_done(part)) views = observe(site, layer, {}, weights, scales, shares_of(part));
      quantize_parts(std::span(&part, 1), layer, weights, current, scales, views);
      is_original_left = is_original_left || views.front().is_original_left;
    }
  } else {
    for (const ExpertRange experts : expert_groups(site, moment_bytes(site, layer))) {
      std::vector<SiteView> views(static_cast<std::size_t>(experts.end - experts.begin));
      bool is_restored = true;
      for (std::int64_t e = experts.begin; e < experts.end; ++e)
        is_restored = is_restored && std::ranges::all_of(site.parts_of(e), is_done);
      if (!is_restored) views = observe(site, layer, experts, weights, scales, shares_of({}));
      for (std::int64_t e = experts.begin; e < experts.end; ++e) {
        SiteView& view = views[static_cast<std::size_t>(e - experts.begin)];
        quantize_parts(site.parts_of(e), layer, weights, current, scales, std::span(&view, 1));
        is_original_left = is_original_left || view.is_original_left;
        view = {};
      }
    }
  }
  pooled_.reset();
  if (!live_) return;
  live_->stored->leave(site, current);
  if (live_->original && !is_original_left) live_->original->leave(site, original);
}

// Those of a site, or of one of its experts, in whose place the text meets what is stored.
void LayerQuantizer::quantize_parts(std::span<const std::string> parts, std::int64_t layer, const LayerPair& weights,
                                    LayerWeights& current, const LayerScales& scales, std::span<SiteView> views) {
  std::map<std::string_view, QuantizedTensor> codes;
  for (const std::string& part : parts) {
    if (!output_.concerns(parts_.index(part, layer))) continue;
    Matrix& matrix = current.at(part);
    if (!views.front().cross.empty() && parts_.asks_for(part, layer, Needs::second_moment)) {
      std::vector<float> targets;
      for (std::size_t i = 0; i < views.size(); ++i) {
        const RowRange rows{begin_of_group(matrix.rows, views.size(), i),
                            begin_of_group(matrix.rows, views.size(), i + 1)};
        const std::vector<float> own =
            target_of(part, layer, rows, parts_, weights, scales.rows(part), views[i], views.front().plans, machine_);
        targets.insert(targets.end(), own.begin(), own.end());
      }
      matrix.values = std::move(targets);
    }
    StoredMatrix stored = quantize(part, layer, matrix, weights.original.at(part), views);
    matrix = std::move(stored.values);
    if (stored.codes) codes.emplace(part, std::move(*stored.codes));
  }
  for (const std::string& part : parts) {
    if (!live_) break;
    const auto own = codes.find(part);
    if (own == codes.end())
      live_->stored->pack(part, current.at(part));
    else
      live_->stored->pack(part, own->second.view());
  }
}

namespace {

// What groups of rows see, together.
SiteStatistics mean_of(std::span<const SiteView> views) {
  SiteStatistics mean = *views.front().inputs();
  const auto share = 1 / static_cast<float>(views.size());
  const auto add = [&](std::vector<float>& sum, auto&& values_of) {
    for (std::size_t i = 0; i < sum.size(); ++i) {
      float total = 0;
      for (const SiteView& view : views) total += values_of(*view.inputs())[i];
      sum[i] = share * total;
    }
  };
  add(mean.mean_square, [](const SiteStatistics& site) -> const std::vector<float>& { return site.mean_square; });
  add(mean.second_moment, [](const SiteStatistics& site) -> const std::vector<float>& { return site.second_moment; });
  return mean;
}

// The output's rows, in runs of one group each. order: of each of them the source's; empty: the same.
std::vector<RowMoment> moments_of(std::span<const SiteStatistics* const> groups, std::uint64_t rows,
                                  const std::vector<std::uint32_t>& order) {
  std::vector<RowMoment> moments;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::uint64_t stored = order.empty() ? row : order[row];
    std::size_t group = 0;
    while (stored >= begin_of_group(rows, groups.size(), group + 1)) ++group;
    if (moments.empty() || moments.back().inputs != groups[group])
      moments.push_back({.rows = {row, row}, .inputs = groups[group]});
    moments.back().rows.end = row + 1;
  }
  return moments;
}

}  // namespace

StoredMatrix LayerQuantizer::quantize(std::string_view part, std::int64_t layer, const Matrix& weights,
                                      const Matrix& original, std::span<SiteView> views) {
  const std::size_t index = parts_.index(part, layer);
  const TensorPlan& planned = plan_.tensors[index];
  // What is rounded has the output's columns; what comes back has the source's.
  std::vector<SiteStatistics> moved;
  moved.reserve(views.size());
  std::vector<const SiteStatistics*> groups;
  for (const SiteView& view : views) {
    const SiteStatistics* inputs = view.inputs();
    if (inputs != nullptr && is_silent(*inputs)) inputs = nullptr;  // zeros would make any choice as good as any other
    if (inputs != nullptr && !planned.column_order.empty())
      inputs = &moved.emplace_back(reordered(*inputs, planned.column_order));
    groups.push_back(inputs);
  }
  RoundPlans own_plans;
  LinearTask task{.weights = output_.weights_of(index, view_of(weights)),
                  .format = planned.target.format,
                  .method = parts_.method(part, layer),
                  .parts = planned.target.parts};
  task.moments = moments_of(groups, weights.rows, task.weights.order);
  const std::vector<float> outputs =
      live_ ? live_->weights->outputs_of(layer, part, task.weights.order) : std::vector<float>();
  if (!outputs.empty()) task.moments.front().outputs = outputs;
  if (&weights != &original) task.weights.file.clear();  // numbers of our own, which no file holds
  const bool keeps_codes = planned.role == TensorRole::linear && live_ && live_->stored->multiplies_codes();
  RoundPlans& plans = moved.empty() ? views.front().plans : own_plans;
  const bool is_start = learner_.awaits(part);
  StoredMatrix stored =
      is_start ? output_.round_and_keep(index, task, plans) : output_.write_and_keep(index, task, plans, keeps_codes);
  if (is_start) learner_.start(part, *stored.codes);
  if (planned.target.format->info().kind != FormatKind::raw) {
    const bool is_known = std::ranges::none_of(groups, [](const SiteStatistics* group) { return group == nullptr; });
    std::optional<SiteStatistics> mean;
    if (is_known && views.size() > 1) mean = mean_of(views);
    output_.record_error(index, {.site = mean       ? &*mean
                                         : is_known ? views.front().inputs()
                                                    : nullptr,
                                 .weights = weights.values,
                                 .stored = stored.values.values,
                                 .original = original.values,
                                 .column_scales = views.front().column_scales,
                                 .rows = weights.rows,
                                 .tensor_grid = stored.tensor_grid.get()});
  }
  return stored;
}

void LayerQuantizer::write_vectors(std::int64_t layer, LayerWeights& weights) {
  // In the model's order, in which those of experts lie in a stack.
  for (const ModelTensor& tensor : parts_.tensors().all())
    if (tensor.layer == layer && is_vector(tensor.role))
      output_.write_vector(parts_.index(tensor.part, layer), weights.at(tensor.part).values);
}

void LayerQuantizer::report_layer(std::int64_t index, double seconds) {
  if (!options_.on_layer) return;
  LayerReport report{
      .layer = static_cast<std::uint64_t>(index), .layers = plan_.config.layers, .seconds = seconds, .restored = true};
  double count = 0;
  for (const Site& site : parts_.drawing(index).sites) {
    report.restored = report.restored && restored_.contains(site.name);
    for (const std::string& part : site.parts) {
      const auto error = output_.errors().find(parts_.index(part, index));
      if (error == output_.errors().end()) continue;
      ++count;
      report.error.nearest += error->second.nearest;
      report.error.stored += error->second.stored;
      if (error->second.stored < report.worst_error.stored) continue;
      report.worst = part;
      report.worst_error = error->second;
    }
  }
  if (!output_.learnt().empty() && output_.learnt().back().layer == index) report.learnt = output_.learnt().back();
  const auto tokens = std::ranges::find(experts_, index, &ExpertTokens::layer);
  if (tokens != experts_.end()) report.experts = *tokens;
  if (count == 0) return;
  report.error.nearest /= count;
  report.error.stored /= count;
  options_.on_layer(report);
}

void LayerQuantizer::head() {
  const Matrix norm = decode_matrix(source_, parts_.tensor("final_norm", -1), machine_.pool);
  output_.write_vector(parts_.index("final_norm", -1), norm.values);
  if (plan_.config.tied_embedding || !output_.concerns(parts_.index("head", -1))) return;
  SiteView view;
  if (live_ && parts_.asks_for("head", -1, Needs::mean_square)) {
    LayerWalk& walk = *live_->stored;
    SiteAccumulator sums({.site = std::string(kHeadSite)}, plan_.config.hidden,
                         {.second_moment = parts_.asks_for("head", -1, Needs::second_moment),
                          .distribution = false,
                          .rounded = walk.multiplies_codes(),
                          .windows = walk.windows()},
                         machine_);
    for (std::size_t window = 0; window < walk.windows(); ++window)
      sums.add(walk.head_inputs(norm.values, window).data(), walk.length());
    view.own = sums.finish();
    site_warnings_.push_back({view.own->name(), site_warning(*view.own, true)});
  }
  if (!live_) view.given = options_.calibration.statistics->find({.site = std::string(kHeadSite)});
  const Matrix weights = decode_matrix(*parts_.planned("head", -1).source, machine_.pool);
  quantize("head", -1, weights, weights, std::span(&view, 1));
}

}  // namespace nibble
