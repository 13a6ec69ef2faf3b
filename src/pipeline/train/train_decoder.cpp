// SPDX-License-Identifier: Apache-2.0
#include "pipeline/train/train_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "base/output_file.h"
#include "base/progress_meter.h"
#include "io/checkpoint_writer.h"
#include "model/stored_activations.h"
#include "nibble/error.h"
#include "nibble/model.h"
#include "pipeline/export/directory_container.h"
#include "pipeline/export/manifest.h"
#include "pipeline/export/model_card.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/train/fitting_batch.h"
#include "pipeline/train/resumable_run.h"
#include "pipeline/train/training_sources.h"
#include "quantize/recipe.h"
#include "train/rounded_weights.h"

namespace nibble {
namespace {

constexpr std::uint64_t kStateNumbers = 4;  // of a parameter, at most: itself, two that are remembered, the best so far

// Of a weight that is rounded, more than of another: itself beside its master, and a share of its grid.
constexpr std::uint64_t kRoundedBytes = 5;

// Judged before any of it is taken.
void require_memory(const TrainingSources& sources, const TrainRequest& request,
                    const std::map<std::string, FormatPtr>& rounded, std::uint64_t parameters, Machine& machine) {
  std::uint64_t of_weights = Trainer::weight_bytes(sources.tensors().all(), request.settings);
  const SourceModel* const teacher = sources.teacher();
  const auto of_batches = [&](const BatchSettings& batch) {
    TrainerSettings settings = request.settings;
    settings.batch = batch;
    return Trainer::batch_bytes(sources.tensors().network(), settings, machine) +
           (teacher == nullptr ? 0 : Trainer::batch_bytes(teacher->parts().network(), settings, machine));
  };
  for (const ModelTensor& tensor : sources.tensors().all())
    if (rounded.contains(tensor.hf_name)) of_weights += kRoundedBytes * checked_elements(tensor.shape, tensor.hf_name);
  std::string of_teacher;
  if (teacher != nullptr) {
    std::uint64_t bytes = 0;
    for (const ModelTensor& tensor : teacher->parts().all())
      bytes += checked_elements(tensor.shape, tensor.hf_name) * sizeof(float);
    of_weights += bytes;
    of_teacher = fmt::format(" and {} for the teacher's weights", memory_text(bytes));
  }
  const std::uint64_t needed = of_weights + of_batches(request.settings.batch), there = available_memory();
  const std::string numbers = fmt::format(
      "{}, {} of them for {} parameters, their gradients and what the optimizer remembers{}, the rest for a batch of "
      "{} rows of {} tokens; {} are free",
      memory_text(needed), memory_text(of_weights), parameters, of_teacher, request.settings.batch.size,
      request.settings.batch.length, memory_text(there));
  const auto bytes = [&](const BatchSettings& batch) { return of_weights + of_batches(batch); };
  require_batch_memory(request.settings.batch, there, bytes, numbers);
  if (request.note) request.note("training takes " + numbers);
}

// What a file cannot hold.
void require_storable(const ModelTensors& tensors, const NetworkWeights& weights) {
  for (std::size_t i = 0; i < tensors.all().size(); ++i) {
    const StoredNumbers numbers = tensors.all()[i].numbers(Spelling::huggingface);
    for (const float value : weights.all()[i].values.values)
      if (!std::isfinite(numbers.write(value)))
        throw Error(ErrorKind::unusable_input,
                    fmt::format("training has driven a number of '{}' to where its file has no place for it; lower the "
                                "rate, or hold the gradient shorter: {}",
                                tensors.all()[i].hf_name, value),
                    "rate");
  }
}

nlohmann::ordered_json points_json(const std::vector<LossPoint>& points) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const LossPoint& point : points) json.push_back({point.step, point.loss});
  return json;
}

