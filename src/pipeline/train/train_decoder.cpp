// SPDX-License-Identifier: Apache-2.0
#include "pipeline/train/train_decoder.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "base/output_file.h"
#include "base/progress_meter.h"
#include "io/checkpoint_parts.h"
#include "io/checkpoint_writer.h"
#include "model/config_text.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "nibble/model.h"
#include "pipeline/export/container.h"
#include "pipeline/export/manifest.h"
#include "pipeline/train/initial_weights.h"

namespace nibble {
namespace {

std::string read_config(const std::filesystem::path& path) {
  auto text = read_side_file(path.parent_path(), path.filename().string());
  if (!text)
    throw Error(ErrorKind::not_found,
                fmt::format("{}: the configuration is not there or cannot be read", path.string()));
  return *std::move(text);
}

constexpr std::uint64_t kStateNumbers = 4;  // of a parameter, at most: itself, two that are remembered, the best so far

std::string hash_of(std::string_view text) { return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size())); }

std::string size_text(std::uint64_t bytes) {
  const double size = static_cast<double>(bytes);
  return bytes < (std::uint64_t{1} << 30) ? fmt::format("{:.1f} MiB", size * 0x1p-20)
                                          : fmt::format("{:.1f} GiB", size * 0x1p-30);
}

std::filesystem::path tokenizer_of(const std::filesystem::path& named, const std::filesystem::path& config) {
  std::filesystem::path path = named.empty() ? config.parent_path() : named;
  if (path.empty()) path = ".";
  if (!std::filesystem::exists(path / "tokenizer.json") && !std::filesystem::exists(path / "tokenizer.model"))
    throw Error(
        ErrorKind::not_found,
        fmt::format("{}: neither tokenizer.json nor tokenizer.model is here; name the directory of a tokenizer, "
                    "or let `nibble train-tokenizer` make one",
                    path.string()),
        "tokenizer");
  return path;
}

// The run's files and texts, each read once.
struct Sources {
  std::filesystem::path config_path;
  std::string config_text;
  std::filesystem::path tokenizer_path;
  ModelConfig config;
  Tokenizer tokenizer;
  TokenStream training, held_out;

  explicit Sources(const TrainRequest& request)
      : config_path(std::filesystem::is_directory(request.config) ? request.config / "config.json" : request.config),
        config_text(read_config(config_path)),
        tokenizer_path(tokenizer_of(request.tokenizer, config_path)),
        config(parse_model_config(config_text, config_path.string())),
        tokenizer(Tokenizer::from_directory(tokenizer_path)) {
    if (tokenizer.vocab_size() > config.vocab_size)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{}: vocab_size is less than the tokens of the tokenizer; raise it: {} and {}",
                              config_path.string(), config.vocab_size, tokenizer.vocab_size()));
    if (request.settings.batch.length > config.context)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("a row of a batch is longer than the model's context: {} and {}",
                              request.settings.batch.length, config.context),
                  "length");
    training = join_documents(request.text, tokenizer, request.documents);
    held_out = request.validation.empty() ? hold_out(training, request.held_out)
                                          : join_documents(request.validation, tokenizer, request.documents);
  }
};

// What decides the course of a run beside the trainer's settings.
std::map<std::string, std::string> identity_of(const TrainRequest& request, const Sources& sources) {
  const auto hash_ids = [](const TokenStream& stream) {
    const std::string begin = stream.begin ? std::to_string(*stream.begin) : "none";
    return hash_of({reinterpret_cast<const char*>(stream.ids.data()), stream.ids.size() * sizeof(std::int32_t)}) +
           ", begun by " + begin;
  };
  return {{"config.json", hash_of(sources.config_text)},
          {"training tokens", hash_ids(sources.training)},
          {"held-out tokens", hash_ids(sources.held_out)},
          {"weights' seed", std::to_string(request.seed)},
          {"version", std::string(version())}};
}

// Judged before any of it is taken.
void require_memory(const ModelTensors& tensors, const TrainRequest& request, std::uint64_t parameters,
                    Machine& machine) {
  const std::uint64_t of_weights = Trainer::weight_bytes(tensors.all(), request.settings);
  const std::uint64_t needed = of_weights + Trainer::batch_bytes(tensors.network(), request.settings, machine);
  const std::uint64_t there = available_memory();
  const std::string numbers = fmt::format(
      "{}, {} of them for {} parameters, their gradients and what the optimizer remembers, the rest for a batch of {} "
      "rows of {} tokens; {} are free",
      size_text(needed), size_text(of_weights), parameters, request.settings.batch.size, request.settings.batch.length,
      size_text(there));
  if (of_weights > there)
    throw Error(ErrorKind::resource, "training takes more memory than there is, whatever the batches: " + numbers);
  if (needed > there)
    throw Error(ErrorKind::resource, "training takes more memory than there is; give smaller batches: " + numbers,
                "batch");
  if (request.note) request.note("training takes " + numbers);
}

// What a file cannot hold: a rate of decay that training has driven across 0, which is stored as its logarithm.
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

nlohmann::ordered_json points_json(const std::vector<Trainer::CurvePoint>& points) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Trainer::CurvePoint& point : points) json.push_back({point.step, point.loss});
  return json;
}

