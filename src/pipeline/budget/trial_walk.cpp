// SPDX-License-Identifier: Apache-2.0
#include "pipeline/budget/trial_walk.h"

#include <algorithm>

#include "calibrate/site_observer.h"
#include "kernels/log_probabilities.h"
#include "quantize/pooled_moment.h"

namespace nibble {
namespace {

// Statistics of the layers up to this size are kept between runs; larger ones are collected anew in each.
constexpr std::uint64_t kKeptStatistics = std::uint64_t{1} << 30;

// The first positions of a window are predicted from next to nothing.
std::size_t first_scored(std::size_t length) { return length / 6; }

}  // namespace

TrialWalk::TrialWalk(const SourceModel& checkpoint, const CalibrationTokens& scored,
                     const CalibrationTokens& calibration, const TrialOptions& options, Machine& machine)
    : checkpoint_(checkpoint),
      scored_(scored),
      calibration_(calibration),
      options_(options),
      machine_(machine),
      config_(checkpoint.config()),
      tensors_(checkpoint.parts()),
      begin_(checkpoint, tensors_, Network::kBegin, machine.pool),
      walk_(tensors_.network(), scored_, {.kernels = options.kernels, .spill_directory = options.spill_directory},
            machine) {
  if (options_.method.needs() != Needs::nothing)
    calibration_walk_.emplace(
        tensors_.network(), calibration_,
        WalkOptions{.kernels = options.kernels, .arithmetic = options.walk, .spill_directory = options.spill_directory},
        machine);
  std::uint64_t bytes = 0;
  for (std::int64_t i = 0; i < tensors_.network().num_layers(); ++i)
    for (const Site& site : tensors_.network().layer(i).sites)
      bytes += sizeof(float) * std::max<std::uint64_t>(1, site.experts) *
               (options_.method.needs() == Needs::second_moment ? site.width * site.width : site.width);
  keeps_statistics_ = bytes <= kKeptStatistics;
  find_lookups();
  walk_original();
}

Matrix TrialWalk::matrix(std::string_view part) const {
  return decode_matrix(checkpoint_, *tensors_.part(part, -1), machine_.pool);
}

void TrialWalk::find_lookups() {
  for (const std::int32_t id : scored_.ids) row_of_.emplace(id, row_of_.size());
  const EmbeddingRows stored = stored_rows(checkpoint_);
  for (const WeightUse& use : tensors_.network().begin().graph.weights()) {
    if (use.role != TensorRole::embedding || use.part == "embedding") continue;
    Lookup& lookup =
        lookups_.emplace_back(tensors_.part(use.part, Network::kBegin), Matrix{row_of_.size(), use.shape[1], {}});
    lookup.rows.values.resize(lookup.rows.rows * lookup.rows.cols);
    for (const auto& [id, row] : row_of_) stored(use.part, id, &lookup.rows.values[row * lookup.rows.cols]);
  }
}

void TrialWalk::embed(LayerWalk& walk, const std::map<std::string_view, const Matrix*>& rows) {
  walk.embed(
      [&, others = stored_rows(checkpoint_)](std::string_view part, std::int32_t id, float* out) {
        const auto told = rows.find(part);
        if (told == rows.end()) return others(part, id, out);
        const std::size_t row = part == "embedding" ? static_cast<std::size_t>(id) : row_of_.at(id);
        std::copy_n(&told->second->values[row * told->second->cols], told->second->cols, out);
      },
      begin_);
}

PackedLinear TrialWalk::packed(const Matrix& head) {
  KernelOptions kernels = options_.kernels;
  kernels.activations = ActivationMode::f32;
  return PackedLinear::pack(
      make_view(find_raw_format(DType::f32), head.rows, head.cols, {std::as_bytes(std::span(head.values))}, "head"),
      kernels, machine_);
}

// What the layer's sites see while `walk` passes it.
void TrialWalk::add_statistics(LayerWalk& walk, std::int64_t index, const LayerWeights& layer) {
  const bool full = options_.method.needs() == Needs::second_moment;
  for (const Site& site : layer.drawing().sites) {
    walk.pack(site, layer);
    std::vector<SiteStatistics> seen =
        observe_site(walk, site, layer, index, {site.first_expert(), site.end_expert()},
                     {.second_moment = full, .distribution = false, .rounded = full && walk.multiplies_codes()},
                     machine_, [&](std::size_t window) { walk.leave(site, layer, window); });
    shrink_few(seen);
    for (SiteStatistics& one : seen) {
      const SiteKey key = one;
      statistics_.insert_or_assign(key, std::move(one));
    }
  }
}

void TrialWalk::pass_original(LayerWalk& walk, const LayerWeights& layer) {
  for (const Site& site : layer.drawing().sites) {
    walk.pack(site, layer);
    walk.leave(site, layer);
  }
}

// Statistics of the head (and of the layers, where they are kept), and the predictions that trials are compared with.
void TrialWalk::walk_original() {
  const Matrix embedding = matrix("embedding");
  final_norm_ = matrix("final_norm");
  LayerWalk& informs = calibration_walk_ ? *calibration_walk_ : walk_;
  embed(walk_, {{"embedding", &embedding}});
  if (calibration_walk_) embed(informs, {{"embedding", &embedding}});
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(config_.layers); ++i) {
    const LayerWeights layer(checkpoint_, tensors_, i, machine_.pool);
    if (keeps_statistics_)
      add_statistics(informs, i, layer);  // which moves that walk on
    else
      pass_original(informs, layer);
    if (calibration_walk_) pass_original(walk_, layer);
  }
  const bool full = options_.method.needs() == Needs::second_moment;
  SiteAccumulator sums({.site = std::string(kHeadSite)}, config_.hidden,
                       {.second_moment = full,
                        .distribution = false,
                        .rounded = full && informs.multiplies_codes(),
                        .windows = informs.windows()},
                       machine_);
  for (std::size_t window = 0; window < informs.windows(); ++window)
    sums.add(informs.head_inputs(final_norm_.values, window).data(), informs.length());
  head_statistics_ = sums.finish();
  divergence(packed(config_.tied_embedding ? embedding : matrix("head")));
}

