// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/train_net.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <map>

#include "base/elapsed.h"
#include "base/progress_meter.h"
#include "base/random.h"
#include "net/simplify.h"
#include "nibble/error.h"
#include "nibble/model.h"
#include "pipeline/net/net_samples.h"
#include "pipeline/train/resumable_run.h"
#include "train/net/net_preparation.h"

namespace nibble {
namespace {

struct Examples {
  std::vector<NetSample> samples;
  std::vector<std::int64_t> labels;

  NetExamples view() const { return {samples, labels}; }
};

// Those that judge are drawn at random: files are often sorted by class.
void split(std::vector<NetSample> samples, const std::vector<std::int64_t>& labels, double held_out, Examples& training,
           Examples& judging) {
  std::size_t wanted = static_cast<std::size_t>(held_out * static_cast<double>(samples.size()));
  Random random(1);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const bool judges = random.below(samples.size() - i) < wanted;
    if (judges) --wanted;
    Examples& to = judges ? judging : training;
    to.samples.push_back(std::move(samples[i]));
    if (!labels.empty()) to.labels.push_back(labels[i]);
  }
}

struct KnownFormat {
  std::string_view name, format;
};
constexpr KnownFormat kFormats[] = {{"int8", "int8:row"},
                                    {"int4", "int4:row"},
                                    {"int2", "int2:row:half"},
                                    {"ternary", "ternary:row"},
                                    {"binary", "binary:row"}};

std::string format_of(const std::string& name) {
  for (const KnownFormat& known : kFormats)
    if (name == known.name || name == std::string(known.name) + ":row") return std::string(known.format);
  throw Error(
      ErrorKind::invalid_argument,
      fmt::format("weights of nets are trained as int8, int4, int2, ternary or binary numbers, by row: {}", name),
      "quantize");
}

std::string ends_of(const TrainNetRequest& request) {
  if (!request.ends.empty()) return request.ends;
  const bool is_coarse = request.quantize != "int8" && request.quantize != "int4";
  return is_coarse ? "int8" : request.quantize;
}

// By part, and told in the summary.
std::map<std::string, FormatPtr> choose_formats(const TrainNetRequest& request,
                                                const std::vector<TrainedProduct>& products,
                                                const std::vector<bool>& reads_signs, TrainNetSummary& summary) {
  std::map<std::string, FormatPtr> formats;
  for (std::size_t i = 0; i < products.size() && !request.quantize.empty(); ++i) {
    const bool is_end = i == 0 || i + 1 == products.size();
    const std::string format = is_end ? ends_of(request) : request.quantize;
    formats.emplace(products[i].part, find_format(format_of(format)));
    summary.parts.push_back({products[i].name, format, products[i].numbers, reads_signs[i]});
  }
  const bool rounds = std::ranges::any_of(
      summary.parts, [&](const auto& part) { return format_of(part.format) == format_of(request.quantize); });
  if (!request.quantize.empty() && !rounds && request.note)
    request.note(fmt::format("{}: no weights become {}: {}", request.net.string(), request.quantize,
                             products.empty() ? "it has no matrices or convolutions that are rounded in training"
                                              : "the first and the last product alone have any, and keep more bits"));
  return formats;
}

// Before anything is learnt: that what comes of it has words in every output.
void require_outputs(const TrainNetRequest& request, const Net& net, const TrainNetSummary& summary) {
  Net finished = net;  // as it will be, but for its numbers
  simplify(finished);
  for (const NetOutput& output : request.outputs) {
    require_writable(finished, output);
    if (output.container == NetContainer::onnx) continue;
    for (const TrainNetSummary::RoundedPart& part : summary.parts)
      if (format_of(part.format) != format_of("int8"))
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("{} holds weights in codes of 8 bits: train them as int8, or write {} as ONNX",
                                output.container == NetContainer::c ? "C" : "TensorFlow Lite", part.format),
                    "container");
    if (output.container == NetContainer::c && !summary.parts.empty() && request.note)
      request.note("in C weights that floats are multiplied with stand as the f32 numbers that their codes are");
  }
}

void tell_of_beginning(const TrainNetRequest& request, const NetTrainer& trainer) {
  const std::optional<NetJudgement> kept = trainer.best(), learnt = trainer.best_learnt();
  if (!request.note || !kept || !learnt) return;
  const NetJudgement& beginning = trainer.judgements().front();
  if (!beginning.is_better_than(*learnt)) return;
  request.note(fmt::format(
      "no pass decided better on held-out examples than what the run began with: {} of {} right (loss {:.4f}) before, "
      "{} (loss {:.4f}) behind pass {}, the best; {}; a lower rate, or more examples, may bring more",
      beginning.right, beginning.examples, beginning.loss, learnt->right, learnt->loss, learnt->epoch,
      kept->epoch == 0 ? "what it began with is written" : "that pass is written, since it began at random"));
}

const Estimator* estimator_of(const TrainNetRequest& request, const Format& format) {
  const CodePoints points = code_points(format);
  if (!request.estimator.empty()) {
    const Estimator& asked = find_estimator(request.estimator);
    if (asked.refusal(points).empty()) return &asked;
  }
  return points.is_binary() ? &bwn_estimator() : points.is_ternary() ? &twn_estimator() : &default_estimator(points);
}

