// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/output_file.h"
#include "model/stored_activations.h"
#include "nibble/error.h"
#include "pipeline/activation_plan.h"
#include "quantize/held_magnitude.h"
#include "quantize/method.h"
#include "tensor/shape.h"

namespace nibble {
namespace {

bool recipe_needs_directory(const Recipe& recipe) {
  return std::ranges::any_of(recipe.rules, [](const RecipeRule& rule) {
    return rule.format != kSixteenBit && rule.format != kSourceFormat && find_format(rule.format)->info().kind == FormatKind::planar;
  });
}

Spelling decide_container(const QuantizeModelOptions& options, const Recipe& recipe) {
  if (options.output.empty()) return recipe_needs_directory(recipe) ? Spelling::huggingface : Spelling::gguf;
  const std::string extension = lower_extension(options.output);
  if (extension == ".safetensors")
    throw Error(ErrorKind::invalid_argument,
                "a model is written to a directory or to a .gguf file, not to a single safetensors file; leave the "
                "extension away: " +
                    options.output.string());
  return extension == ".gguf" ? Spelling::gguf : Spelling::huggingface;
}

void apply_overrides(Recipe& recipe, const QuantizeModelOptions& options, const ModelConfig& config) {
  if (config.tied_embedding && !options.embedding.empty() && !options.head.empty() && options.embedding != options.head)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("this model's embedding is its head, too, and can have one format only; give one of the two: {} and {}",
                            options.embedding, options.head),
                "embedding");
  if (!options.embedding.empty()) override_embedding(recipe, options.embedding);
  if (!options.head.empty()) override_head(recipe, options.head);
}

void require_shape(const StoredTensor& stored, const ModelTensor& tensor) {
  if (is_same_shape(stored.shape, tensor.shape)) return;
  throw Error(ErrorKind::corrupt, fmt::format("{}: tensor '{}' does not have the shape that the model's configuration asks for: {}, not {}",
                                              stored.file, stored.name, shape_text(stored.shape), shape_text(tensor.shape)));
}

void refuse_requantizing(const StoredTensor& stored, const FormatPtr& target, const QuantizeModelOptions& options) {
  const FormatPtr& from = stored.view.format;
  if (options.allow_requantize || from->info().kind == FormatKind::raw || target->info().kind == FormatKind::raw || from->name() == target->name())
    return;
  throw Error(ErrorKind::unusable_input,
              fmt::format("{}: tensor '{}' is quantized already, and rounding it again adds to its loss; start from the original model, or insist: {} to {}",
                          stored.file, stored.name, from->name(), target->name()),
              "allow_requantize");
}

void refuse_planar_in_gguf(const TensorPlan& plan, const Recipe& recipe) {
  throw Error(ErrorKind::invalid_argument,
              fmt::format("a GGUF file cannot hold planar formats; write to a directory (an output name without .gguf), or choose a block format "
                          "such as q4_k: {} for '{}' by recipe '{}'",
                          plan.target.format->name(), plan.target.name, recipe.name));
}

TensorPlan plan_tensor(const StoredTensor& stored, const ModelTensor& tensor, const QuantizePlan& plan, const QuantizeModelOptions& options) {
  require_shape(stored, tensor);
  if (!stored.view.format)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: tensor '{}' has elements that are no weights: {}", stored.file, stored.name, dtype_name(stored.dtype)));
  TensorPlan result;
  result.source = &stored;
  result.role = tensor.role;
  result.kind = tensor.part;
  result.target.name = tensor.name(plan.target_spelling);
  result.target.shape = tensor.shape;
  TensorFacts facts = tensor_facts(tensor, plan.config);
  // What is given for static grids alone tells the weights nothing.
  const bool is_given = options.calibration.statistics != nullptr || !options.calibration.texts.empty();
  facts.has_importance = is_given && method_for(TensorPlan{}, options).needs() >= Needs::mean_square;
  result.rows = facts.rows;
  result.cols = facts.cols;
  if (plan.source_spelling != plan.target_spelling && tensor.permuted_heads != 0)
    result.permuted_head_dim = (tensor.shape.size() > 1 ? facts.rows : facts.cols) / tensor.permuted_heads;
  if (is_vector(tensor)) {
    result.target.format = plan.target_spelling == Spelling::gguf ? find_format("f32") : stored.view.format;
    return result;
  }
  const Assignment assignment = assign(plan.recipe, facts, stored.view.format);
  result.target.format = assignment.format;
  result.wanted = assignment.wanted;
  result.method = assignment.method.empty() ? options.method : assignment.method;
  if (!result.wanted.empty()) result.obstacle = Obstacle::row_length;
  if (!result.wanted.empty() && options.strict)
    throw Error(ErrorKind::unsupported, fmt::format("{} cannot hold tensor '{}', whose rows are not multiples of {}: {} columns",
                                                    result.wanted, result.target.name, find_format(result.wanted)->info().row_multiple, result.cols),
                "strict");
  refuse_requantizing(stored, result.target.format, options);
  if (result.method == "table" && result.target.format->info().kind != FormatKind::raw && !result.target.format->name().starts_with("table"))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the method table learns a format's points, which {} does not let it; choose a table format such "
                            "as table4:row, or the method imatrix",
                            result.target.format->name()));
  if (plan.target_spelling == Spelling::gguf && result.target.format->info().kind == FormatKind::planar) refuse_planar_in_gguf(result, plan.recipe);
  return result;
}

