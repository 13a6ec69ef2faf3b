// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/quantize_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_set>

#include "base/output_file.h"
#include "model/known_family.h"
#include "model/stored_activations.h"
#include "nibble/error.h"
#include "pipeline/export/container.h"
#include "pipeline/export/runtime.h"
#include "pipeline/quantize/activation_plan.h"
#include "pipeline/quantize/folded_rotation.h"
#include "pipeline/quantize/plan_notes.h"
#include "pipeline/quantize/quantize_layers.h"
#include "pipeline/quantize/role_formats.h"
#include "pipeline/quantize/unknown_network.h"
#include "pipeline/tell/source_notes.h"
#include "quantize/method.h"
#include "quantize/transform/rotation.h"

namespace nibble {
namespace {

bool recipe_needs_directory(const Recipe& recipe) {
  return std::ranges::any_of(recipe.rules, [](const RecipeRule& rule) {
    return rule.format != kSixteenBit && rule.format != kSourceFormat &&
           find_format(rule.format)->info().kind == FormatKind::planar;
  });
}

const Container& decide_container(const QuantizeModelOptions& options, const Recipe& recipe, bool needs_directory) {
  return choose_container(options.container, options.output,
                          [&] { return needs_directory || recipe_needs_directory(recipe); });
}

void apply_overrides(Recipe& recipe, const QuantizeModelOptions& options, const ModelConfig& config) {
  const bool is_parted = !options.transform.empty() && find_transform(options.transform).folds();  // into two matrices
  if (config.tied_embedding && !is_parted && !options.embedding.empty() && !options.head.empty() &&
      options.embedding != options.head)
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format(
            "this model's embedding is its head, too, and can have one format only; give one of the two: {} and {}",
            options.embedding, options.head),
        "embedding");
  if (!options.embedding.empty()) override_embedding(recipe, options.embedding);
  if (!options.head.empty()) override_head(recipe, options.head);
}

// Error(unusable_input) for codes that would be rounded again, unless that is insisted on.
void refuse_requantizing(const TensorPlan& tensor, const QuantizeModelOptions& options) {
  const StoredTensor& stored = *tensor.source;
  if (options.allow_requantize || stored.values.format()->info().kind == FormatKind::raw ||
      tensor.target.format->info().kind == FormatKind::raw)
    return;
  throw Error(ErrorKind::unusable_input,
              fmt::format("{}: tensor '{}' is quantized already, and rounding it again adds to its loss; start from "
                          "the original model, have these numbers in another container (nibble convert), or insist: {} "
                          "to {}",
                          stored.file, stored.name, stored.values.format()->name(), tensor.target.format->name()),
              "allow_requantize");
}

// Linears alone: what is looked up by rows is read as it is.
bool is_rotated(const TensorPlan& tensor, const QuantizePlan& plan, const QuantizeModelOptions& options) {
  const bool is_linear = tensor.role == TensorRole::linear || tensor.role == TensorRole::head;
  return is_linear && plan.is_understood() && tensor.target.format->info().kind != FormatKind::raw &&
         method_for(tensor, options).transform.runs();
}

// What goes into the weights for good before they are quantized, if anything does.
FoldedRotation folding_of(const SourceModel& source, const QuantizeModelOptions& options) {
  if (options.transform.empty() || !find_transform(options.transform).folds()) return {};
  return fold_rotations(source.parts(), source.config().tied_embedding);
}

// Parts whose inputs are rotated for good already.
std::set<const TensorPlan*> find_folded(const QuantizePlan& plan, const FoldedRotation& rotation) {
  std::set<const TensorPlan*> folded;
  if (rotation.is_empty()) return folded;
  const ModelTensors tensors(plan.config);
  for (std::size_t i = 0; i < tensors.all().size(); ++i)
    if (const ModelTensor& part = tensors.all()[i]; rotation.rotates_inputs(part.part, part.layer))
      folded.insert(&plan.tensors[i]);
  return folded;
}

// The transform of its inputs, null where there is none. Error(unsupported) where the container could not record it.
std::shared_ptr<const TensorParts> rotation_for(const TensorPlan& tensor, const QuantizePlan& plan,
                                                const QuantizeModelOptions& options) {
  if (!is_rotated(tensor, plan, options)) return nullptr;
  if (!plan.container->holds(TensorPart::input_transform))
    throw Error(ErrorKind::unsupported,
                fmt::format("the container {} cannot record that inputs are rotated; write the container nibble, or "
                            "leave the transform out: '{}'",
                            plan.container->name(), tensor.target.name),
                "transform");
  return rotation_of(tensor.cols);
}

// Codes that stay in their format keep what they have beside them, unless a walk makes them from numbers; others get
// what their method's transform records.
void plan_parts(QuantizePlan& plan, const FoldedRotation& folding, const QuantizeModelOptions& options) {
  const bool is_walked = needs_calibration(plan, options);
  const std::set<const TensorPlan*> folded = find_folded(plan, folding);
  std::size_t linears = 0, left = 0;
  const TensorPlan* first_left = nullptr;
  for (TensorPlan& tensor : plan.tensors) {
    const TensorSource& source = tensor.source->values;
    const bool is_kept = source.format()->name() == tensor.target.format->name() && !(is_walked && source.parts()) &&
                         is_copied(source, *plan.container, !tensor.row_order.empty(), !tensor.column_order.empty());
    if (!is_kept) refuse_requantizing(tensor, options);
    tensor.target.parts = is_kept                    ? source.parts()
                          : folded.contains(&tensor) ? nullptr
                                                     : rotation_for(tensor, plan, options);
    if (is_kept || !is_rotated(tensor, plan, options)) continue;
    ++linears;
    if (tensor.target.parts != nullptr || folded.contains(&tensor)) continue;
    if (left++ == 0) first_left = &tensor;
  }
  if (left > 0)
    plan.notes.push_back(
        fmt::format("the inputs of {} of {} matrices are not rotated: their columns ({} in '{}') have no power of two "
                    "of {} or more in them",
                    left, linears, first_left->cols, first_left->target.name, kSmallestRotation));
}

void require_held(const Container& container, const TensorPlan& plan, const Recipe& recipe) {
  const std::string refusal = container.refusal(plan.target, plan.role);
  if (!refusal.empty())
    throw Error(ErrorKind::invalid_argument, fmt::format("{} for '{}' (recipe '{}'): {}", plan.target.format->name(),
                                                         plan.target.name, recipe.name, refusal));
}

// In either spelling.
bool is_named(const std::string& pattern, const ModelTensor& tensor) {
  return matches_pattern(pattern, tensor.gguf_name) || matches_pattern(pattern, tensor.hf_name);
}

bool is_chosen(const ModelTensor& tensor, const QuantizeModelOptions& options) {
  const auto names = [&](const std::string& pattern) { return is_named(pattern, tensor); };
  return (options.include.empty() || std::ranges::any_of(options.include, names)) &&
         std::ranges::none_of(options.exclude, names);
}

// A pattern that names no matrix is a slip of the pen.
void require_used(const std::vector<ModelTensor>& tensors, const QuantizeModelOptions& options) {
  for (const auto* const patterns : {&options.include, &options.exclude})
    for (const std::string& pattern : *patterns) {
      if (std::ranges::any_of(tensors, [&](const ModelTensor& tensor) {
            return !stays_in_float(tensor.role) && is_named(pattern, tensor);
          }))
        continue;
      const bool stays =
          std::ranges::any_of(tensors, [&](const ModelTensor& tensor) { return is_named(pattern, tensor); });
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{} ('*' is any text, and letters count as they are): '{}'",
                              stays ? "these tensors stay as they are in any case"
                                    : "no matrix of the model has a name like this",
                              pattern),
                  patterns == &options.include ? "include" : "exclude");
    }
}

