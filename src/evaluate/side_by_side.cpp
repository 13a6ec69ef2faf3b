// SPDX-License-Identifier: Apache-2.0
#include "evaluate/side_by_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>

#include "base/progress_meter.h"
#include "evaluate/scoring.h"
#include "kernels/log_probabilities.h"
#include "nibble/error.h"

namespace nibble {

namespace {

constexpr std::size_t kTop = 5;
using Top = std::array<std::uint32_t, kTop>;

std::span<const std::uint32_t> leading(const float* logits, std::size_t vocab, Isa isa, Top& top) {
  const std::span<std::uint32_t> best = std::span(top).first(std::min(kTop, vocab));
  greatest(logits, vocab, best, isa);
  return best;
}

void require_same_shape(const ModelConfig& original, const ModelConfig& candidate) {
  if (original.layers == candidate.layers && original.hidden == candidate.hidden) return;
  throw Error(ErrorKind::unsupported,
              fmt::format("models of different shape have no layers that could be compared; leave out the layers: "
                          "original {} of width {}, candidate "
                          "{} of width {}",
                          original.layers, original.hidden, candidate.layers, candidate.hidden));
}

void resize(CandidateSamples& samples, std::size_t tokens) {
  samples.kl.resize(tokens);
  samples.nll.resize(tokens);
  samples.same_top1.resize(tokens);
  samples.same_top5.resize(tokens);
  samples.right.resize(tokens);
}

}  // namespace

void require_same_vocabulary(std::uint64_t original, std::uint64_t candidate) {
  if (original != candidate)
    throw Error(ErrorKind::unsupported,
                fmt::format("models whose vocabularies differ in size (one may be padded) cannot be compared; make the "
                            "candidate from this very original: original {}, candidate {}",
                            original, candidate));
}

// What compares layers: the original's stream, and the candidates once more, held to it.
struct SideBySide::Watch {
  LayerWatch stream;
  std::vector<WindowScorer> held;
  std::vector<LayerSums> sums;  // of the window at work, for each candidate
  std::size_t at_once = 0;      // tokens
};

// Where a run is.
struct SideBySide::Place {
  const Windows* windows = nullptr;
  std::size_t window = 0;            // within its text
  std::size_t sample = 0;            // of the window's first scored token, through all texts
  std::size_t begin = 0, count = 0;  // predictions at work, within the window
  std::uint64_t vocab = 0;
  Isa isa = Isa::scalar;
  ThreadPool* pool = nullptr;
  WindowScorer* original = nullptr;
  std::span<WindowScorer> scorers;
  std::size_t first = 0;  // candidate
  std::size_t at_once = 0, layers = 0;
  std::vector<float> original_logits, candidate_logits;
  std::unique_ptr<Watch> watch;                            // none: layers are not compared
  std::size_t windows_before = 0;                          // through all texts
  bool splits = false;                                     // the window is one that splits the loss
  std::vector<std::optional<WindowScorer>> weights_alone;  // of each candidate; empty: nothing is split

  // Its place in this window, if the loss is split here.
  WindowScorer* alone(std::size_t candidate) {
    return splits && candidate < weights_alone.size() && weights_alone[candidate] ? &*weights_alone[candidate]
                                                                                  : nullptr;
  }

