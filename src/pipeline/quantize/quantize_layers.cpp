// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/quantize_layers.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "calibrate/calibrate.h"
#include "calibrate/site_accumulator.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/quantize/layer_scales.h"
#include "pipeline/quantize/statistics_gaps.h"

namespace nibble {

bool needs_calibration(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  return std::ranges::any_of(plan.tensors, [&](const TensorPlan& tensor) {
    return tensor.target.format->info().kind != FormatKind::raw &&
           method_for(tensor, options).needs() != Needs::nothing;
  });
}

struct LayerQuantizer::Live {
  CalibrationTokens tokens;
  std::optional<LayerWalk> original,
      stored;  // the text through the original's layers, and through those quantized so far
};

LayerQuantizer::LayerQuantizer(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options,
                               TensorOutput& output, Machine& machine)
    : source_(source), plan_(plan), options_(options), output_(output), machine_(machine), parts_(plan, options) {}

LayerQuantizer::~LayerQuantizer() = default;

void LayerQuantizer::begin_walk() {
  const Calibration& calibration = options_.calibration;
  const WalkOptions walk{
      .kernels = calibration.kernels, .arithmetic = calibration.walk, .spill_directory = calibration.spill_directory};
  live_ = std::make_unique<Live>();
  const Tokenizer& tokenizer = source_.tokenizer();
  live_->tokens = choose_windows(calibration.texts, tokenizer, calibration.sampling, plan_.config.context);
  WalkOptions stored = walk;
  stored.keeps_inputs = true;
  live_->stored.emplace(parts_.tensors().network(), live_->tokens, stored, machine_);
  bool has_targets = false;  // only they need the original beside the quantized layers
  for (const ModelTensor& tensor : parts_.tensors().all())
    has_targets = has_targets || (tensor.role == TensorRole::linear &&
                                  parts_.asks_for(tensor.part, tensor.layer, Needs::second_moment));
  if (calibration.follow_original && has_targets)
    live_->original.emplace(parts_.tensors().network(), live_->tokens, walk, machine_);
}

std::vector<std::string> LayerQuantizer::warnings() const {
  if (!live_) return statistics_warnings(*options_.calibration.statistics);
  std::vector<std::string> lines = warning_lines(site_warnings_);
  if (const std::string shortage = shortage_warning(live_->tokens); !shortage.empty())
    lines.insert(lines.begin(), shortage);
  return lines;
}

void LayerQuantizer::run() {
  if (!options_.calibration.statistics) begin_walk();
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
    view.given = statistics->find(-1, kHeadSite);
  }
  const Matrix weights = decode_matrix(stored, machine_.pool);
  const Matrix rounded = quantize("embedding", -1, weights, weights, view).values;
  if (!live_) return;
  const std::size_t width = plan_.config.hidden;
  const auto rows_of = [width](const Matrix& matrix) {
    return [&matrix, width](std::int32_t id, float* out) {
      std::copy_n(&matrix.values[static_cast<std::size_t>(id) * width], width, out);
    };
  };
  live_->stored->embed(rows_of(rounded));
  if (live_->original) live_->original->embed(rows_of(weights));
}

