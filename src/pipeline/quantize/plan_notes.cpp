// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/plan_notes.h"

#include <fmt/format.h>

#include <algorithm>

#include "pipeline/export/container.h"
#include "quantize/method.h"
#include "tensor/shape.h"

namespace nibble {

// Tensors of a network that is not understood which have more than two dimensions: experts in a stack, convolutions.
std::string stacked_note(const QuantizePlan& plan) {
  std::uint64_t stacked = 0, count = 0, all = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    const std::uint64_t elements = tensor.rows * tensor.cols;
    all += elements;
    if (tensor.target.shape.size() < 3 || tensor.role != TensorRole::norm) continue;
    ++count;
    stacked += elements;
  }
  if (count == 0) return {};
  return fmt::format(
      "tensors of more than two dimensions (experts in a stack, convolutions) stay as they are: {} of them, {:.1f} % "
      "of the parameters",
      count, 100.0 * static_cast<double>(stacked) / static_cast<double>(all));
}

// What stays in floating point because the container has it so, where the recipe means it, too.
void note_uncoded(QuantizePlan& plan, bool strict) {
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.uncoded.empty()) continue;
    const std::string& source = tensor.source->values.format()->name();
    const std::string& target = tensor.target.format->name();
    add_loss(fmt::format("'{}' is {}{} and not {}: the container {} has none in codes", tensor.target.name, target,
                         source == target ? "" : ", rounded from " + source, tensor.uncoded, plan.container->name()),
             strict, plan.notes);
  }
}

// A quantization that quantizes nothing is hardly meant.
std::string nothing_note(const QuantizePlan& plan) {
  const auto is_quantized = [](const TensorPlan& tensor) {
    return tensor.target.format->info().kind != FormatKind::raw;
  };
  const std::string& wanted = plan.recipe.main_format;
  if (wanted.empty() || wanted == kSourceFormat || find_format(wanted)->info().kind == FormatKind::raw) return {};
  const auto fell_back = [](const TensorPlan& tensor) { return !tensor.wanted.empty(); };  // which the summary tells
  if (std::ranges::any_of(plan.tensors, is_quantized) || std::ranges::any_of(plan.tensors, fell_back)) return {};
  return fmt::format("no matrix is quantized: each is excluded, or stays as it is; {}", wanted);
}

// What a configuration says of another program's quantization, whose tensors are plain all the same.
std::string foreign_words_note(const SourceModel& source) {
  const LayerReading& reading = source.layer_reading();
  const bool is_plain = std::ranges::none_of(source.tensors(), [](const StoredTensor& tensor) {
    return tensor.values.format() && tensor.values.format()->info().kind != FormatKind::raw;
  });
  return reading.method.empty() || !is_plain
             ? ""
             : fmt::format("{} speaks of a quantization, but the tensors are plain; its words are left out: {}",
                           reading.place, reading.method);
}

// Stock llama.cpp runs some families as if there were no window.
std::string window_note(const QuantizePlan& plan) {
  const ModelConfig& config = plan.config;
  if (plan.target_spelling != Spelling::gguf || config.sliding_window == 0 || config.sliding_window >= config.context)
    return {};
  if (find_architecture(config.architecture).llama_cpp_slides) return {};
  return fmt::format(
      "llama.cpp knows no sliding window of this family: texts of more than {} tokens give something else there than "
      "here",
      config.sliding_window);
}

// What stock llama.cpp computes otherwise for a whole family.
std::string fault_note(const QuantizePlan& plan) {
  if (plan.target_spelling != Spelling::gguf || plan.config.architecture.empty()) return {};
  return std::string(find_architecture(plan.config.architecture).llama_cpp_fault);
}

// Stock llama.cpp makes the borders of yarn whole.
std::string yarn_note(const QuantizePlan& plan) {
  const RopeConfig& rope = plan.config.rope;
  if (plan.target_spelling != Spelling::gguf || rope.scaling != RopeScaling::yarn || rope.whole_borders) return {};
  return "llama.cpp rounds the borders between which yarn blends positions: its logits differ a little from those here";
}

// Directories hold experts one by one, which of some families nobody else does.
std::string experts_note(const QuantizePlan& plan) {
  if (plan.target_spelling != Spelling::huggingface || !find_architecture(plan.config.architecture).hf_stacks_experts)
    return {};
  for (const TensorPlan& tensor : plan.tensors)
    if (tensor.kind == "expert_down")
      return fmt::format(
          "experts are written one by one, by names that are ours: transformers reads this family's from stacks alone, "
          "and not '{}'",
          tensor.target.name);
  return {};
}

}  // namespace nibble
