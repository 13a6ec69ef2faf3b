// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/quantize_model.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/memory.h"
#include "base/output_file.h"
#include "base/progress_meter.h"
#include "calibrate/layer_weights.h"
#include "io/onnx/onnx_package.h"
#include "nibble/error.h"
#include "pipeline/export/container.h"
#include "pipeline/export/manifest.h"
#include "pipeline/quantize/activation_plan.h"
#include "pipeline/quantize/band_writer.h"
#include "pipeline/quantize/folded_rotation.h"
#include "pipeline/quantize/no_checkpoint.h"
#include "pipeline/quantize/part_work.h"
#include "pipeline/quantize/planned_summary.h"
#include "pipeline/quantize/quantize_layers.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/ranks.h"
#include "pipeline/quantize/resume_key.h"
#include "pipeline/quantize/source_survey.h"
#include "pipeline/quantize/statistics_gaps.h"
#include "pipeline/quantize/temporary_directory.h"
#include "pipeline/quantize/tensor_output.h"
#include "pipeline/quantize/work_directory.h"
#include "quantize/method.h"
#include "quantize/transform/rotation.h"

namespace nibble {
namespace {

void refuse_to_overwrite_source(const Checkpoint& source, const std::filesystem::path& output) {
  std::error_code ignored;
  const auto same = [&](const std::filesystem::path& path) {
    return std::filesystem::equivalent(output, path, ignored);
  };
  bool overwrites = same(source.path());
  for (const StoredTensor& tensor : source.tensors()) {
    if (overwrites) break;
    overwrites =
        same(std::filesystem::path(source.path()).parent_path() / tensor.file) || same(source.path() / tensor.file);
  }
  if (overwrites)
    throw Error(ErrorKind::invalid_argument,
                "the output would take the place of the model that is read; choose another name: " + output.string());
}

void write_divisors(std::size_t index, const std::vector<float>& divisors, BandWriter& writer) {
  QuantizedTensor tensor(find_format("f32"), 1, divisors.size());
  std::memcpy(tensor.planes[0].data(), divisors.data(), divisors.size() * sizeof(float));
  writer.write(index, std::move(tensor));
}

std::uint64_t weight_file_bytes(const std::filesystem::path& output) {
  if (std::filesystem::is_regular_file(output)) return std::filesystem::file_size(output);
  std::uint64_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(output))
    if (is_weight_file(entry.path().filename().string())) total += entry.file_size();
  return total;
}

std::unique_ptr<CheckpointWriter> make_writer(const SourceModel& source, const QuantizePlan& plan,
                                              const std::filesystem::path& output, const StoredActivations& activations,
                                              const std::string& manifest) {
  return plan.container->make_writer({source, plan, activations, manifest, output_tensors(plan).planned}, output);
}

// What the container cannot hold of the source: notes, or with `strict` Error(unsupported).
void note_losses(const SourceModel& source, const QuantizeModelOptions& options, QuantizePlan& plan) {
  std::optional<ActivationFormat> activations;
  if (options.activations) activations = options.activations->format;
  for (std::string& note : plan.container->notes(source, plan, activations)) plan.notes.push_back(std::move(note));
  for (std::string& loss : plan.container->losses(source)) add_loss(std::move(loss), options.strict, plan.notes);
}

// One sentence for all of them: a model has as many as layers, or more.
void note_unlearnt(std::span<const std::string> lines, std::vector<std::string>& notes) {
  if (lines.size() == 1) notes.push_back("keeps what the method began with, and does not learn: " + lines.front());
  if (lines.size() > 1)
    notes.push_back(fmt::format("{} matrices keep what the method began with, and do not learn; the first, {}",
                                lines.size(), lines.front()));
}

void require_calibration(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  if (options.calibration.hessian.is_guided() && options.calibration.statistics != nullptr)
    throw Error(ErrorKind::invalid_argument,
                "statistics do not tell what the loss asks of each token; guided moments are those of a text", "texts");
  require_learnable(plan, options);
  if (options.calibration.statistics != nullptr || !options.calibration.texts.empty()) return;
  if (needs_calibration(plan, options))
    throw Error(ErrorKind::invalid_argument,
                "this method needs to know what the model's layers see; give it text or statistics", "calibration");
  if (options.activations && options.activations->format.is_static() && options.activations->grids == nullptr)
    throw Error(ErrorKind::invalid_argument,
                "static grids of activations come from what the model's layers see; give it text or statistics",
                "calibration");
}

// What the output says of where it came from, and the hash of the source's tensors.
struct Origin {
  std::string manifest, source_hash;
};

struct Written {
  std::map<std::size_t, OutputError>
      errors;  // what rounding took, by the tensor's place in the plan, where statistics told
  std::vector<std::string> warnings;
  std::vector<ExpertTokens> experts;
  std::vector<LearntLayer> learnt;
};

// How this process makes the output: all of it, or with others.
struct Sharing {
  PartSummary* part = nullptr;  // makes these pieces only, and says so here; null: an output
  bool assembles = false;       // makes no piece
  Transport* ranks = nullptr;   // who make it in step, of whom the first writes; null: none
  bool writes() const { return ranks == nullptr || ranks->is_root(); }
};

Written write_model(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options,
                    const Origin& origin, const Sharing& sharing, Machine& machine, const ProgressCallback& progress) {
  Written written;
  if (sharing.writes()) remove_abandoned_partials(options.output);
  const bool calibrated = needs_calibration(plan, options);
  ActivationPlan planned_activations = plan_activations(source, plan, options, machine, progress);
  written.warnings = std::move(planned_activations.warnings);
  const std::unique_ptr<CheckpointWriter> writer =
      sharing.writes() ? make_writer(source, plan, options.output, planned_activations.stored, origin.manifest)
                       : std::make_unique<NoCheckpoint>();
  std::uint64_t work_units = 0;
  for (const TensorPlan& tensor : plan.tensors)
    work_units += tensor.rows * tensor.cols * progress_weight(tensor.role, calibrated);
  work_units += learning_work(plan, options);
  ProgressMeter meter(progress, "quantize", work_units,
                      calibrated ? "quantize was cancelled; the same command goes on where it stopped"
                                 : "quantize was cancelled; nothing was written");
  auto watch = meter.watch(machine.pool);
  std::optional<WorkDirectory> work;
  if ((calibrated || sharing.assembles) && sharing.writes())
    work.emplace(unfinished_work(options.output), resume_key(options, plan.container->name(), origin.source_hash),
                 sharing.assembles ? WorkDirectory::Use::assembly : WorkDirectory::Use::alone);
  BandWriter bands(*writer, machine.pool.num_threads() > 1);
  TensorOutput output(plan, bands, meter,
                      {.work = work ? &*work : nullptr,
                       .keeps_rows_together = options.calibration.hessian.is_kl,
                       .transport = sharing.ranks},
                      machine);
  if (sharing.assembles) {
    require_pieces(*work, output);
    for (std::size_t i = 0; i < plan.tensors.size(); ++i) output.write_pieces(i);
    written.errors = output.errors();
    if (calibrated) {
      for (std::string& line : statistics_warnings(*options.calibration.statistics))
        written.warnings.push_back(std::move(line));
      if (options.calibration.statistics->length != 0) written.experts = expert_tokens(*options.calibration.statistics);
    }
  } else if (calibrated) {
    LayerQuantizer quantizer(source, plan, options, output, machine, progress, sharing.ranks);
    quantizer.run();
    written.errors = output.errors();
    written.learnt = output.learnt();
    written.experts = quantizer.experts();
    for (std::string& line : quantizer.warnings()) written.warnings.push_back(std::move(line));
  } else {
    meter.advance(0);
    for (std::size_t i = 0; i < plan.tensors.size(); ++i) write_alone(i, plan, options, source, output, machine);
  }
  const std::size_t num_weights = output_tensors(plan).planned.size() - plan.rope_tensors.size();
  for (std::size_t i = 0; i < plan.rope_tensors.size(); ++i)
    write_divisors(num_weights + i, plan.rope_tensors[i].values, bands);
  bands.finish();
  watch.reset();  // judges report for themselves
  source.require_unchanged();
  try {
    const OutputJudge judge = [&](const std::filesystem::path& unreleased) {
      require_readable(SourceModel::open(unreleased), plan, options.output.string());
      add_file_hashes(unreleased);
      if (options.judge) options.judge(unreleased);
    };
    writer->finish(options.sync, judge, &machine.pool);
  } catch (const std::exception&) {
    throw;  // what may end well the next time
  } catch (...) {
    // The judge's verdict, which the same command would come to again; what parts have made serves other judges.
    if (work && !sharing.assembles) work->remove();
    throw;
  }
  if (work) work->remove();
  return written;
}

std::filesystem::path beside(const std::filesystem::path& output, const std::string& ending) {
  return (output.has_filename() ? output : output.parent_path()).string() + ending;
}

// What lies beside the output while it is made: its own alone, for all of it is removed.
struct Removed {
  std::filesystem::path path;
  ~Removed() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

// Scales that are folded away change what the Linears read: weights come first, then what their Linears read is looked
// at and the tensors are copied. The weights lie beside the output meanwhile.
Written write_in_two_steps(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options,
                           const Origin& origin, Machine& machine, const ProgressCallback& progress) {
  if (options.calibration.texts.empty())
    throw Error(
        ErrorKind::invalid_argument,
        "this method changes what the Linears read, so statistics of the source do not tell their ranges; give it text",
        "texts");
  require_place(source, *plan.container, unfinished_weights(options.output));
  const Removed weights{unfinished_weights(options.output)};
  QuantizeModelOptions first = options;
  first.activations.reset();
  first.output = weights.path;
  first.judge = {};
  first.sync = false;
  Written written = write_model(source, plan, first, origin, {}, machine, progress);
  QuantizeModelOptions second;
  second.recipe = find_recipe(kSourceFormat);
  second.activations = options.activations;
  second.output = options.output;
  second.container = options.container;
  second.onnx = options.onnx;
  second.runtime = options.runtime;
  second.judge = options.judge;
  second.sync = options.sync;
  second.calibration = options.calibration;
  second.calibration.statistics = nullptr;
  const SourceModel made = SourceModel::open(weights.path);
  for (std::string& line :
       write_model(made, plan_quantization(made, second), second, origin, {}, machine, progress).warnings)
    if (std::ranges::find(written.warnings, line) == written.warnings.end())
      written.warnings.push_back(std::move(line));
  return written;
}

void set_output_bytes(QuantizeSummary& summary, std::uint64_t bytes) {
  summary.output_bytes = bytes;
  summary.bits_per_weight =
      summary.parameters == 0 ? 0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(summary.parameters);
}

// The size of what would be written, by beginning to write it where nothing stays. Grids of static activations are yet
// unknown.
std::uint64_t forecast(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options) {
  const TemporaryDirectory scratch({});
  StoredActivations activations;
  if (options.activations) activations.format = options.activations->format;
  const std::string manifest = make_manifest(source, plan, options, std::string(16, '0'));
  return make_writer(source, plan, scratch.path() / "forecast", activations, manifest)->planned_bytes();
}

}  // namespace

void require_place(const Checkpoint& source, const Container& container, const std::filesystem::path& output) {
  refuse_to_overwrite_source(source, output);
  require_directory_of(output);
  require_replaceable(container, output);
}

void choose_format(QuantizeModelOptions& options, std::string_view spelling) {
  const SpelledFormat spelled = split_format(spelling);
  options.recipe = find_recipe(spelled.weights);
  if (spelled.parts.size() > 1)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the inputs' format is given once: '{}' has {} parts", spelling, spelled.parts.size()));
  for (const std::string_view part : spelled.parts) {
    if (!options.activations) options.activations.emplace();
    options.activations->format = parse_activation_format(part);
  }
}

std::filesystem::path unfinished_work(const std::filesystem::path& output) { return beside(output, ".work"); }

std::filesystem::path unfinished_weights(const std::filesystem::path& output) {
  return beside(output, ".weights" + output.extension().string());
}

namespace {

// source_hash: what is said of where the output came from; empty: the source's own.
QuantizeSummary quantize_source(const SourceModel& source, const QuantizeModelOptions& options,
                                const std::string& source_hash, const Sharing& sharing, Machine& machine,
                                const ProgressCallback& progress) {
  QuantizePlan plan = plan_quantization(source, options);
  // What refuses without looking at a weight comes before what looks at all of them.
  if (!options.output.empty()) refuse_to_overwrite_source(source, options.output);
  if (!options.dry_run) {
    if (options.output.empty()) throw Error(ErrorKind::invalid_argument, "no output is named", "output");
    if (sharing.writes()) require_place(source, *plan.container, options.output);
    require_calibration(plan, options);
    if (sharing.part != nullptr || sharing.assembles) require_shareable(plan, options);
    if (is_shared(sharing.ranks)) require_work_for_ranks(plan, options);
    if (sharing.writes()) require_disk_space(options.output, tensor_bytes(plan));
  }
  if (!options.output.empty()) {
    plan.container->require_sound(source);
    note_losses(source, options, plan);
  }
  source.require_unchanged();
  const SourceSurvey survey =
      survey_source(source, {.hash = !options.dry_run, .peaks = peaks_to_find(plan)}, machine.pool);
  substitute_unheld(plan, source, survey, options, machine);
  require_containable(plan, options);
  std::vector<std::string> unlearnt = left_unlearnt(plan, options);
  note_unlearnt(unlearnt, plan.notes);
  QuantizeSummary summary = summarize(source, plan, options);
  summary.unlearnt = std::move(unlearnt);
  const StatisticsGaps gaps = find_gaps(plan, options);
  require_second_moments(gaps);
  if (options.strict) require_no_gaps(gaps);
  summary.warnings = describe_gaps(gaps);
  summary.uninformed = gaps.missing;
  for (const auto* const names : {&gaps.missing_head, &gaps.silent})
    summary.uninformed.insert(summary.uninformed.end(), names->begin(), names->end());
  if (options.dry_run) {
    set_output_bytes(summary, forecast(source, plan, options));
    return summary;
  }
  // What lies around the tensors is looked at only where it could decide.
  constexpr std::uint64_t kAround = std::uint64_t{256} << 20;
  if (sharing.writes())
    require_disk_space(options.output, free_disk_space(options.output) > summary.tensor_bytes + kAround
                                           ? summary.tensor_bytes
                                           : forecast(source, plan, options));
  summary.source_hash = source_hash.empty() ? survey.hash : source_hash;
  if (sharing.part != nullptr) {
    *sharing.part = write_part(sharing.part->part, source, plan, options, survey.hash, machine, progress);
    return summary;
  }
  const Origin origin{make_manifest(source, plan, options, summary.source_hash), survey.hash};
  if (is_shared(sharing.ranks)) {
    // Ranks of one mind alone begin.
    require_same_work(*sharing.ranks, resume_key(options, plan.container->name(), survey.hash), survey.hash);
  }
  Written written = fits_grids_afterwards(plan, options)
                        ? write_in_two_steps(source, plan, options, origin, machine, progress)
                        : write_model(source, plan, options, origin, sharing, machine, progress);
  for (const auto& [index, error] : written.errors) summary.tensors[index].error = error;
  summary.warnings.insert(summary.warnings.end(), written.warnings.begin(), written.warnings.end());
  summary.experts = std::move(written.experts);
  summary.learnt = std::move(written.learnt);
  if (!summary.learnt.empty() &&
      std::ranges::all_of(summary.learnt, [](const auto& one) { return one.kept_step == 0; }))
    summary.warnings.push_back(
        "no layer became better by learning, what it began with is kept: give more text or steps");
  if (sharing.ranks != nullptr) sharing.ranks->wait_for_all("the output, verified");
  set_output_bytes(summary, sharing.writes() ? weight_file_bytes(options.output) : 0);
  return summary;
}

// Notes on what stays as it is. Error(unsupported) where the stream is not rotated for good, and its
// sites would not be rotated while the model runs either.
std::vector<std::string> judge_folding(const FoldedRotation& rotation, const Transform& transform,
                                       const SourceModel& source) {
  const std::string& obstacle = rotation.stream_obstacle;
  const bool runs = rotation_of(source.config().hidden) != nullptr;
  if (!obstacle.empty() && !transform.runs())
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: the stream between the layers cannot be rotated for good, {}; {}",
                            source.path().string(), obstacle,
                            runs ? "hadamard:both rotates while the model runs where this is so, hadamard everywhere"
                                 : "nor can its readers' inputs while the model runs: leave the transform out"),
                "transform");
  std::vector<std::string> notes;
  if (!obstacle.empty())
    notes.push_back(fmt::format("the stream between the layers is not rotated for good, {}: {}",
                                runs ? "its readers' inputs are rotated while the model runs"
                                     : "nor are its readers' inputs while the model runs",
                                obstacle));
  if (!rotation.values_note.empty()) notes.push_back(rotation.values_note);
  if (obstacle.empty() && source.config().tied_embedding)
    notes.push_back("the embedding is no longer the head, which takes the last norm's weights: one matrix more");
  return notes;
}