Statistics LayerQuantizer::preview(std::int64_t index, const LayerWeights& layer) {
  LayerWalk& walk = *live_->stored;
  const SpillableBytes before = walk.save();
  Statistics statistics;
  for (const Site& site : layer.drawing().sites) {
    const bool full = std::ranges::any_of(site.parts, [&](const std::string& part) {
      return parts_.method(part, index).transform.needs == Needs::second_moment;
    });
    walk.pack(site, layer);
    const AccumulateOptions accumulate{
        .second_moment = full, .distribution = false, .rounded = walk.multiplies_codes(), .windows = walk.windows()};
    SiteAccumulator sums(index, site.name, site.width, accumulate, machine_);
    for (std::size_t window = 0; window < walk.windows(); ++window) {
      sums.add(walk.inputs(site, layer, window).data(), walk.length());
      walk.leave(site, layer, window);
    }
    statistics.sites.push_back(sums.finish());
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
  const auto start = std::chrono::steady_clock::now();
  source_.require_unchanged();
  const LayerWeights original(source_, parts_.tensors(), index, machine_.pool);
  source_.require_unchanged();
  LayerWeights current = original.copy(machine_.pool);
  restored_.clear();
  const LayerScales scales = transform(index, current);
  for (const Site& site : original.drawing().sites) {
    if (live_ && live_->original) live_->original->pack(site, original);
    quantize_site(site, index, original, current, scales);
  }
  write_vectors(index, current);
  report_layer(index, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

SiteView LayerQuantizer::observe(const Site& site, std::int64_t layer, const LayerPair& weights,
                                 const LayerScales& scales) {
  if (!live_)
    return view_of_statistics(options_.calibration.statistics->find(layer, site.name), scales.columns(site.name));
  LayerWalk* const original = live_->original ? &*live_->original : nullptr;
  SiteView view = view_of_text(site, layer, parts_, weights, *live_->stored, original, machine_);
  view.column_scales = scales.columns(site.name);
  site_warnings_.push_back({view.own->name(), site_warning(*view.own, true)});
  return view;
}

// The site's Linears, and the text through what they have become.
void LayerQuantizer::quantize_site(const Site& site, std::int64_t layer, const LayerWeights& original,
                                   LayerWeights& current, const LayerScales& scales) {
  const LayerPair weights{original, current};
  SiteView view;
  if (std::ranges::all_of(site.parts,
                          [&](const std::string& part) { return output_.is_done(parts_.index(part, layer)); }))
    restored_.insert(site.name);
  else
    view = observe(site, layer, weights, scales);
  std::map<std::string_view, QuantizedTensor> codes;
  for (const std::string& part : site.parts) {
    Matrix& matrix = current.at(part);
    if (!view.cross.empty() && parts_.asks_for(part, layer, Needs::second_moment))
      matrix.values = target_of(part, layer, parts_, weights, scales.rows(part), view, machine_);
    StoredMatrix stored = quantize(part, layer, matrix, original.at(part), view);
    matrix = std::move(stored.values);
    if (stored.codes) codes.emplace(part, std::move(*stored.codes));
  }
  for (const std::string& part : site.expert_parts) {
    SiteView nothing;
    StoredMatrix stored = quantize(part, layer, current.at(part), original.at(part), nothing);
    current.at(part) = std::move(stored.values);
    if (stored.codes) codes.emplace(part, std::move(*stored.codes));
  }
  if (!live_) return;
  for (const auto* const parts : {&site.parts, &site.expert_parts})
    for (const std::string& part : *parts) {
      const auto own = codes.find(part);
      if (own == codes.end())
        live_->stored->pack(part, current.at(part));
      else
        live_->stored->pack(part, own->second.view());
    }
  live_->stored->leave(site, current);
  if (live_->original && !view.is_original_left) live_->original->leave(site, original);
}

StoredMatrix LayerQuantizer::quantize(std::string_view part, std::int64_t layer, const Matrix& weights,
                                      const Matrix& original, SiteView& view) {
  const std::size_t index = parts_.index(part, layer);
  const TensorPlan& planned = plan_.tensors[index];
  const SiteStatistics* inputs = view.inputs();
  if (inputs != nullptr && is_silent(*inputs)) inputs = nullptr;  // zeros would make any choice as good as any other
  const QuantizedView source = view_of(weights);
  LinearTask task{.weights = output_.rows_of(index, source),
                  .format = planned.target.format,
                  .method = parts_.method(part, layer),
                  .moments = {{.rows = {0, weights.rows}, .inputs = inputs}}};
  if (&weights != &original) task.weights.file.clear();  // numbers of our own, which no file holds
  const bool keeps_codes = planned.role == TensorRole::linear && live_ && live_->stored->multiplies_codes();
  StoredMatrix stored = output_.write_and_keep(index, task, view.plans, keeps_codes);
  if (planned.target.format->info().kind != FormatKind::raw)
    output_.record_error(index, {.site = inputs,
                                 .weights = weights.values,
                                 .stored = stored.values.values,
                                 .original = original.values,
                                 .column_scales = view.column_scales,
                                 .rows = weights.rows,
                                 .tensor_grid = stored.tensor_grid.get()});
  return stored;
}

void LayerQuantizer::write_vectors(std::int64_t layer, LayerWeights& weights) {
  for (const auto& [part, values] : weights.all())
    if (is_vector(parts_.tensor(part, layer).role)) output_.write_vector(parts_.index(part, layer), values.values);
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
  if (count == 0) return;
  report.error.nearest /= count;
  report.error.stored /= count;
  options_.on_layer(report);
}

void LayerQuantizer::head() {
  const Matrix norm = decode_matrix(source_, parts_.tensor("final_norm", -1), machine_.pool);
  output_.write_vector(parts_.index("final_norm", -1), norm.values);
  if (plan_.config.tied_embedding) return;
  SiteView view;
  if (live_ && parts_.asks_for("head", -1, Needs::mean_square)) {
    LayerWalk& walk = *live_->stored;
    SiteAccumulator sums(-1, kHeadSite, plan_.config.hidden,
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
  if (!live_) view.given = options_.calibration.statistics->find(-1, kHeadSite);
  const Matrix weights = decode_matrix(*parts_.planned("head", -1).source, machine_.pool);
  quantize("head", -1, weights, weights, view);
}

}  // namespace nibble