  StreamVisitor record() const { return watch ? watch->stream.record() : StreamVisitor{}; }
  StreamVisitor compare(std::size_t candidate) const {
    return watch ? watch->stream.compare(watch->sums[candidate]) : StreamVisitor{};
  }
};

SideBySide::SideBySide(std::vector<ReadText> texts, std::size_t num_candidates, std::size_t split_windows)
    : texts_(std::move(texts)),
      candidates_done_(num_candidates),
      candidates_(num_candidates),
      splits_(num_candidates, Split::none),
      weights_alone_(num_candidates) {
  std::size_t tokens = 0;
  for (const ReadText& text : texts_) {
    windows_planned_ += text.windows.count;
    tokens += text.windows.tokens_scored();
  }
  original_nll_.resize(tokens);
  original_right_.resize(tokens);
  for (CandidateSamples& samples : candidates_) resize(samples, tokens);
  split_windows_ = {std::min(split_windows, windows_planned_), windows_planned_};
}

void SideBySide::run(Decoder& original, std::span<Decoder* const> candidates, std::size_t first,
                     const EvaluateOptions& options, ThreadPool& pool) {
  for (const Decoder* candidate : candidates)
    require_same_vocabulary(original.config().vocab_size, candidate->config().vocab_size);
  const std::size_t context = texts_.front().windows.context;
  WindowScorer original_scorer(original, context);
  std::vector<WindowScorer> scorers;
  for (Decoder* const candidate : candidates) scorers.emplace_back(*candidate, context);
  Place place;
  place.vocab = original.config().vocab_size;
  place.isa = original.isa();
  place.pool = &pool;
  place.original = &original_scorer;
  place.scorers = scorers;
  place.first = first;
  place.layers = original.config().layers;
  place.at_once = predictions_at_once(place.vocab, texts_.front().windows);
  place.original_logits.resize(place.at_once * place.vocab);
  if (!scorers.empty()) place.candidate_logits.resize(place.at_once * place.vocab);
  if (options.layers && !candidates.empty()) {
    const std::size_t tokens = LayerWatch::tokens_at_once(original.config(), context);
    place.watch = std::make_unique<Watch>(Watch{LayerWatch(original.config(), tokens, pool), {}, {}, tokens});
    place.at_once = std::min(place.at_once, tokens);
    for (Decoder* const candidate : candidates) {
      require_same_shape(original.config(), candidate->config());
      place.watch->held.emplace_back(*candidate, context);
    }
  }
  for (std::size_t c = 0; c < candidates.size(); ++c) candidates_[first + c].layers.clear();
  prepare_split(place, options.weights_alone);

  std::size_t done = 0;
  ProgressMeter meter(options.progress, "evaluate", original_nll_.size());
  meter.report(0);
  for (const ReadText& text : texts_) {
    place.windows = &text.windows;
    for (place.window = 0; place.window < text.windows.count; ++place.window) {
      read_window(place);
      if (place.watch)
        for (std::size_t c = 0; c < candidates.size(); ++c)
          candidates_[first + c].layers.push_back(std::move(place.watch->sums[c]));
      place.windows_before = ++done;
      original_done_ = std::max(original_done_, done);
      for (std::size_t c = 0; c < candidates.size(); ++c) candidates_done_[first + c] = done;
      place.sample += scored_per_window();
      meter.report(place.sample, text.name);
    }
  }
}

void SideBySide::prepare_split(Place& place, std::span<Decoder* const> weights_alone) {
  if (split_windows_.count == 0) return;
  for (std::size_t c = 0; c < weights_alone.size(); ++c) {
    place.weights_alone.emplace_back();
    splits_[place.first + c] = weights_alone[c] == nullptr ? Split::same : Split::read;
    if (weights_alone[c] == nullptr) continue;
    place.weights_alone.back().emplace(*weights_alone[c], texts_.front().windows.context);
    resize(weights_alone_[place.first + c], split_windows_.count * scored_per_window());
  }
}

std::size_t SideBySide::windows_done(std::size_t num_candidates) const {
  std::size_t done = original_done_;
  for (std::size_t c = 0; c < num_candidates; ++c) done = std::min(done, candidates_done_[c]);
  return done;
}

void SideBySide::read_window(Place& place) {
  place.original->begin(*place.windows, place.window);
  for (WindowScorer& scorer : place.scorers) scorer.begin(*place.windows, place.window);
  place.splits = split_windows_.holds(place.windows_before);
  for (std::size_t c = 0; c < place.scorers.size(); ++c)
    if (WindowScorer* const alone = place.alone(c)) alone->begin(*place.windows, place.window);
  const std::size_t unscored = place.windows->first_scored - 1;
  std::size_t piece = unscored;
  if (place.watch) {
    for (WindowScorer& held : place.watch->held) held.begin(*place.windows, place.window);
    place.watch->sums.assign(place.scorers.size(), LayerSums(place.layers));
    piece = place.watch->at_once;
  }
  for (std::size_t begin = 0; begin < unscored; begin += piece) read_unscored(place, std::min(piece, unscored - begin));
  for (place.begin = 0; place.begin < scored_per_window(); place.begin += place.at_once) {
    place.count = std::min(place.at_once, scored_per_window() - place.begin);
    read_scored(place);
  }
}

void SideBySide::read_unscored(Place& place, std::size_t tokens) {
  place.original->skip(tokens, place.record());
  for (WindowScorer& scorer : place.scorers) scorer.skip(tokens);
  for (std::size_t c = 0; c < place.scorers.size(); ++c)
    if (WindowScorer* const alone = place.alone(c)) alone->skip(tokens);
  if (!place.watch) return;
  for (WindowScorer& held : place.watch->held) held.skip(tokens, place.watch->stream.hold());
}

void SideBySide::read_scored(Place& place) {
  const std::span<float> p = std::span(place.original_logits).first(place.count * place.vocab);
  place.original->next(place.count, p, place.record());
  if (place.scorers.empty()) score_alone(place, p);
  for (std::size_t c = 0; c < place.scorers.size(); ++c) {
    const std::span<float> q = std::span(place.candidate_logits).first(place.count * place.vocab);
    place.scorers[c].next(place.count, q, place.compare(c));
    score(place, p, q, place.sample, candidates_[place.first + c]);
    read_weights_alone(place, p, c);
    if (place.watch) place.watch->held[c].skip(place.count, place.watch->stream.hold(place.watch->sums[c]));
  }
}

void SideBySide::read_weights_alone(Place& place, std::span<const float> p, std::size_t candidate) {
  WindowScorer* const alone = place.alone(candidate);
  if (alone == nullptr) return;
  const std::span<float> q = std::span(place.candidate_logits).first(p.size());
  alone->next(place.count, q);
  score(place, p, q, split_windows_.before(place.windows_before) * scored_per_window(),
        weights_alone_[place.first + candidate]);
}

void SideBySide::score_alone(const Place& place, std::span<const float> p) {
  const auto targets =
      place.windows->window(place.window).subspan(place.windows->first_scored + place.begin, place.count);
  place.pool->parallel_for(place.count, 4, [&](std::size_t from, std::size_t to, std::size_t) {
    for (std::size_t i = from; i < to; ++i) {
      const float* const row = &p[i * place.vocab];
      const double nll = log_sum_exp(row, place.vocab, place.isa).log_sum -
                         static_cast<double>(row[static_cast<std::size_t>(targets[i])]);
      if (!std::isfinite(nll)) refuse_logits("model", place.window, place.windows->first_scored + place.begin + i);
      original_nll_[place.sample + place.begin + i] = nll;
    }
  });
}

void SideBySide::score(const Place& place, std::span<const float> p, std::span<const float> q, std::size_t sample,
                       CandidateSamples& samples) {
  const auto targets =
      place.windows->window(place.window).subspan(place.windows->first_scored + place.begin, place.count);
  place.pool->parallel_for(place.count, 4, [&](std::size_t from, std::size_t to, std::size_t) {
    for (std::size_t i = from; i < to; ++i) {
      const float* const row_p = &p[i * place.vocab];
      const float* const row_q = &q[i * place.vocab];
      const auto target = static_cast<std::uint32_t>(targets[i]);
      const LogitDivergence here = divergence_of_logits(row_p, row_q, place.vocab, place.isa);
      if (!std::isfinite(here.log_sum_p))
        refuse_logits("original", place.window, place.windows->first_scored + place.begin + i);
      if (!std::isfinite(here.kl) || !std::isfinite(here.log_sum_q))
        refuse_logits("candidate", place.window, place.windows->first_scored + place.begin + i);
      Top storage_p, storage_q;
      const auto top_p = leading(row_p, place.vocab, place.isa, storage_p),
                 top_q = leading(row_q, place.vocab, place.isa, storage_q);
      std::size_t shared = kTop - top_p.size();  // a vocabulary smaller than five agrees on the rest
      for (const std::uint32_t token : top_p)
        shared += std::find(top_q.begin(), top_q.end(), token) != top_q.end() ? 1u : 0u;
      const std::size_t at = sample + place.begin + i, original_at = place.sample + place.begin + i;
      original_nll_[original_at] = here.log_sum_p - static_cast<double>(row_p[target]);
      samples.kl[at] = here.kl;
      samples.nll[at] = here.log_sum_q - static_cast<double>(row_q[target]);
      samples.same_top1[at] = top_p[0] == top_q[0] ? 1 : 0;
      samples.same_top5[at] = static_cast<std::uint8_t>(shared);
      samples.right[at] = top_q[0] == target ? 1 : 0;
      original_right_[original_at] = top_p[0] == target ? 1 : 0;
    }
  });
}

}  // namespace nibble