// What asks for more than the weights themselves cannot be had where nobody knows what they do.
[[noreturn]] void refuse_unknown(const std::string& what, const UnknownNetwork& network) {
  throw Error(ErrorKind::unsupported, fmt::format("without knowing the network {}; {}", what, network.reason));
}

void require_undrawn(const UnknownNetwork& network, const QuantizePlan& plan, const QuantizeModelOptions& options) {
  if (!options.transform.empty() && find_transform(options.transform).rule != Transform::Rule::none)
    refuse_unknown(fmt::format("nothing says what its matrices read, which the transform {} changes: leave it out",
                               options.transform),
                   network);
  if (plan.source_spelling == Spelling::gguf && plan.target_spelling != Spelling::gguf)
    refuse_unknown("its tensors have no names in a directory: write a GGUF file, in a block format such as q4_k",
                   network);
  if (plan.source_spelling != plan.target_spelling)
    refuse_unknown("its tensors have no names in a GGUF file: write a directory", network);
  if (options.activations) refuse_unknown("nothing says which inputs to round: leave the plus out", network);
  if (options.calibration.statistics != nullptr || !options.calibration.texts.empty())
    refuse_unknown("neither text nor statistics tell anything of its matrices: use rtn or mse, which ask for neither",
                   network);
}

// Once the recipe has spoken.
void require_uncalibrated(const UnknownNetwork& network, const QuantizePlan& plan,
                          const QuantizeModelOptions& options) {
  for (const TensorPlan& tensor : plan.tensors)
    if (tensor.target.format->info().kind != FormatKind::raw && method_for(tensor, options).needs() != Needs::nothing)
      refuse_unknown(
          fmt::format("no text can be walked through it, which the method {} asks for: use rtn or mse", tensor.method),
          network);
}