bool holds_same_values(const StoredTensor& a, const StoredTensor& b) {
  if (!a.view.format || !b.view.format || a.view.rows != b.view.rows || a.view.cols != b.view.cols) return false;
  if (a.view.format->name() == b.view.format->name() && !a.data.empty() && a.data.size() == b.data.size())
    return std::memcmp(a.data.data(), b.data.data(), a.data.size()) == 0;
  std::vector<float> left(a.view.cols), right(b.view.cols);
  for (std::uint64_t row = 0; row < a.view.rows; ++row) {
    a.view.decode_row(row, left);
    b.view.decode_row(row, right);
    if (left != right) return false;
  }
  return true;
}

// A head that lies in the file although the configuration says that the embedding is the head; null: there is none.
const StoredTensor* find_second_head(const Checkpoint& source, const QuantizePlan& plan) {
  if (!plan.config.tied_embedding) return nullptr;
  const auto& patterns = find_architecture(plan.config.architecture).tensors;
  const auto head = std::ranges::find(patterns, TensorRole::head, &TensorPattern::role);
  return head == patterns.end() ? nullptr : source.find(plan.source_spelling == Spelling::gguf ? head->gguf : head->hf);
}

void judge_second_head(const Checkpoint& source, const StoredTensor& head, const QuantizeModelOptions& options, QuantizePlan& plan) {
  const auto embedding = std::ranges::find(plan.tensors, TensorRole::embedding, &TensorPlan::role);
  if (embedding != plan.tensors.end() && holds_same_values(head, *embedding->source)) return;
  add_loss(fmt::format("{}: '{}' differs from the embedding, although the configuration ties the two (tie_word_embeddings); the embedding is used as "
                       "the head and '{}' is left out; set tie_word_embeddings to false if it is meant",
                       source.path().string(), head.name, head.name),
           options.strict, plan.notes);
}

void note_narrowed(QuantizePlan& plan) {
  const auto count = std::ranges::count_if(plan.tensors, [](const TensorPlan& tensor) { return tensor.source->type_name == "F64"; });
  if (count > 0) plan.notes.push_back(fmt::format("{} of {} tensors are stored in F64 and were narrowed to f32", count, plan.tensors.size()));
}

}  // namespace

void add_loss(std::string loss, bool strict, std::vector<std::string>& notes) {
  if (strict) throw Error(ErrorKind::unsupported, loss, "strict");
  notes.push_back(std::move(loss));
}

void require_readable(const Checkpoint& written, const ModelConfig& meant, const std::string& output) {
  const auto refuse = [&](const std::string& why) { throw Error(ErrorKind::internal, fmt::format("{}: read back {}", output, why)); };
  try {
    const ModelConfig config = read_model_config(written);
    if (config.vocab_size != meant.vocab_size || config.hidden != meant.hidden || config.intermediate != meant.intermediate ||
        config.layers != meant.layers || config.heads != meant.heads || config.kv_heads != meant.kv_heads || config.head_dim != meant.head_dim ||
        config.tied_embedding != meant.tied_embedding)
      refuse("has another configuration");
    const ModelTensors tensors(config);
    for (const ModelTensor& tensor : tensors.all()) require_shape(written.tensor(tensor.name(spelling_of(written))), tensor);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) throw;
    refuse(fmt::format("is no model: {}", error.what()));
  }
}

