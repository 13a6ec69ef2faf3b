// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/quantize_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "base/elapsed.h"
#include "calibrate/calibrate.h"
#include "calibrate/site_observer.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/quantize/layer_scales.h"
#include "pipeline/quantize/live_text.h"
#include "pipeline/quantize/loss_weights.h"
#include "quantize/pooled_moment.h"
#include "quantize/transform/transform.h"

namespace nibble {

bool needs_calibration(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  return std::ranges::any_of(plan.tensors, [&](const TensorPlan& tensor) {
    return tensor.target.format->info().kind != FormatKind::raw &&
           method_for(tensor, options).needs() != Needs::nothing;
  });
}

LayerQuantizer::LayerQuantizer(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options,
                               TensorOutput& output, Machine& machine, const ProgressCallback& progress,
                               Transport* transport)
    : source_(source),
      plan_(plan),
      options_(options),
      output_(output),
      machine_(machine),
      progress_(progress),
      transport_(transport),
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
  live_->share = share_windows(live_->tokens.windows(), transport_);
  live_->own_tokens = tokens_of(live_->tokens, live_->share);
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
  live_->stored.emplace(parts_.tensors().network(), live_->own_tokens, stored, machine_);
  if (learner_.learns_anything()) learner_.require_room(text, live_->weights->bytes_to_come());
  bool has_targets = learner_.learns_anything();  // only they need the original beside the quantized layers
  for (const ModelTensor& tensor : parts_.tensors().all())
    has_targets = has_targets || (tensor.role == TensorRole::linear &&
                                  parts_.asks_for(tensor.part, tensor.layer, Needs::second_moment));
  if (calibration.follow_original && has_targets)
    live_->original.emplace(parts_.tensors().network(), live_->own_tokens, walk, machine_);
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
  output_.advance(0, "");  // what comes first takes long, too, and may be stopped
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
                                   .spill_directory = options_.calibration.spill_directory,
                                   .transport = transport_};
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
  statistics.samples = live_->share.total;
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
        .second_moment = full, .distribution = false, .rounded = walk.multiplies_codes(), .windows = live_->share};
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
                                     .rounded = walk.multiplies_codes(),
                                     .windows = live_->share};
  return observe_pooled(walk, site, current, layer, accumulate, machine_,
                        [&](std::int64_t expert) { return scales.columns(site, expert); });
}

ExpertTokens LayerQuantizer::count_tokens_of(const Site& site, std::int64_t layer, const LayerWeights& current) {
  const ExpertTokens tokens =
      summarize_tokens(layer, count_tokens(*live_->stored, site, current, transport_), site.width);
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
                          live_->original ? &*live_->original : nullptr, live_->share, shares, machine_);
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
    if (pooled_ && is_made_here(site, e) && saw_few(*view.own))
      view.shrink_towards(site.has_own_inputs && !columns.empty() ? rescaled(*pooled_, columns) : *pooled_);
    site_warnings_.push_back({view.own->name(), site_warning(*view.own, true)});
  }
  return views;
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
                          .windows = live_->share},
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
