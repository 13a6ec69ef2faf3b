// SPDX-License-Identifier: Apache-2.0
#include "pipeline/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/progress_meter.h"
#include "calibrate/layer_walk.h"
#include "calibrate/site_accumulator.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kSampledRows = 256;  // of a matrix, for the ratio of errors

Matrix rounded(const Matrix& matrix, const FormatPtr& format, std::span<const float> importance, ThreadPool& pool) {
  Matrix result{matrix.rows, matrix.cols, std::vector<float>(matrix.values.size())};
  pool.parallel_for(matrix.rows, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
    QuantizedTensor row(format, 1, matrix.cols);
    for (std::size_t i = begin; i < end; ++i) {
      for (auto& plane : row.planes) std::ranges::fill(plane, std::byte{0});
      format->encode_row(std::span(matrix.values).subspan(i * matrix.cols, matrix.cols), importance, nullptr, i, {}, row.row(0));
      format->decode_row(row.view().row(0), nullptr, i, std::span(result.values).subspan(i * matrix.cols, matrix.cols));
    }
  });
  return result;
}

// Squared error of rows spread evenly, each column weighted.
double weighted_error(const Matrix& matrix, const FormatPtr& format, std::span<const float> weights, ThreadPool& pool) {
  const std::uint64_t step = std::max<std::uint64_t>(1, matrix.rows / kSampledRows), count = matrix.rows / step;
  Matrix sample{count, matrix.cols, {}};
  for (std::uint64_t i = 0; i < count; ++i)
    sample.values.insert(sample.values.end(), matrix.values.begin() + static_cast<std::ptrdiff_t>(i * step * matrix.cols),
                         matrix.values.begin() + static_cast<std::ptrdiff_t>((i * step + 1) * matrix.cols));
  const Matrix stored = rounded(sample, format, weights, pool);
  double total = 0;
  for (std::size_t i = 0; i < sample.values.size(); ++i) {
    const double error = static_cast<double>(sample.values[i]) - static_cast<double>(stored.values[i]);
    total += error * error * static_cast<double>(weights[i % matrix.cols]);
  }
  return total * static_cast<double>(step);
}

class Prober {
 public:
  Prober(const Checkpoint& checkpoint, const CalibrationTokens& tokens, const SensitivityOptions& options, ThreadPool& pool)
      : checkpoint_(checkpoint),
        tokens_(tokens),
        options_(options),
        pool_(pool),
        config_(read_model_config(checkpoint)),
        tensors_(config_),
        spelling_(spelling_of(checkpoint)),
        walk_(config_, tokens, {.kernels = options.kernels, .spill_directory = options.spill_directory}, pool) {}

  Sensitivities run();

 private:
  Matrix matrix(std::string_view part, std::int64_t layer) const {
    return decode_matrix(checkpoint_.tensor(tensors_.part(part, layer)->name(spelling_)), pool_);
  }
  void embed(const Matrix& rows) {
    walk_.embed([&](std::int32_t id, float* out) { std::copy_n(&rows.values[static_cast<std::size_t>(id) * rows.cols], rows.cols, out); });
  }
  void pass(const LayerWeights& layer) {
    for (const Step step : kSteps) {
      walk_.pack(step, layer);
      walk_.leave(step, layer);
    }
  }
  // From the hidden states before layer `first` to the logits of all windows.
  void finish(std::int64_t first) {
    for (std::int64_t i = first; i < static_cast<std::int64_t>(config_.layers); ++i) pass(LayerWeights(checkpoint_, tensors_, i, pool_));
  }
  double divergence(const Matrix& head);
  void walk_original();
  void add(const std::string& name, const std::vector<const ModelTensor*>& tensors, const std::vector<std::span<const float>>& weights,
           double probe_loss);
  void probe_layer(std::int64_t index);
  void probe_ends();

  const Checkpoint& checkpoint_;
  const CalibrationTokens& tokens_;
  const SensitivityOptions& options_;
  ThreadPool& pool_;
  ModelConfig config_;
  ModelTensors tensors_;
  Spelling spelling_;
  LayerWalk walk_;
  KernelScratch scratch_;
  std::vector<SpillableBytes> before_;  // hidden states before each layer
  std::map<std::pair<std::int64_t, Step>, std::vector<float>> mean_squares_;
  std::vector<float> head_squares_, embedding_ones_;
  std::vector<float> reference_;  // log probabilities of the scored positions
  Matrix final_norm_;
  Sensitivities result_;
};