// A directory that nobody else has, under a name by which remove_abandoned_partials knows it.
std::filesystem::path make_partial_directory(const std::filesystem::path& output) {
  const std::filesystem::path place = beside(output, fmt::format(".partial-{}-rotated", getpid()));
  std::error_code error;
  if (!std::filesystem::create_directory(place, error))
    throw Error(ErrorKind::io, fmt::format("cannot make a directory beside the output: {}: {}", place.string(),
                                           error ? error.message() : "it exists"));
  return place;
}

// The rotated model lies beside the output meanwhile.
QuantizeSummary quantize_rotated(const SourceModel& source, const QuantizeModelOptions& options,
                                 const Transform& transform, Machine& machine, const ProgressCallback& progress) {
  const QuantizePlan plan = plan_quantization(source, options);  // what is refused of the source itself
  const FoldedRotation rotation = fold_rotations(source.parts(), source.config().tied_embedding);
  const std::vector<std::string> notes = judge_folding(rotation, transform, source);
  if (options.calibration.statistics != nullptr)
    throw Error(ErrorKind::invalid_argument,
                "statistics tell what layers read before they are rotated; this transform asks for text", "texts");
  QuantizeSummary summary;
  if (options.dry_run || rotation.is_empty()) {
    summary = quantize_source(source, options, {}, {}, machine, progress);
  } else {
    if (options.output.empty()) throw Error(ErrorKind::invalid_argument, "no output is named", "output");
    require_place(source, *plan.container, options.output);
    require_rotation_memory(source, available_memory());
    remove_abandoned_partials(options.output);
    std::uint64_t numbers = 0;
    for (const TensorPlan& tensor : plan.tensors) numbers += tensor.rows * tensor.cols;
    require_disk_space(options.output, numbers * sizeof(float));
    const Removed rotated{make_partial_directory(options.output)};
    write_rotated_model(source, rotation, rotated.path, machine, progress);
    const std::string hash = survey_source(source, {.hash = true, .peaks = {}}, machine.pool).hash;
    summary = quantize_source(SourceModel::open(rotated.path), options, hash, {}, machine, progress);
    summary.source_bytes = source.file_bytes();
  }
  summary.notes.insert(summary.notes.end(), notes.begin(), notes.end());
  return summary;
}

}  // namespace