void require_rows(const TensorPlan& tensor) {
  if (serves(*tensor.target.format, tensor.role)) return;
  throw Error(ErrorKind::unsupported,
              fmt::format("{} codes {} rows together, and an embedding is looked up by rows; choose a format with "
                          "codes for each, such as int4:g128 or q4_k, for '{}'",
                          tensor.target.format->name(), tensor.target.format->info().row_unit, tensor.target.name),
              "embedding");
}

// Whether the embedding's or the head's format is given beside the recipe.
bool is_asked_for(TensorRole role, const QuantizeModelOptions& options) {
  return role == TensorRole::embedding ? !options.embedding.empty() : !options.head.empty();
}

// own: the format in which the tensor comes to be quantized, the stored one where nothing goes into it before.
TensorPlan plan_tensor(const StoredTensor& stored, const FormatPtr& own, const ModelTensor& tensor,
                       const QuantizePlan& plan, const QuantizeModelOptions& options) {
  require_weights(stored);
  TensorPlan result;
  result.source = &stored;
  result.role = tensor.role;
  result.kind = tensor.kind;
  result.target.name = plan.container->name_of(tensor);
  result.target.shape = tensor.file_shape(plan.target_spelling);
  TensorFacts facts = tensor_facts(tensor, plan.config);
  if (plan.num_experts != 0) facts.num_experts = plan.num_experts;
  // What is given for static grids alone tells the weights nothing.
  const bool is_given = options.calibration.statistics != nullptr || !options.calibration.texts.empty();
  facts.has_importance = is_given && method_for(TensorPlan{}, options).needs() >= Needs::mean_square;
  result.rows = facts.rows;
  result.cols = facts.cols;
  result.row_order = tensor.rows_from(plan.source_spelling, plan.target_spelling);
  result.column_order = tensor.columns_from(plan.source_spelling, plan.target_spelling);
  result.source_numbers = tensor.numbers(plan.source_spelling);
  result.target_numbers = tensor.numbers(plan.target_spelling);
  const bool is_plain = plan.target_spelling == Spelling::gguf && plan.is_understood();
  if (stays_in_float(tensor.role) || !is_chosen(tensor, options)) {
    // Routers that another program has quantized are floats again, as the engine takes them.
    const bool is_coded_router =
        tensor.role == TensorRole::router && plan.is_understood() && own->info().kind != FormatKind::raw;
    const bool is_widened =
        stays_in_float(tensor.role) && tensor.role != TensorRole::exact && (is_plain || is_coded_router);
    result.target.format = is_widened ? find_format("f32") : own;
    result.method = "rtn";  // of codes that stay as they are
    require_held(*plan.container, result, plan.recipe);
    return result;
  }
  const Assignment assignment = assign(plan.recipe, facts, own);
  if (!plan.container->takes_codes(tensor.role) && !is_asked_for(tensor.role, options) &&
      assignment.format->info().kind != FormatKind::raw) {
    result.target.format = uncoded_format(stored);
    result.uncoded = assignment.format->name();
    result.method = "rtn";
    return result;
  }
  result.target.format = plan.container->own_form(assignment.format);
  result.wanted = assignment.wanted;
  result.method = assignment.method.empty() ? options.method : assignment.method;
  if (!result.wanted.empty()) result.obstacle = Obstacle::row_length;
  if (!result.wanted.empty() && options.strict)
    throw Error(ErrorKind::unsupported,
                fmt::format("{} cannot hold tensor '{}', whose rows are not multiples of {}: {} columns", result.wanted,
                            result.target.name, find_format(result.wanted)->info().row_multiple, result.cols),
                "strict");
  if (result.method == "table" && result.target.format->info().kind != FormatKind::raw &&
      !result.target.format->name().starts_with("table"))
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format("the method table learns a format's points, which {} does not let it; choose a table format such "
                    "as table4:row, or the method imatrix",
                    result.target.format->name()));
  require_held(*plan.container, result, plan.recipe);
  require_rows(result);
  return result;
}