// Of the text as it stands at the end of walk_; the first call takes the original's own.
double TrialWalk::divergence(const PackedLinear& head) {
  const std::size_t length = scored_.length, vocab = config_.vocab_size, first = first_scored(length),
                    count = length - first;
  const bool is_reference = reference_.empty();
  if (is_reference) reference_.resize(walk_.windows() * count * vocab);
  std::vector<float> logits(is_reference ? 0 : count * vocab);
  std::vector<double> kl(count);
  double total = 0;
  for (std::size_t window = 0; window < walk_.windows(); ++window) {
    float* const reference = &reference_[window * count * vocab];
    float* const out = is_reference ? reference : logits.data();
    head.multiply(walk_.head_inputs(final_norm_.values, window).data() + first * config_.hidden, count, out, machine_);
    walk_.finish_logits({out, count * vocab}, count);
    if (is_reference) continue;
    machine_.pool.parallel_for(count, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t)
        kl[t] = divergence_of_logits(reference + t * vocab, out + t * vocab, vocab, machine_.isa).kl;
    });
    for (const double value : kl) total += value;
  }
  return total / static_cast<double>(walk_.windows() * count);
}

bool TrialWalk::changes(const Trial& trial, std::int64_t layer) const {
  return std::ranges::any_of(trial.formats,
                             [&](const auto& entry) { return tensors_.find(entry.first)->layer == layer; });
}

void TrialWalk::pass(const LayerWeights& layer, std::int64_t index, const Trial& trial,
                     std::map<std::string, SiteRounding>& rounding) {
  std::vector<std::string_view> changed;
  for (const Site& site : layer.drawing().sites)
    for (std::size_t p = 0; p < site.parts.size(); ++p) {
      const auto format = trial.formats.find(tensors_.part(site.parts[p], index)->gguf_name);
      if (format == trial.formats.end()) continue;
      walk_.pack(site.parts[p], rounding.at(site.name).keep(p, format->second));
      changed.push_back(site.parts[p]);
    }
  for (const Site& site : layer.drawing().sites) walk_.leave(site, layer);
  for (const std::string_view part : changed) walk_.pack(part, layer.at(part));
}