TensorFacts tensor_facts(const ModelTensor& tensor, const ModelConfig& config) {
  TensorFacts facts;
  facts.name = tensor.gguf_name;
  facts.own_name = tensor.hf_name;
  facts.rows = tensor.shape.size() > 1 ? tensor.shape[0] : 1;
  facts.cols = tensor.shape.back();
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

bool is_vector(const ModelTensor& tensor) { return tensor.role == TensorRole::norm || tensor.role == TensorRole::bias; }

std::uint64_t plane_bytes(const Format& format, std::uint64_t rows, std::uint64_t cols) {
  std::uint64_t total = 0;
  for (const PlaneSpec& plane : format.planes(rows, cols)) total += plane.bytes;
  return total;
}

QuantizePlan plan_quantization(const Checkpoint& source, const QuantizeModelOptions& options) {
  QuantizePlan plan;
  plan.config = read_model_config(source);
  plan.source_spelling = spelling_of(source);
  plan.recipe = options.recipe;
  apply_overrides(plan.recipe, options, plan.config);
  plan.target_spelling = decide_container(options, plan.recipe);
  find_method(options.method);
  const ModelTensors model(plan.config);
  std::unordered_set<std::string_view> used;
  for (const ModelTensor& tensor : model.all()) {
    const StoredTensor& stored = source.tensor(tensor.name(plan.source_spelling));
    used.insert(stored.name);
    plan.tensors.push_back(plan_tensor(stored, tensor, plan, options));
  }
  if (const StoredTensor* const head = find_second_head(source, plan)) {
    judge_second_head(source, *head, options, plan);
    used.insert(head->name);
  }
  note_narrowed(plan);
  for (const StoredTensor& stored : source.tensors())
    if (!used.contains(stored.name) && stored.name != kRopeDivisorsName && !is_activation_tensor(stored.name)) plan.ignored.push_back(stored.name);
  // What scales are folded into must hold them exactly enough, whoever chose the method that folds.
  if (moves_activations(plan, options))
    for (TensorPlan& tensor : plan.tensors)
      if (tensor.role == TensorRole::norm || tensor.role == TensorRole::bias) tensor.target.format = find_format("f32");
  if (plan.target_spelling == Spelling::gguf) plan.rope_divisors = rope_frequency_divisors(plan.config.rope);
  return plan;
}

namespace {

void substitute_unheld(TensorPlan& tensor, const QuantizeModelOptions& options, ThreadPool& pool) {
  const FormatPtr wanted = tensor.target.format;
  const QuantizedView& view = tensor.source->view;
  if (wanted->name() == view.format->name() || wanted->name() == "f32") return;
  const FitOptions fit = method_for(tensor, options).fit;
  const MagnitudeSample sample(view, scan_for(*view.format, *wanted), pool, options.isa);
  const FormatPtr held = held_format(wanted, sample, fit, tensor.cols);
  if (held->name() == wanted->name()) return;
  // A half that overflows is refused where it is written, by its position.
  if (wanted->name() == "f16" && static_cast<double>(sample.largest()) > wanted->info().max_magnitude) return;
  if (options.strict)
    throw Error(ErrorKind::unsupported,
                fmt::format("{} cannot hold tensor '{}', whose weights are too large or too small for its scales; the largest magnitude is "
                            "{:.3g}",
                            wanted->name(), tensor.target.name, sample.largest()),
                "strict");
  if (tensor.wanted.empty()) tensor.wanted = wanted->name();
  tensor.obstacle = Obstacle::magnitude;
  tensor.target.format = held;
}

}  // namespace

void substitute_unheld(QuantizePlan& plan, const Checkpoint& source, const QuantizeModelOptions& options, ThreadPool& pool) {
  for (TensorPlan& tensor : plan.tensors) {
    if (tensor.role == TensorRole::norm || tensor.role == TensorRole::bias) continue;
    substitute_unheld(tensor, options, pool);
    source.release(*tensor.source);
  }
}

}  // namespace nibble
