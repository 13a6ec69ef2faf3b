// SPDX-License-Identifier: Apache-2.0
//
// LayerQuantizer at a site: its Linears rounded, one after the other, and the text through what they have become.
#include <algorithm>
#include <map>

#include "calibrate/site_observer.h"
#include "pipeline/quantize/live_text.h"
#include "pipeline/quantize/quantize_layers.h"
#include "pipeline/quantize/statistics_gaps.h"

namespace nibble {

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

// What is known of a matrix, as its rounding takes it.
struct LayerQuantizer::LinearTaskOf {
  LinearTaskOf(LayerQuantizer& quantizer, std::string_view part, std::int64_t layer, const Matrix& weights,
               const Matrix& original, std::span<SiteView> views);
  RoundPlans& plans() { return moved.empty() ? site_views.front().plans : own_plans; }

  std::span<SiteView> site_views;
  // What is rounded has the output's columns; what comes back has the source's.
  std::vector<SiteStatistics> moved;
  std::vector<const SiteStatistics*> groups;
  std::vector<float> outputs;
  RoundPlans own_plans;
  LinearTask task;
};

LayerQuantizer::LinearTaskOf::LinearTaskOf(LayerQuantizer& quantizer, std::string_view part, std::int64_t layer,
                                           const Matrix& weights, const Matrix& original, std::span<SiteView> views)
    : site_views(views) {
  const std::size_t index = quantizer.parts_.index(part, layer);
  const TensorPlan& planned = quantizer.plan_.tensors[index];
  moved.reserve(views.size());
  for (const SiteView& view : views) {
    const SiteStatistics* inputs = view.inputs();
    if (inputs != nullptr && is_silent(*inputs)) inputs = nullptr;  // zeros would make any choice as good as any other
    if (inputs != nullptr && !planned.column_order.empty())
      inputs = &moved.emplace_back(reordered(*inputs, planned.column_order));
    groups.push_back(inputs);
  }
  task = {.weights = quantizer.output_.weights_of(index, view_of(weights)),
          .format = planned.target.format,
          .method = quantizer.parts_.method(part, layer),
          .parts = planned.target.parts};
  task.moments = moments_of(groups, weights.rows, task.weights.order);
  if (quantizer.live_) outputs = quantizer.live_->weights->outputs_of(layer, part, task.weights.order);
  if (!outputs.empty()) task.moments.front().outputs = outputs;
  if (&weights != &original) task.weights.file.clear();  // numbers of our own, which no file holds
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
      if (site.experts != 0) make_experts_ahead(site, experts, layer, weights, current, scales, views);
      for (std::int64_t e = experts.begin; e < experts.end; ++e) {
        if (is_shared(transport_) && live_ && site.experts != 0) output_.set_maker(maker_of(e, *transport_));
        SiteView& view = views[static_cast<std::size_t>(e - experts.begin)];
        quantize_parts(site.parts_of(e), layer, weights, current, scales, std::span(&view, 1));
        is_original_left = is_original_left || view.is_original_left;
        view = {};
        output_.set_maker({});
      }
    }
  }
  pooled_.reset();
  if (!live_) return;
  live_->stored->leave(site, current);
  if (live_->original && !is_original_left) live_->original->leave(site, original);
}

// What the part's weights should be for the inputs that it gets now, in their place. ranks: who find some rows each.
void LayerQuantizer::aim(const std::string& part, std::int64_t layer, const LayerPair& weights, Matrix& matrix,
                         const LayerScales& scales, std::span<SiteView> views, Transport* ranks) {
  if (views.front().cross.empty() || !parts_.asks_for(part, layer, Needs::second_moment)) return;
  std::vector<float> targets;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const RowRange rows{begin_of_group(matrix.rows, views.size(), i), begin_of_group(matrix.rows, views.size(), i + 1)};
    const auto target_rows = [&](RowRange range) {
      return target_of(part, layer, range, parts_, weights, scales.rows(part), views[i], views.front().plans, machine_);
    };
    if (!is_shared(ranks)) {
      const std::vector<float> own = target_rows(rows);
      targets.insert(targets.end(), own.begin(), own.end());
      continue;
    }
    const RowRange share{rows.begin + begin_of_share(rows.count(), ranks->rank(), ranks->size()),
                         rows.begin + begin_of_share(rows.count(), ranks->rank() + 1, ranks->size())};
    const std::vector<float> own = share.count() == 0 ? std::vector<float>() : target_rows(share);
    for (const Bytes& bytes : ranks->all_gather(std::as_bytes(std::span(own)), "what rows should be: " + part)) {
      const std::size_t begin = targets.size();
      targets.resize(begin + bytes.size() / sizeof(float));
      std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span(targets).subspan(begin)).begin());
    }
  }
  matrix.values = std::move(targets);
}

// Of several ranks every one rounds whole experts, at the same time; what they have become is said behind that.
void LayerQuantizer::make_experts_ahead(const Site& site, ExpertRange experts, std::int64_t layer,
                                        const LayerPair& weights, LayerWeights& current, const LayerScales& scales,
                                        std::span<SiteView> views) {
  if (!is_shared(transport_) || !live_) return;
  for (std::int64_t e = experts.begin; e < experts.end; ++e) {
    if (!is_made_here(site, e)) continue;
    SiteView& view = views[static_cast<std::size_t>(e - experts.begin)];
    for (const std::string& part : site.parts_of(e)) {
      const std::size_t index = parts_.index(part, layer);
      if (output_.is_done(index)) continue;
      Matrix& matrix = current.at(part);
      aim(part, layer, weights, matrix, scales, std::span(&view, 1), nullptr);
      LinearTaskOf task(*this, part, layer, matrix, weights.original.at(part), std::span(&view, 1));
      output_.make_ahead(index, task.task, task.plans());
    }
    view.cross.clear();  // the weights are aimed
  }
}

// Those of a site, or of one of its experts, in whose place the text meets what is stored.
void LayerQuantizer::quantize_parts(std::span<const std::string> parts, std::int64_t layer, const LayerPair& weights,
                                    LayerWeights& current, const LayerScales& scales, std::span<SiteView> views) {
  std::map<std::string_view, QuantizedTensor> codes;
  for (const std::string& part : parts) {
    if (!output_.concerns(parts_.index(part, layer))) continue;
    Matrix& matrix = current.at(part);
    aim(part, layer, weights, matrix, scales, views, transport_);
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

StoredMatrix LayerQuantizer::quantize(std::string_view part, std::int64_t layer, const Matrix& weights,
                                      const Matrix& original, std::span<SiteView> views) {
  const std::size_t index = parts_.index(part, layer);
  const TensorPlan& planned = plan_.tensors[index];
  LinearTaskOf known(*this, part, layer, weights, original, views);
  const bool keeps_codes = planned.role == TensorRole::linear && live_ && live_->stored->multiplies_codes();
  const bool is_start = learner_.awaits(part);
  StoredMatrix stored = is_start ? output_.round_and_keep(index, known.task, known.plans())
                                 : output_.write_and_keep(index, known.task, known.plans(), keeps_codes);
  if (is_start) learner_.start(part, *stored.codes);
  if (planned.target.format->info().kind != FormatKind::raw) {
    const std::vector<const SiteStatistics*>& groups = known.groups;
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

}  // namespace nibble