// KL(original || now), mean over the second half of every window; the first call takes the original's own.
double Prober::divergence(const Matrix& head) {
  const std::size_t length = tokens_.length, vocab = config_.vocab_size, first = length / 2, scored = length - first;
  const QuantizedView view = make_view(find_raw_format(DType::f32), head.rows, head.cols, {std::as_bytes(std::span(head.values))}, "head");
  KernelOptions kernels = options_.kernels;
  kernels.activations = ActivationMode::f32;
  const PackedLinear packed = PackedLinear::pack(view, kernels, pool_);
  const bool is_reference = reference_.empty();
  if (is_reference) reference_.resize(walk_.windows() * scored * vocab);
  std::vector<float> logits(scored * vocab);
  double total = 0;
  for (std::size_t window = 0; window < walk_.windows(); ++window) {
    packed.multiply(walk_.head_inputs(final_norm_.values, window).data() + first * config_.hidden, scored, logits.data(), pool_, scratch_);
    std::vector<double> kl(scored);
    pool_.parallel_for(scored, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t) {
        float* const q = &logits[t * vocab];
        float* const p = &reference_[(window * scored + t) * vocab];
        const double maximum = static_cast<double>(*std::max_element(q, q + vocab));
        double sum = 0;
        for (std::size_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(q[v]) - maximum);
        const double log_sum = maximum + std::log(sum);
        for (std::size_t v = 0; v < vocab; ++v) {
          const double log_q = static_cast<double>(q[v]) - log_sum;
          if (is_reference)
            p[v] = static_cast<float>(log_q);
          else
            kl[t] += std::exp(static_cast<double>(p[v])) * (static_cast<double>(p[v]) - log_q);
        }
      }
    });
    for (const double value : kl) total += value;
  }
  return total / static_cast<double>(walk_.windows() * scored);
}

void Prober::walk_original() {
  const Matrix embedding = matrix("embedding", -1);
  final_norm_ = matrix("final_norm", -1);
  embed(embedding);
  const auto squares = [&](std::int64_t layer, std::string_view site, std::size_t width, const auto& inputs) {
    SiteAccumulator sums(layer, site, width, {.distribution = false}, pool_, options_.kernels.isa);
    for (std::size_t window = 0; window < walk_.windows(); ++window) sums.add(inputs(window).data(), walk_.length());
    return sums.finish().mean_square;
  };
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(config_.layers); ++i) {
    before_.push_back(walk_.save());
    const LayerWeights layer(checkpoint_, tensors_, i, pool_);
    for (const Step step : kSteps) {
      walk_.pack(step, layer);
      mean_squares_[{i, step}] = squares(i, site_of(step), walk_.width_of(step), [&](std::size_t window) { return walk_.inputs(step, layer, window); });
      walk_.leave(step, layer);
    }
  }
  head_squares_ = squares(-1, kHeadSite, config_.hidden, [&](std::size_t window) { return walk_.head_inputs(final_norm_.values, window); });
  embedding_ones_.assign(config_.hidden, 1.0F);
  divergence(config_.tied_embedding ? embedding : matrix("head", -1));
}

void Prober::add(const std::string& name, const std::vector<const ModelTensor*>& tensors, const std::vector<std::span<const float>>& weights,
                 double probe_loss) {
  BudgetItem item{name, {}, {}};
  const auto usable = [&](const std::string& format, const ModelTensor& tensor) { return fallback_format(find_format(format), tensor.shape.back()); };
  double probe_error = 0;
  std::vector<Matrix> matrices;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    item.tensors.push_back(tensors[i]->gguf_name);
    matrices.push_back(decode_matrix(checkpoint_.tensor(tensors[i]->name(spelling_)), pool_));
    probe_error += weighted_error(matrices[i], usable(options_.probe, *tensors[i]), weights[i], pool_);
  }
  for (const std::string& format : options_.formats) {
    BudgetCandidate candidate{format, 0, 0};
    double error = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const FormatPtr stored = usable(format, *tensors[i]);
      for (const PlaneSpec& plane : stored->planes(matrices[i].rows, matrices[i].cols)) candidate.bytes += plane.bytes;
      error += weighted_error(matrices[i], stored, weights[i], pool_);
    }
    candidate.loss = probe_error > 0 ? probe_loss * error / probe_error : 0;
    item.candidates.push_back(candidate);
  }
  result_.items.push_back(std::move(item));
}

void Prober::probe_layer(std::int64_t index) {
  const LayerWeights original(checkpoint_, tensors_, index, pool_);
  const Matrix head = matrix(config_.tied_embedding ? "embedding" : "head", -1);
  for (const Step step : kSteps) {
    LayerWeights changed = original;
    const std::vector<float>& weights = mean_squares_[{index, step}];
    std::string name = "layer " + std::to_string(index) + ",";
    std::vector<const ModelTensor*> tensors;
    for (const std::string_view part : parts_of(step)) {
      Matrix& m = changed.at(part);
      m = rounded(m, fallback_format(find_format(options_.probe), m.cols), weights, pool_);
      tensors.push_back(tensors_.part(part, index));
      name += " " + std::string(part);
    }
    walk_.restore(before_[static_cast<std::size_t>(index)]);
    pass(changed);
    finish(index + 1);
    add(name, tensors, std::vector<std::span<const float>>(tensors.size(), weights), divergence(head));
  }
}