std::string hash_of(const Net& net, const Examples& training) {
  XXH3_state_t* const state = XXH3_createState();
  XXH3_64bits_reset(state);
  const auto add = [&](std::span<const float> numbers) {
    XXH3_64bits_update(state, numbers.data(), numbers.size_bytes());
  };
  for (const auto& [part, numbers] : net.weights) add(numbers);
  for (const NetSample& sample : training.samples)
    for (const std::vector<float>& input : sample) add(input);
  XXH3_64bits_update(state, training.labels.data(), training.labels.size() * sizeof(std::int64_t));
  const std::uint64_t hash = XXH3_64bits_digest(state);
  XXH3_freeState(state);
  return fmt::format("{:016x}", hash);
}

Net open_plain(const std::filesystem::path& path, NetOptions options) {
  options.simplifies = false;
  return open_net(path, options);
}

}  // namespace

TrainNetSummary train_net(const TrainNetRequest& request, Machine& machine) {
  const auto start = std::chrono::steady_clock::now();
  TrainNetSummary summary;
  const Net original = open_plain(request.net, request.options);
  Net net = original;
  // Norms learn where they are trained from nothing; else they are part of the weights behind them.
  if (request.is_anew) {
    fold_numbers(net);
    find_activations(net);
    find_layer_norms(net);
    draw_weights(net, request.settings.seed);
  } else {
    simplify(net);
  }
  const std::vector<TrainedProduct> products = products_of(net);
  if (products.empty() && !request.quantize.empty())
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: has neither convolutions nor matrices of weights that could be rounded while they "
                            "learn; train it without",
                            request.net.string()),
                "quantize");
  std::vector<bool> reads_signs(products.size(), false);
  for (std::size_t i = 1; i + 1 < products.size() && request.takes_signs; ++i)
    reads_signs[i] = put_signs_before(net, products[i].part);
  const std::map<std::string, FormatPtr> formats = choose_formats(request, products, reads_signs, summary);
  require_outputs(request, net, summary);

  std::vector<NetSample> samples = read_samples(net, request.data.samples, std::numeric_limits<std::size_t>::max());
  const std::vector<std::int64_t> labels =
      request.data.labels.empty() ? std::vector<std::int64_t>{} : read_labels(request.data.labels, net, samples.size());
  Examples training, judging;
  split(std::move(samples), labels, request.held_out, training, judging);
  summary.examples = training.samples.size();
  summary.held_out = judging.samples.size();
  summary.source_bytes = std::filesystem::file_size(request.net);
  const std::string hash = hash_of(net, training);

  NetworkWeights weights(weights_of(net));
  weights.train(is_learnt);
  for (const NetworkWeight& weight : weights.all()) summary.parameters += weight.values.values.size();
  std::vector<RoundedWeights> rounded;  // by estimator, since one object has one
  std::map<const Estimator*, std::map<std::string, FormatPtr>> by_estimator;
  for (const auto& [part, format] : formats) by_estimator[estimator_of(request, *format)].emplace(part, format);
  for (const auto& [estimator, some] : by_estimator) rounded.emplace_back(weights, some, estimator, machine.pool);

  const bool has_teacher = !request.teacher.empty() || labels.empty();
  std::optional<Net> taught;
  std::optional<NetworkWeights> teacher_weights;
  std::optional<NetTape> teacher;
  if (has_teacher) {
    taught = request.teacher.empty() ? original : open_plain(request.teacher, request.options);
    simplify(*taught);
    teacher_weights.emplace(weights_of(*taught));
    teacher.emplace(*taught, *teacher_weights, machine);
  }
  NetTrainerSettings settings = request.settings;
  settings.keeps_beginning = !request.is_anew;
  NetTrainer trainer(
      net, weights, {training.view(), judging.view()}, settings, machine,
      {.teacher = teacher ? &*teacher : nullptr, .taught = taught ? &*taught : nullptr, .rounded = rounded});

  const std::map<std::string, std::string> identity = {{"net and examples", hash},
                                                       {"quantize", request.quantize},
                                                       {"ends", request.quantize.empty() ? "" : ends_of(request)},
                                                       {"signs", request.takes_signs ? "yes" : "no"},
                                                       {"estimator", request.estimator},
                                                       {"version", std::string(version())}};
  const ResumableRun run{training_state_path(request.outputs.front().path), identity, request.save_every};
  summary.resumed_at = run.take_up(trainer, request.note);
  ProgressMeter meter(request.progress, "train", trainer.steps(),
                      "training was cancelled; the same command goes on where it stopped");
  const auto tell = [&](double loss) {
    const auto& seen = trainer.judgements();
    return fmt::format("loss {:.3f}{}", loss,
                       seen.empty() ? "" : fmt::format(", held-out {:.2f} %", 100 * seen.back().share()));
  };
  run.finish(trainer, meter, machine.pool, tell, [&] { trainer.keep_best(); });
  summary.steps = trainer.steps_done();
  summary.losses = trainer.losses();
  summary.judgements = trainer.judgements();
  summary.kept = trainer.best();
  tell_of_beginning(request, trainer);

  put_weights(weights, net);
  const NetCodes codes = take_codes(net, rounded, machine.pool);
  if (!judging.samples.empty()) summary.written = judge_net(net, original, judging.samples, judging.labels, machine);
  constexpr double kOfSums = 1e-6;  // noise of sums in another order
  std::vector<WrittenNet> written;
  for (const NetOutput& output : request.outputs) {
    written.push_back(spell_net(net, codes, output));
    require_same_when_read(written.back(), net, training.samples.front(), kOfSums, machine);
    summary.files.push_back({output, written.back().bytes()});
  }
  for (const WrittenNet& one : written) commit(one);
  std::filesystem::remove(run.state);
  summary.seconds = seconds_since(start);
  return summary;
}

}  // namespace nibble