// Every tensor by itself.
void plan_unknown(QuantizePlan& plan, const UnknownNetwork& network, const SourceModel& source,
                  const QuantizeModelOptions& options) {
  plan.num_experts = network.num_experts;
  require_undrawn(network, plan, options);
  require_used(network.tensors, options);
  for (std::size_t i = 0; i < network.tensors.size(); ++i)
    plan.tensors.push_back(
        plan_tensor(*network.stored[i], network.stored[i]->values.format(), network.tensors[i], plan, options));
  require_uncalibrated(network, plan, options);
  plan.notes.push_back(
      "the network is not understood, so matrices are quantized one by one, and nothing here can run or judge the "
      "result: " +
      network.reason);
  for (std::string& note : stored_form_notes(source)) plan.notes.push_back(std::move(note));
  if (std::string note = stacked_note(plan); !note.empty()) plan.notes.push_back(std::move(note));
  for (const std::string& tensor : network.left_out) add_loss("left out: " + tensor, options.strict, plan.notes);
}

// The model's own tensors. What it does not use is listed, and what its files say otherwise noted.
void plan_known(QuantizePlan& plan, const SourceModel& source, const FoldedRotation& folding,
                const QuantizeModelOptions& options) {
  std::unordered_set<std::string_view> used;
  // A head that folding adds is made of the embedding.
  const bool adds_head = source.config().tied_embedding && !plan.config.tied_embedding;
  std::optional<ModelTensors> untied;
  if (adds_head) untied.emplace(plan.config);
  const std::vector<ModelTensor>& tensors = adds_head ? untied->all() : source.parts().all();
  require_used(tensors, options);
  for (const ModelTensor& tensor : tensors) {
    const ModelTensor& held =
        adds_head && tensor.role == TensorRole::head ? *source.parts().part("embedding", Network::kBegin) : tensor;
    const StoredTensor& stored = source.stored(held);
    used.insert(source.holder(held).name);
    if (!held.gguf_halves.values.empty()) used.insert(held.gguf_halves.values);
    const FormatPtr own = folding.is_empty() ? stored.values.format() : rotated_format(stored, tensor.role);
    plan.tensors.push_back(plan_tensor(stored, own, tensor, plan, options));
  }
  if (const StoredTensor* const head = find_second_head(source, source.config())) used.insert(head->name);
  if (std::string note = second_head_note(source, source.config()); !note.empty())
    add_loss(std::move(note), options.strict, plan.notes);
  for (std::string& note : stored_form_notes(source)) plan.notes.push_back(std::move(note));
  for (std::size_t i = 1; i < plan.tensors.size(); ++i)
    if (plan.tensors[i].target.name == plan.tensors[i - 1].target.name &&
        plan.tensors[i].target.format->name() != plan.tensors[i - 1].target.format->name())
      throw Error(
          ErrorKind::invalid_argument,
          "experts that lie in one tensor of the output have one format; choose all of them or none, or write a "
          "directory: " +
              plan.tensors[i].target.name);
  if (std::string note = window_note(plan); !note.empty()) add_loss(std::move(note), options.strict, plan.notes);
  if (std::string note = fault_note(plan); !note.empty()) add_loss(std::move(note), options.strict, plan.notes);
  if (std::string note = yarn_note(plan); !note.empty()) add_loss(std::move(note), options.strict, plan.notes);
  if (std::string note = experts_note(plan); !note.empty()) add_loss(std::move(note), options.strict, plan.notes);
  for (std::string& note : stray_end_notes(source, plan.config)) plan.notes.push_back(std::move(note));
  std::string text_part = text_part_note(source, source.config());
  const bool is_part = !text_part.empty();
  if (is_part) add_loss(std::move(text_part), options.strict, plan.notes);
  for (const StoredTensor& stored : source.tensors())
    if (!used.contains(stored.name) && !is_rope_tensor(stored.name) && !is_activation_tensor(stored.name) &&
        !(is_part && is_beside_text(source, source.config(), stored)))
      plan.ignored.push_back(stored.name);
  // What scales are folded into must hold them exactly enough, whoever chose the method that folds.
  if (moves_activations(plan, options))
    for (TensorPlan& tensor : plan.tensors)
      if (stays_in_float(tensor.role)) tensor.target.format = find_format("f32");
  if (plan.target_spelling == Spelling::gguf) plan.rope_tensors = gguf_rope_tensors(plan.config.rope);
}

}  // namespace

