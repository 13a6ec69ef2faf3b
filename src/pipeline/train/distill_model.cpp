// SPDX-License-Identifier: Apache-2.0
#include "pipeline/train/distill_model.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "io/json_text.h"
#include "nibble/error.h"
#include "nibble/model.h"
#include "pipeline/convert/convert_model.h"
#include "pipeline/export/container.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/source_survey.h"
#include "pipeline/train/fitting_batch.h"
#include "pipeline/train/resumable_run.h"

namespace nibble {
namespace {

std::string hash_of(const TokenStream& stream) {
  return fmt::format("{:016x}", XXH3_64bits(stream.ids.data(), stream.ids.size() * sizeof(std::int32_t)));
}

// The container that the model lies in, by its name here.
std::string container_name_of(const SourceModel& model) {
  if (model.kind() == ContainerKind::gguf) return "gguf";
  std::string method = model.layer_reading().method;
  if (method.empty()) return "nibble";
  const auto config = parse_json(model.config_json(), "config.json");
  if (const auto settings = config.find("quantization_config"); settings != config.end() && settings->is_object())
    if (const auto zeros = settings->find("checkpoint_format"); zeros != settings->end() && *zeros == "gptq_v2")
      method = "gptq_v2";
  for (const Container* const container : list_containers())
    if (container->name() == method) return method;
  throw Error(ErrorKind::unsupported,
              fmt::format("{}: layers of {} are read here and not written; name another container: {}",
                          model.path().string(), method, container_names()),
              "container");
}

// What is named, else what the output's name asks for; a directory is of the kind that the model lies in.
std::string container_name_for(const DistillRequest& request, const SourceModel& model) {
  if (!request.container.empty()) return request.container;
  const Container& by_name = container_of(request.output);
  if (by_name.is_file() || model.kind() == ContainerKind::gguf) return std::string(by_name.name());
  return container_name_of(model);
}

void require_same_models(const SourceModel& quantized, const SourceModel& original) {
  const ModelConfig &mine = quantized.config(), &theirs = original.config();
  for (const ModelTensor& part : original.parts().all()) {
    const ModelTensor* const other = quantized.parts().part(part.part, part.layer);
    if (mine.architecture == theirs.architecture && other != nullptr && is_same_shape(other->shape, part.shape))
      continue;
    throw Error(ErrorKind::unusable_input,
                fmt::format("{} is not made of {}: '{}' is not the same in both", quantized.path().string(),
                            original.path().string(), part.hf_name),
                "original");
  }
  if (!quantized.has_tokenizer() && !original.has_tokenizer())
    throw Error(ErrorKind::unusable_input, "neither of the two models has a tokenizer, which text is read by",
                "original");
}

// Judged before any of it is taken.
void require_memory(const SourceModel& quantized, const SourceModel& original, const DistillRequest& request,
                    Machine& machine) {
  const auto bytes = [&](const BatchSettings& batch) {
    DistillationSettings settings = request.settings;
    settings.batch = batch;
    return GridDistillation::bytes(original, quantized, settings, machine);
  };
  const std::uint64_t needed = bytes(request.settings.batch), there = available_memory();
  const std::string numbers =
      fmt::format("{} for both models in f32, the gradients of one and a batch of {} rows of {} tokens; {} are free",
                  memory_text(needed), request.settings.batch.size, request.settings.batch.length, memory_text(there));
  require_batch_memory(request.settings.batch, there, bytes, numbers);
  if (request.note) request.note("training takes " + numbers);
}

// A container may hold the same numbers in other formats only.
void tell_changed_formats(const ConvertSummary& planned, const DistillRequest& request) {
  std::map<std::pair<std::string, std::string>, std::size_t> changes;
  for (const ConvertedTensor& tensor : planned.tensors)
    if (tensor.from != tensor.to) ++changes[{tensor.from, tensor.to}];
  if (!request.note) return;
  for (const auto& [change, count] : changes)
    request.note(fmt::format("{} matri{} in {} {} written in {}, which this container has in its place", count,
                             count == 1 ? "x" : "ces", change.first, count == 1 ? "is" : "are", change.second));
}

// What was asked for and cannot be.
void tell_what_stays(const GridDistillation& training, const DistillRequest& request) {
  if (!request.note) return;
  if (request.settings.trains_embedding && !training.trains_embedding())
    request.note(
        "the embedding and the head are in codes, whose grids are trained with those of the other matrices: training "
        "the embedding in floating point as well changes nothing here");
  if (request.settings.code_rate > 0 && training.num_coded() < training.num_matrices())
    request.note(
        fmt::format("codes that stand for several weights each, or have no grids of their own, stay: those of "
                    "{} of {} matrices",
                    training.num_matrices() - training.num_coded(), training.num_matrices()));
}

std::string record_of(const GridDistillation& training, const TokenStream& text, const std::string& original_hash,
                      const DistillationSettings& s) {
  nlohmann::ordered_json json = {{"nibble", version()},
                                 {"original", original_hash},
                                 {"training_tokens", hash_of(text)},
                                 {"text_seed", s.batch.seed},
                                 {"steps", training.steps_done()},
                                 {"batch", s.batch.size},
                                 {"length", s.batch.length},
                                 {"rate", s.rate},
                                 {"code_rate", training.num_coded() == 0 ? 0 : s.code_rate},
                                 {"matrices", training.num_matrices()},
                                 {"coded_matrices", training.num_coded()},
                                 {"temperature", s.temperature},
                                 {"vectors", s.trains_vectors},
                                 {"embedding", training.trains_embedding()},
                                 {"arithmetic", s.arithmetic == ProductArithmetic::bf16 ? "bf16" : "f32"}};
  json["judgements"] = nlohmann::ordered_json::array();
  for (const LossPoint& one : training.judgements()) json["judgements"].push_back({one.step, one.loss});
  if (const auto best = training.best()) json["kept_step"] = best->step;
  return json.dump();
}

}  // namespace

DistillSummary distill_model(SourceModel& quantized, const SourceModel& original, const DistillRequest& request,
                             Machine& machine) {
  require_same_models(quantized, original);
  ConvertOptions convert{.output = request.output, .container = container_name_for(request, quantized)};
  require_place(quantized, find_container(convert.container), request.output);
  require_place(original, find_container(convert.container), request.output);
  convert.dry_run = true;  // what the container cannot hold is known before the work
  const ConvertSummary planned = convert_model(quantized, convert, machine, {});
  const DistillationSettings& settings = request.settings;
  if (settings.batch.length > quantized.config().context)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a row of a batch is longer than the model's context: {} and {}", settings.batch.length,
                            quantized.config().context),
                "length");
  const Tokenizer& tokenizer = (original.has_tokenizer() ? original : quantized).tokenizer();
  TokenStream training_text = join_documents(request.text, tokenizer, request.documents);
  const TokenStream held_out = request.validation.empty()
                                   ? hold_out(training_text, request.held_out)
                                   : join_documents(request.validation, tokenizer, request.documents);
  require_memory(quantized, original, request, machine);
  const auto hash = [&](const SourceModel& model) {
    return survey_source(model, {.hash = true, .peaks = {}}, machine.pool).hash;
  };
  const std::string original_hash = hash(original);
  const std::map<std::string, std::string> identity = {{"quantized", hash(quantized)},
                                                       {"original", original_hash},
                                                       {"training tokens", hash_of(training_text)},
                                                       {"held-out tokens", hash_of(held_out)},
                                                       {"version", std::string(version())}};
  GridDistillation training(original, quantized, {training_text, held_out}, settings, machine);
  const ResumableRun run{training_state_path(request.output), identity, request.save_every};
  DistillSummary summary{.output = request.output,
                         .tokens = training_text.ids.size(),
                         .matrices = training.num_matrices(),
                         .numbers = training.num_numbers(),
                         .coded = training.num_coded(),
                         .trains_embedding = training.trains_embedding(),
                         .left_alone = training.left_alone()};
  tell_changed_formats(planned, request);
  tell_what_stays(training, request);
  summary.resumed_at = run.take_up(training, request.note);
  ProgressMeter meter(request.progress, "distill", settings.steps,
                      "distill was cancelled; the same command goes on where it stopped");
  std::string validation;
  const auto tell = [&](const DistillationStep& step) {
    if (step.validation) validation = fmt::format("held-out {:.5f}", *step.validation);
    if (step.step == 0) return validation;
    return fmt::format("divergence {:.5f}{}{}", step.loss, validation.empty() ? "" : ", ", validation);
  };
  run.finish(training, meter, machine.pool, tell, [&] { training.keep_best(); });
  summary.steps = training.steps_done();
  summary.stopped_early = training.stopped_early();
  summary.judgements = training.judgements();
  summary.kept = training.best();
  convert.dry_run = false;
  // Where nothing was better than the beginning, that is what is written, and nothing is said of training.
  if (!summary.kept || summary.kept->step != 0) {
    convert.distilled = record_of(training, training_text, original_hash, settings);
    for (DistilledTensor& tensor : training.stored()) quantized.replace(*tensor.part, std::move(tensor.values));
  }
  summary.bytes = convert_model(quantized, convert, machine, request.progress).output.output_bytes;
  std::filesystem::remove(run.state);
  return summary;
}

}  // namespace nibble