std::vector<double> TrialWalk::run(const std::vector<Trial>& trials, const SiteVisitor& visit, ProgressMeter* meter) {
  const auto layers = static_cast<std::int64_t>(config_.layers);
  const ModelTensor* const embedding = tensors_.part("embedding", -1);
  const ModelTensor* const head = tensors_.part("head", -1);
  const bool informed = options_.method.needs() != Needs::nothing;
  const Matrix embedding_rows = matrix("embedding");
  // An embedding that is no head is looked up, not multiplied: no inputs weigh its columns.
  SiteRounding embedding_rounding(options_.method,
                                  {{&embedding_rows, config_.tied_embedding ? &head_statistics_ : nullptr}}, machine_);
  std::vector<SiteRounding> lookup_roundings;
  for (const Lookup& lookup : lookups_)
    lookup_roundings.emplace_back(options_.method, std::vector<MatrixOfSite>{{&lookup.rows, nullptr}}, machine_);
  std::vector<std::optional<WalkState>> states(trials.size());  // of trials that have left the original
  for (std::size_t t = 0; t < trials.size(); ++t) {
    std::map<std::string_view, const Matrix*> rows;
    const auto change = [&](const ModelTensor& tensor, SiteRounding& rounding) {
      if (const auto format = trials[t].formats.find(tensor.gguf_name); format != trials[t].formats.end())
        rows[tensor.part] = &rounding.keep(0, format->second);
    };
    change(*embedding, embedding_rounding);
    for (std::size_t i = 0; i < lookups_.size(); ++i) change(*lookups_[i].tensor, lookup_roundings[i]);
    if (rows.empty()) continue;
    rows.emplace("embedding", &embedding_rows);
    embed(walk_, rows);
    states[t] = walk_.save();
  }
  if (visit) visit({embedding}, embedding_rounding);
  for (std::size_t i = 0; i < lookups_.size() && visit; ++i) visit({lookups_[i].tensor}, lookup_roundings[i]);
  embed(walk_, {{"embedding", &embedding_rows}});
  if (calibration_walk_ && !keeps_statistics_) embed(*calibration_walk_, {{"embedding", &embedding_rows}});
  WalkState original = walk_.save();

  for (std::int64_t i = 0; i < layers; ++i) {
    const LayerWeights layer(checkpoint_, tensors_, i, machine_.pool);
    if (!keeps_statistics_) {
      if (!calibration_walk_) walk_.restore(original);
      add_statistics(informed ? *calibration_walk_ : walk_, i, layer);
    }
    std::map<std::string, SiteRounding> rounding;
    const std::vector<Site>& sites = layer.drawing().sites;
    for (const Site& site : sites) {
      walk_.pack(site, layer);
      std::vector<MatrixOfSite> matrices;
      for (std::int64_t e = site.first_expert(); e < site.end_expert(); ++e)
        for (const std::string& part : site.parts_of(e))
          matrices.push_back({&layer.at(part), &statistics_.at({i, site.name, e})});
      rounding.emplace(site.name, SiteRounding(options_.method, matrices, machine_));
    }
    for (std::size_t t = 0; t < trials.size(); ++t) {
      if (!states[t] && !changes(trials[t], i)) continue;
      walk_.restore(states[t] ? *states[t] : original);
      pass(layer, i, trials[t], rounding);
      states[t] = walk_.save();
    }
    walk_.restore(original);
    pass(layer, i, {}, rounding);
    original = walk_.save();
    for (const Site& site : sites) {
      if (!visit) break;
      std::vector<const ModelTensor*> tensors;
      for (const std::string& part : site.parts) tensors.push_back(tensors_.part(part, i));
      visit(tensors, rounding.at(site.name));
    }
    if (!keeps_statistics_) std::erase_if(statistics_, [&](const auto& entry) { return entry.first.layer == i; });
    if (meter != nullptr) meter->advance(1, "layers");
  }

  const Matrix head_rows = head != nullptr ? matrix("head") : Matrix{};
  SiteRounding head_rounding(options_.method, {{&head_rows, &head_statistics_}}, machine_);
  if (visit && head != nullptr) visit({head}, head_rounding);
  const PackedLinear original_head = packed(head != nullptr ? head_rows : embedding_rows);
  std::vector<double> result;
  for (std::size_t t = 0; t < trials.size(); ++t) {
    walk_.restore(states[t] ? *states[t] : original);
    const auto format = trials[t].formats.find(head != nullptr ? head->gguf_name : embedding->gguf_name);
    if (format == trials[t].formats.end())
      result.push_back(divergence(original_head));
    else
      result.push_back(
          divergence(packed((head != nullptr ? head_rounding : embedding_rounding).keep(0, format->second))));
  }
  if (meter != nullptr) meter->advance(1, "head");
  return result;
}

}  // namespace nibble