void Prober::probe_ends() {
  const ModelTensor* const embedding = tensors_.part("embedding", -1);
  const ModelTensor* const head = tensors_.part("head", -1);
  const Matrix rows = matrix("embedding", -1);
  const Matrix changed =
      rounded(rows, fallback_format(find_format(options_.probe), rows.cols), config_.tied_embedding ? head_squares_ : embedding_ones_, pool_);
  embed(changed);
  finish(0);
  if (head == nullptr) {
    add("embedding and head", {embedding}, {head_squares_}, divergence(changed));
    return;
  }
  const Matrix head_rows = matrix("head", -1);
  add("embedding", {embedding}, {embedding_ones_}, divergence(head_rows));
  embed(rows);
  finish(0);
  const FormatPtr probe = fallback_format(find_format(options_.probe), head_rows.cols);
  add("head", {head}, {head_squares_}, divergence(rounded(head_rows, probe, head_squares_, pool_)));
}

Sensitivities Prober::run() {
  ProgressMeter meter(options_.progress, "sensitivity", config_.layers + 2);
  walk_original();
  meter.advance(1, "original");
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(config_.layers); ++i) {
    probe_layer(i);
    meter.advance(1, "layers");
  }
  probe_ends();
  meter.advance(1, "embedding");
  for (const ModelTensor& tensor : tensors_.all()) {
    std::uint64_t elements = 1;
    for (const std::uint64_t extent : tensor.shape) elements *= extent;
    result_.parameters += elements;
    if (tensor.role == TensorRole::norm || tensor.role == TensorRole::bias) result_.fixed_bytes += elements * sizeof(float);
  }
  return std::move(result_);
}

}  // namespace

Sensitivities measure_sensitivities(const Checkpoint& checkpoint, const CalibrationTokens& tokens, const SensitivityOptions& options,
                                    ThreadPool& pool) {
  return Prober(checkpoint, tokens, options, pool).run();
}

Sensitivities measure_sensitivities(const Checkpoint& checkpoint, std::span<const CalibrationText> texts, const SensitivityOptions& options,
                                    ThreadPool& pool) {
  if (texts.empty()) throw Error(ErrorKind::invalid_argument, "what each tensor costs is measured on text; add --text FILE");
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
  return measure_sensitivities(checkpoint, choose_windows(texts, tokenizer, options.sampling, read_model_config(checkpoint).context), options, pool);
}

SolvedRecipe solve_recipe(const Sensitivities& sensitivities, const Budget& budget) {
  const auto bits = [&](std::uint64_t bytes) { return 8.0 * static_cast<double>(bytes) / static_cast<double>(sensitivities.parameters); };
  std::uint64_t least = sensitivities.fixed_bytes;
  double best = 0;
  for (const BudgetItem& item : sensitivities.items) {
    least += std::ranges::min_element(item.candidates, {}, &BudgetCandidate::bytes)->bytes;
    best += std::ranges::min_element(item.candidates, {}, &BudgetCandidate::loss)->loss;
  }
  std::vector<std::size_t> choice;
  if (budget.max_kl) {
    choice = solve_loss(sensitivities.items, *budget.max_kl);
    if (choice.empty())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("no mix of these formats loses so little; the least is {:.5f} nats, asked for {:.5f}", best, *budget.max_kl));
  } else {
    const double wanted =
        budget.bytes ? static_cast<double>(*budget.bytes) : budget.bits_per_weight.value_or(0) * static_cast<double>(sensitivities.parameters) / 8;
    const auto bytes = static_cast<std::uint64_t>(std::max(0.0, wanted));
    if (bytes > sensitivities.fixed_bytes) choice = solve_budget(sensitivities.items, bytes - sensitivities.fixed_bytes);
    if (choice.empty())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("no mix of these formats is so small; the smallest takes {} bytes, {:.3f} bits per weight, "
                              "asked for {} bytes",
                              least, bits(least), bytes));
  }
  SolvedRecipe solved;
  solved.bytes = sensitivities.fixed_bytes + bytes_of(sensitivities.items, choice);
  solved.bits_per_weight = bits(solved.bytes);
  solved.expected_kl = loss_of(sensitivities.items, choice);
  solved.recipe.name = fmt::format("solved-{:.2f}", solved.bits_per_weight);
  solved.recipe.description =
      fmt::format("solved for {:.3f} bits per weight, expected divergence {:.5f} nats", solved.bits_per_weight, solved.expected_kl);
  std::map<std::string, std::uint64_t> bytes_by_format;
  for (std::size_t i = 0; i < choice.size(); ++i) {
    const BudgetItem& item = sensitivities.items[i];
    const BudgetCandidate& chosen = item.candidates[choice[i]];
    bytes_by_format[chosen.format] += chosen.bytes;
    for (const std::string& tensor : item.tensors) solved.recipe.rules.push_back({tensor, {}, chosen.format, {}});
  }
  solved.recipe.main_format = std::ranges::max_element(bytes_by_format, {}, [](const auto& entry) { return entry.second; })->first;
  solved.recipe.rules.push_back({"*", {}, solved.recipe.main_format, {}});
  return solved;
}

}  // namespace nibble