FormatPtr uncoded_format(const StoredTensor& stored) {
  return stored.values.format()->info().kind == FormatKind::raw ? stored.values.format() : find_format("f16");
}

bool keeps_parts(const TensorSource& source, const Container& container) {
  return !source.parts() ||
         std::ranges::all_of(parts_of(*source.parts()), [&](TensorPart part) { return container.holds(part); });
}

bool is_copied(const TensorSource& source, const Container& container, bool moves_rows, bool moves_columns) {
  if (!keeps_parts(source, container)) return false;
  const bool binds_rows =
      source.format()->info().row_unit != 1 ||
      (source.parts() && (!source.parts()->outliers.empty() || !source.parts()->output_transform.empty()));
  return !moves_columns && !(moves_rows && binds_rows);
}

void require_weights(const StoredTensor& stored) {
  if (!stored.values.format())
    throw Error(ErrorKind::unsupported, fmt::format("{}: tensor '{}' has elements that are no weights: {}", stored.file,
                                                    stored.name, dtype_name(stored.dtype)));
}

void add_loss(std::string loss, bool strict, std::vector<std::string>& notes) {
  if (strict) throw Error(ErrorKind::unsupported, loss, "strict");
  notes.push_back(std::move(loss));
}

TensorFacts tensor_facts(const ModelTensor& tensor, const ModelConfig& config) {
  TensorFacts facts;
  facts.name = tensor.gguf_name;
  facts.own_name = tensor.hf_name;
  const MatrixSize size = matrix_size(tensor.shape);
  facts.rows = size.rows;
  facts.cols = size.cols;
  facts.stacked = tensor.shape.size() > 2 || tensor.experts != 0;
  facts.num_experts = config.num_experts;
  facts.layer = tensor.layer < 0 ? 0 : static_cast<std::uint64_t>(tensor.layer);
  facts.num_layers = config.layers;
  facts.gqa = config.kv_heads == 0 ? 1 : config.heads / config.kv_heads;
  facts.tied = tensor.role == TensorRole::embedding && config.tied_embedding;
  return facts;
}