QuantizeSummary quantize_model(const SourceModel& source, const QuantizeModelOptions& options, Machine& machine,
                               const ProgressCallback& progress) {
  if (!options.transform.empty())
    if (const Transform transform = find_transform(options.transform); transform.folds())
      return quantize_rotated(source, options, transform, machine, progress);
  return quantize_source(source, options, {}, {}, machine, progress);
}

PartSummary quantize_part(const SourceModel& source, const QuantizeModelOptions& options, const JobPart& part,
                          Machine& machine, const ProgressCallback& progress) {
  PartSummary done{.part = part};
  quantize_source(source, options, {}, {.part = &done}, machine, progress);
  return done;
}

QuantizeSummary quantize_in_ranks(const SourceModel& source, const QuantizeModelOptions& options, Transport& ranks,
                                  Machine& machine, const ProgressCallback& progress) {
  return quantize_source(source, options, {}, {.ranks = &ranks}, machine, progress);
}

QuantizeSummary assemble_parts(const SourceModel& source, const QuantizeModelOptions& options, Machine& machine,
                               const ProgressCallback& progress) {
  return quantize_source(source, options, {}, {.assembles = true}, machine, progress);
}

std::uint64_t container_bytes(const SourceModel& source, const QuantizeModelOptions& options) {
  const QuantizePlan plan = plan_quantization(source, options);
  constexpr std::uint64_t kActivations = 128;
  const std::uint64_t margin = plan.container->margin() + (options.activations ? kActivations : 0);
  return forecast(source, plan, options) - tensor_bytes(plan) + plan.tensors.size() * margin;
}

}  // namespace nibble