// No time, host or number of threads: the same run gives the same text.
std::string manifest_of_run(const std::map<std::string, std::string>& identity, const Trainer& trainer,
                            const TrainerSettings& s, const RoundedWeights* rounded,
                            const std::optional<LossPoint>& kept) {
  nlohmann::ordered_json json;
  json["nibble"] = version();
  const auto known = [&](const char* name) {
    const auto found = identity.find(name);
    return found == identity.end() ? nlohmann::ordered_json() : nlohmann::ordered_json(found->second);
  };
  json["trained"] = {{"from", known("model gone on from")},
                     {"teacher", known("teacher")},
                     {"config", known("config.json")},
                     {"training_tokens", identity.at("training tokens")},
                     {"seed", known("weights' seed")},
                     {"text_seed", s.batch.seed},
                     {"optimizer", optimizer_name(s.optimizer)},
                     {"steps", trainer.steps_done()},
                     {"batch", s.batch.size},
                     {"accumulate", s.accumulate},
                     {"length", s.batch.length},
                     {"rate", s.rate},
                     {"matrix_rate", s.matrix_rate},
                     {"weight_decay", s.weight_decay},
                     {"clip", s.clip},
                     {"fall", rate_fall_name(s.fall)},
                     {"warm_up", s.warm_up},
                     {"hold", s.hold},
                     {"arithmetic", s.arithmetic == ProductArithmetic::bf16 ? "bf16" : "f32"},
                     {"loss", points_json(trainer.curve())},
                     {"validation", points_json(trainer.validations())}};
  for (const char* const name : {"from", "teacher", "config", "seed"})
    if (json["trained"][name].is_null()) json["trained"].erase(name);
  if (identity.contains("teacher")) {
    json["trained"]["teacher_share"] = s.teacher_share;
    json["trained"]["temperature"] = s.temperature;
  }
  if (kept) json["trained"]["kept_step"] = kept->step;
  if (s.kv != KvType::f32) json["trained"]["kv"] = kv_type_name(s.kv);
  if (rounded != nullptr) {
    nlohmann::ordered_json formats = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < rounded->size(); ++i)
      formats[rounded->format(i)->name()] = rounded->estimator(i).name();
    json["trained"]["rounded"] = formats;  // format: estimator
    json["trained"]["scale_rate"] = s.scale_rate;
  }
  return json.dump(1) + "\n";
}

// What stands behind a plus: how inputs are rounded. None: they are not.
std::optional<ActivationFormat> rounded_inputs(const std::string& quantize) {
  std::optional<ActivationFormat> inputs;
  for (const std::string_view part : split_format(quantize).parts) {
    if (inputs)
      throw Error(ErrorKind::invalid_argument, "inputs are rounded in one way, behind one plus: " + quantize,
                  "quantize");
    // "a8" means what it does where an engine can do all of it; here its plain form.
    inputs = part == "a8" ? ActivationFormat{} : parse_activation_format(part);
    require_trainable_inputs(*inputs);
  }
  return inputs;
}

// Which format each matrix is rounded to.
std::map<std::string, FormatPtr> rounded_formats(const TrainRequest& request, const TrainingSources& sources) {
  std::map<std::string, FormatPtr> formats;
  if (request.quantize.empty()) return formats;
  Recipe recipe = find_recipe(split_format(request.quantize).weights);
  if (!request.embedding.empty()) override_embedding(recipe, request.embedding);
  if (!request.head.empty()) override_head(recipe, request.head);
  const bool rounds_inputs = rounded_inputs(request.quantize).has_value();
  for (const ModelTensor& tensor : sources.tensors().all()) {
    if (stays_in_float(tensor.role) || tensor.shape.size() < 2) continue;
    const FormatPtr format = assign(recipe, tensor_facts(tensor, sources.config()), nullptr).format;
    if (format == nullptr || format->info().kind == FormatKind::raw) continue;
    if (!tensor.columns_from(sources.spelling(), Spelling::huggingface).empty())
      throw Error(
          ErrorKind::unsupported,
          "this file has the columns of a matrix in another order than directories, which groups of them do not "
          "survive; train from a directory that `nibble convert` makes of it: " +
              tensor.hf_name);
    if (rounds_inputs && tensor.experts != 0)
      throw Error(
          ErrorKind::unsupported,
          "inputs of experts are not rounded while a model is trained; leave out what stands behind the plus: " +
              request.quantize,
          "quantize");
    formats.emplace(tensor.hf_name, format);
  }
  if (formats.empty())
    throw Error(ErrorKind::invalid_argument,
                "this format leaves every matrix in floating point; take one with codes: " + request.quantize,
                "quantize");
  return formats;
}