// No time, host or number of threads: the same run gives the same text.
std::string manifest_of_run(const std::map<std::string, std::string>& identity, const Trainer& trainer,
                            const TrainerSettings& s) {
  nlohmann::ordered_json json;
  json["nibble"] = version();
  json["trained"] = {{"config", identity.at("config.json")},
                     {"training_tokens", identity.at("training tokens")},
                     {"seed", identity.at("weights' seed")},
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
  return json.dump(1) + "\n";
}

void write_model(const TrainRequest& request, const Sources& sources, const ModelTensors& tensors,
                 const NetworkWeights& weights, const std::string& manifest, TrainSummary& summary) {
  const FormatPtr format = find_format(request.dtype);
  std::vector<PlannedTensor> plan;
  for (const ModelTensor& tensor : tensors.all())
    plan.push_back({tensor.hf_name, tensor.file_shape(Spelling::huggingface), format});
  HfConfigOptions options;
  options.dtype = request.dtype == "bf16" ? "bfloat16" : request.dtype == "f16" ? "float16" : "float32";
  if (const auto begin = sources.tokenizer.bos()) options.bos_token_id = *begin;
  if (const auto end = sources.tokenizer.eos()) options.eos_token_id = *end;
  std::vector<SideFile> side_files = {{"config.json", to_huggingface_config(sources.config, options)},
                                      {kManifestFile, manifest}};
  for (const std::string& name : Tokenizer::file_names())
    if (name != "config.json")
      if (auto text = read_side_file(sources.tokenizer_path, name)) side_files.push_back({name, *std::move(text)});
  const auto writer = make_directory_writer(request.output, side_files, plan);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const ModelTensor& tensor = tensors.all()[i];
    const Matrix& matrix = weights.all()[i].values;
    QuantizedTensor rows(format, matrix.rows, matrix.cols);
    const StoredNumbers numbers = tensor.numbers(Spelling::huggingface);
    std::vector<float> row(matrix.cols);
    for (std::uint64_t r = 0; r < matrix.rows; ++r) {
      for (std::uint64_t c = 0; c < matrix.cols; ++c) row[c] = numbers.write(matrix.values[r * matrix.cols + c]);
      format->encode_row(row, {}, nullptr, r, {}, rows.row(r));
    }
    writer->write_rows(i, rows.view());
  }
  writer->finish();
  summary.bytes = writer->bytes_written();
}

}  // namespace

std::filesystem::path training_state_path(const std::filesystem::path& output) {
  std::filesystem::path path = output;
  if (!path.has_filename()) path = path.parent_path();
  path += ".training";
  return path;
}

TrainSummary train_decoder(const TrainRequest& request, Machine& machine) {
  if (request.dtype != "bf16" && request.dtype != "f16" && request.dtype != "f32")
    throw Error(ErrorKind::invalid_argument, "weights are stored as bf16, f16 or f32, not as '" + request.dtype + "'");
  if (container_of(request.output).is_file())
    throw Error(
        ErrorKind::invalid_argument,
        "a trained model is written to a directory; `nibble convert` makes a file of it: " + request.output.string(),
        "output");
  require_replaceable(nibble_container(), request.output);
  const Sources sources(request);
  const ModelTensors tensors(sources.config);
  TrainSummary summary;
  summary.output = request.output;
  summary.tokens = sources.training.ids.size();
  for (const ModelTensor& tensor : tensors.all()) summary.parameters += checked_elements(tensor.shape, tensor.hf_name);
  require_memory(tensors, request, summary.parameters, machine);
  // While a state is replaced both lie there.
  require_disk_space(request.output, summary.parameters * 2 * kStateNumbers * sizeof(float));
  NetworkWeights weights(initial_weights(tensors, request.seed, machine.pool));
  weights.train([](const NetworkWeight&) { return true; });

  Trainer trainer(tensors.network(), weights, {sources.training, sources.held_out}, request.settings, machine);
  const std::map<std::string, std::string> identity = identity_of(request, sources);
  const std::filesystem::path state = training_state_path(request.output);
  remove_abandoned_partials(state);
  remove_abandoned_partials(request.output);
  if (std::filesystem::exists(state)) {
    trainer.take_up(state, identity);
    summary.resumed_at = trainer.steps_done();
    if (request.note) request.note(fmt::format("{}: goes on behind step {}", state.string(), summary.resumed_at));
  }
  ProgressMeter meter(request.progress, "train", request.settings.steps);
  std::string validation;
  try {
    while (!trainer.is_done()) {
      const TrainingStep step = trainer.step();
      if (step.validation) validation = fmt::format(", held-out {:.3f}", *step.validation);
      if (step.step % request.save_every == 0) trainer.save(state, identity);
      meter.report(step.step, fmt::format("loss {:.3f}{}", step.loss, validation));
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::cancelled) trainer.save(state, identity);
    throw;
  }
  trainer.keep_best();
  require_storable(tensors, weights);
  summary.steps = trainer.steps_done();
  summary.stopped_early = trainer.stopped_early();
  summary.curve = trainer.curve();
  summary.validations = trainer.validations();
  if (request.settings.patience != 0 && !summary.validations.empty())
    summary.kept = *std::ranges::min_element(summary.validations, {}, &Trainer::CurvePoint::loss);
  write_model(request, sources, tensors, weights, manifest_of_run(identity, trainer, request.settings), summary);
  std::filesystem::remove(state);
  return summary;
}

}  // namespace nibble