Method method_for(const TensorPlan& tensor, const QuantizeModelOptions& options) {
  Method method = find_method(tensor.method.empty() ? options.method : tensor.method);
  if (options.fit) method.fit = *options.fit;
  if (!options.transform.empty()) method.transform = find_transform(options.transform);
  if (!options.round.empty()) method.rounder = find_rounder(options.round);
  if (options.smoothquant_alpha) method.transform.alpha = *options.smoothquant_alpha;
  return method;
}

// What the output is made for must take it.
static void require_taken(const Runtime& runtime, const QuantizePlan& plan,
                          const std::optional<ActivationFormat>& activations) {
  if (std::ranges::find(runtime.containers, plan.container->name()) == runtime.containers.end())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} does not read the container {}: it reads {}", runtime.title, plan.container->name(),
                            fmt::join(runtime.containers, ", ")));
  for (const TensorPlan& tensor : plan.tensors)
    if (const std::string why = runtime.refusal(tensor.target); !why.empty())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{} for '{}': {}", tensor.target.format->name(), tensor.target.name, why));
  if (const std::string why = plan.container->obstacle(runtime.name, plan, activations); !why.empty())
    throw Error(ErrorKind::invalid_argument, why);
}

void require_containable(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  for (const TensorPlan& tensor : plan.tensors) require_held(*plan.container, tensor, plan.recipe);
  std::optional<ActivationFormat> activations;
  if (options.activations) activations = options.activations->format;
  if (!options.runtime.empty()) require_taken(find_runtime(options.runtime), plan, activations);
  if (activations && !plan.container->takes_inputs(*activations))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the container {} cannot say that inputs are rounded as {}: leave the plus out, or choose "
                            "compressed-tensors with a8:token or a8:static, or the container nibble",
                            plan.container->name(), activation_format_name(*activations)));
  if (const std::string conflict = plan.container->conflict(plan, activations); !conflict.empty())
    throw Error(ErrorKind::invalid_argument, conflict);
}

QuantizePlan plan_quantization(const SourceModel& source, const QuantizeModelOptions& options) {
  QuantizePlan plan;
  std::optional<UnknownNetwork> unknown;
  if (!has_known_family(source)) unknown = read_unknown_network(source);
  plan.config = unknown ? unknown->facts : source.config();
  plan.source_spelling = source.spelling();
  plan.recipe = options.recipe;
  const FoldedRotation folding = unknown ? FoldedRotation{} : folding_of(source, options);
  if (folding.rotates_inputs("head", Network::kBegin)) plan.config.tied_embedding = false;
  apply_overrides(plan.recipe, options, plan.config);
  plan.container = &decide_container(options, plan.recipe, unknown && plan.source_spelling == Spelling::huggingface);
  plan.target_spelling = plan.container->naming();
  plan.shard_bytes = options.shard_bytes;
  plan.onnx = options.onnx;
  find_method(options.method);
  if (unknown)
    plan_unknown(plan, *unknown, source, options);
  else
    plan_known(plan, source, folding, options);
  plan_parts(plan, folding, options);
  if (std::string note = unknown ? "" : tokenizer_note(source); !note.empty()) plan.notes.push_back(std::move(note));
  for (const PlannedTensor& tensor : output_tensors(plan).planned) require_whole_matrices(tensor);
  require_containable(plan, options);
  if (std::string note = foreign_words_note(source); !note.empty()) plan.notes.push_back(std::move(note));
  note_uncoded(plan, options.strict);
  if (std::string note = nothing_note(plan); !note.empty()) add_loss(std::move(note), options.strict, plan.notes);
  return plan;
}

}  // namespace nibble