// A row, or the numbers of a vector, in the order of the file.
void write_matrix(CheckpointWriter& writer, std::size_t index, const ModelTensor& tensor, const Matrix& matrix,
                  Spelling spelling, const FormatPtr& format) {
  const StoredNumbers numbers = tensor.numbers(Spelling::huggingface);
  const std::vector<std::uint32_t> row_order = tensor.rows_from(spelling, Spelling::huggingface);
  const std::vector<std::uint32_t> column_order = tensor.columns_from(spelling, Spelling::huggingface);
  const bool is_vector = tensor.shape.size() < 2;
  QuantizedTensor rows(format, matrix.rows, matrix.cols);
  std::vector<float> row(matrix.cols);
  for (std::uint64_t r = 0; r < matrix.rows; ++r) {
    const std::uint64_t from = row_order.empty() || is_vector ? r : row_order[r];
    for (std::uint64_t c = 0; c < matrix.cols; ++c) {
      const std::uint64_t place = is_vector && !row_order.empty() ? row_order[c]
                                  : column_order.empty()          ? c
                                                                  : column_order[c];
      row[c] = numbers.write(matrix.values[from * matrix.cols + place]);
    }
    format->encode_row(row, {}, nullptr, r, {}, rows.row(r));
  }
  writer.write_rows(index, rows.view());
}

// What is written of the weights: as they are stored, or the masters of those that are rounded.
struct TrainedWeights {
  const NetworkWeights& weights;
  RoundedWeights* rounded = nullptr;
  bool are_masters = false;
};

StoredActivations stored_activations(const NetworkWeights& weights) {
  StoredActivations stored;
  for (const NetworkWeight& weight : weights.all()) {
    if (!weight.inputs) continue;
    stored.format = weight.inputs->format;
    if (stored.format->is_static()) stored.grids.emplace(weight.name, weight.inputs->grid);
  }
  return stored;
}

void write_rounded(CheckpointWriter& writer, std::size_t index, const ModelTensor& tensor,
                   const QuantizedTensor& matrix, Spelling spelling) {
  const std::vector<std::uint32_t> row_order = tensor.rows_from(spelling, Spelling::huggingface);
  if (row_order.empty()) return writer.write_rows(index, matrix.view());
  QuantizedTensor rows(matrix.format, matrix.rows, matrix.cols);
  rows.tensor_grid = matrix.tensor_grid;
  if (rows.tensor_grid) rows.format->pack_tensor(rows.tensor_grid.get(), rows.row(0));
  for (std::uint64_t r = 0; r < matrix.rows; ++r) rows.copy_row(r, matrix.view(), row_order[r]);
  writer.write_rows(index, rows.view());
}

std::string card_of(const TrainingSources& sources, const std::vector<PlannedTensor>& plan,
                    const std::string& manifest) {
  const SourceModel* const model = sources.model();
  CardFacts facts{.base = model == nullptr ? "" : base_name_of(*model), .manifest = manifest, .matrices = {}};
  const std::vector<ModelTensor>& tensors = sources.tensors().all();
  for (std::size_t i = 0; i < plan.size(); ++i)
    if (!is_vector(tensors[i].role))
      facts.matrices.push_back({tensors[i].kind, plan[i].format,
                                checked_elements(plan[i].shape, plan[i].name) / plan[i].shape.back(),
                                plan[i].shape.back()});
  return make_model_card(facts, nibble_container().name(), kNibbleUse);
}

std::uint64_t write_model(const std::filesystem::path& output, const TrainingSources& sources,
                          const TrainedWeights& trained, const std::string& dtype, const std::string& manifest,
                          ThreadPool& pool) {
  const FormatPtr format = find_format(dtype);
  const std::vector<ModelTensor>& tensors = sources.tensors().all();
  std::map<std::string, std::size_t> rounded;
  if (trained.rounded != nullptr && !trained.are_masters)
    for (std::size_t i = 0; i < trained.rounded->size(); ++i) rounded.emplace(trained.rounded->name(i), i);
  std::vector<PlannedTensor> plan;
  for (const ModelTensor& tensor : tensors) {
    const auto found = rounded.find(tensor.hf_name);
    plan.push_back({tensor.hf_name, tensor.file_shape(Spelling::huggingface),
                    found == rounded.end() ? format : trained.rounded->format(found->second)});
  }
  HfConfigOptions options;
  options.dtype = dtype == "bf16" ? "bfloat16" : dtype == "f16" ? "float16" : "float32";
  if (const auto begin = sources.tokenizer().bos()) options.bos_token_id = *begin;
  if (const auto end = sources.tokenizer().eos()) options.eos_token_id = *end;
  std::vector<SideFile> side_files = sources.tokenizer_files();
  const StoredActivations activations = trained.are_masters ? StoredActivations() : stored_activations(trained.weights);
  side_files.push_back(
      {"config.json", with_activations(activations, to_huggingface_config(sources.config(), options))});
  side_files.push_back({kManifestFile, manifest});
  for (SideFile& file : sources.kept_files()) side_files.push_back(std::move(file));
  side_files.push_back({kModelCardFile, card_of(sources, plan, manifest)});
  const auto writer =
      make_directory_writer(output, side_files, plan, kDirectoryShardBytes, activation_tensors(activations));
  for (std::size_t i = 0; i < plan.size(); ++i) {
    if (const auto found = rounded.find(tensors[i].hf_name); found != rounded.end()) {
      write_rounded(*writer, i, tensors[i], trained.rounded->store(found->second, pool), sources.spelling());
      continue;
    }
    const Matrix& values = trained.weights.all()[i].values;
    const std::vector<float>* const masters =
        trained.rounded == nullptr ? nullptr : trained.rounded->find_masters(tensors[i].hf_name);
    if (trained.are_masters && masters != nullptr)
      write_matrix(*writer, i, tensors[i], {values.rows, values.cols, *masters}, sources.spelling(), format);
    else
      write_matrix(*writer, i, tensors[i], values, sources.spelling(), format);
  }
  writer->finish();
  return writer->bytes_written();
}

// As the weights lie that it goes on from, where they are numbers by themselves.
std::string stored_type(const TrainRequest& request, const TrainingSources& sources) {
  if (!request.dtype.empty()) return request.dtype;
  if (const SourceModel* const model = sources.model())
    for (const ModelTensor& tensor : model->parts().all())
      if (const std::string& name = model->stored(tensor).values.format()->name();
          tensor.role == TensorRole::linear && (name == "f32" || name == "f16"))
        return name;
  return "bf16";
}

}  // namespace

double rounded_rate(const std::string& quantize) {
  constexpr double kOfFourPoints = 0.001;
  const Recipe recipe = find_recipe(split_format(quantize).weights);
  if (recipe.main_format.empty()) return kOfFourPoints;
  const auto points = static_cast<double>(code_points(*find_format(recipe.main_format)).points.size());
  const double share = std::min(1.0, 4 / points);
  return kOfFourPoints * share * share;
}

TrainSummary train_decoder(const TrainRequest& request, Machine& machine) {
  if (!request.dtype.empty() && request.dtype != "bf16" && request.dtype != "f16" && request.dtype != "f32")
    throw Error(ErrorKind::invalid_argument, "weights are stored as bf16, f16 or f32, not as '" + request.dtype + "'");
  if (container_of(request.output).is_file())
    throw Error(
        ErrorKind::invalid_argument,
        "a trained model is written to a directory; `nibble convert` makes a file of it: " + request.output.string(),
        "output");
  require_replaceable(nibble_container(), request.output);
  if (!request.masters.empty()) require_replaceable(nibble_container(), request.masters);
  const Estimator* const estimator = request.estimator.empty() ? nullptr : &find_estimator(request.estimator);
  const TrainingSources sources(request);
  const ModelTensors& tensors = sources.tensors();
  TrainSummary summary;
  summary.output = request.output;
  summary.tokens = sources.training().ids.size();
  for (const ModelTensor& tensor : tensors.all()) summary.parameters += checked_elements(tensor.shape, tensor.hf_name);
  const std::map<std::string, FormatPtr> formats = rounded_formats(request, sources);
  for (const auto& [name, format] : formats) code_points(*format);
  require_memory(sources, request, formats, summary.parameters, machine);
  // While a state is replaced both lie there.
  require_disk_space(request.output, summary.parameters * 2 * kStateNumbers * sizeof(float));
  NetworkWeights weights = sources.first_weights(request.seed, machine.pool);
  weights.train([](const NetworkWeight&) { return true; });
  std::optional<RoundedWeights> rounded;
  if (!formats.empty()) rounded.emplace(weights, formats, estimator, machine.pool);
  if (const std::optional<ActivationFormat> inputs = rounded_inputs(request.quantize))
    for (NetworkWeight& weight : weights.all())
      if (formats.contains(weight.name)) weight.inputs = InputRounding{.format = *inputs};
  std::optional<NetworkWeights> teacher_weights;
  std::optional<Tape> teacher;
  if (const SourceModel* const model = sources.teacher()) {
    teacher_weights.emplace(*model, machine.pool);
    teacher.emplace(model->parts().network(), *teacher_weights, TapeOptions{.arithmetic = request.settings.arithmetic},
                    machine);
  }

  TrainerSettings settings = request.settings;
  settings.begins_trained = sources.model() != nullptr;
  Trainer trainer(tensors.network(), weights, {sources.training(), sources.held_out(), !request.validation.empty()},
                  settings, machine,
                  {.teacher = teacher ? &*teacher : nullptr, .rounded = rounded ? &*rounded : nullptr});
  const ResumableRun run{training_state_path(request.output), sources.identity(request.seed, machine.pool),
                         request.save_every};
  remove_abandoned_partials(request.output);
  summary.resumed_at = run.take_up(trainer, request.note);
  ProgressMeter meter(request.progress, "train", settings.steps,
                      "train was cancelled; the same command goes on where it stopped");
  std::string validation;
  const auto tell = [&](const TrainingStep& step) {
    if (step.validation) validation = fmt::format(", held-out {:.3f}", *step.validation);
    return fmt::format("loss {:.3f}{}", step.loss, validation);
  };
  run.finish(trainer, meter, machine.pool, tell, [&] {
    trainer.keep_best();
    require_storable(tensors, weights);
  });
  // All steps are done, and the weights are numbers: whoever has them may judge them.
  if (const std::string doubt = trainer.doubt(); !doubt.empty() && request.note)
    request.note(fmt::format("warning: training has gone astray; lower the rate, or the longest gradient: {}", doubt));
  summary.steps = trainer.steps_done();
  summary.stopped_early = trainer.stopped_early();
  summary.curve = trainer.curve();
  summary.validations = trainer.validations();
  if (summary.validations.empty() && settings.validate_every != 0 && request.note)
    request.note(
        "warning: nothing was judged: of the text less than a row is held out; give more text, or shorter "
        "rows");
  if (settings.patience != 0) summary.kept = trainer.best_validation();
  const std::string manifest =
      manifest_of_run(run.identity, trainer, settings, rounded ? &*rounded : nullptr, summary.kept);
  const TrainedWeights trained{weights, rounded ? &*rounded : nullptr};
  if (!request.masters.empty())
    write_model(request.masters, sources, {weights, trained.rounded, true}, "f32", manifest, machine.pool);
  summary.bytes = write_model(request.output, sources, trained, stored_type(request, sources), manifest, machine.pool);
  std::filesystem::remove(run.state);
  return summary;
}

}  // namespace nibble
