// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/planned_summary.h"

#include "format/activation_format.h"
#include "io/packing/part_planes.h"

namespace nibble {
namespace {

// Of a tensor's planes, and of those of what it has beside codes and grids.
std::uint64_t stored_bytes(const TensorPlan& tensor) {
  std::uint64_t total = plane_bytes(*tensor.target.format, tensor.rows, tensor.cols);
  if (!tensor.target.parts) return total;
  for (const PartPlane& plane : pack_parts(*tensor.target.parts)) total += plane.tensor.bytes.size();
  return total;
}

}  // namespace

std::uint64_t tensor_bytes(const QuantizePlan& plan) {
  std::uint64_t total = 0;
  for (const RopeTensor& rope : plan.rope_tensors) total += rope.values.size() * sizeof(float);
  for (const TensorPlan& tensor : plan.tensors) total += stored_bytes(tensor);
  return total;
}

QuantizeSummary summarize(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options) {
  QuantizeSummary summary;
  summary.output = options.output;
  summary.recipe = plan.recipe.name;
  if (options.activations) summary.activations = activation_format_name(options.activations->format);
  summary.ignored = plan.ignored;
  summary.notes = plan.notes;
  summary.source_bytes = source.file_bytes();
  std::uint64_t linear_bytes = 0, linear_elements = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    TensorSummary item;
    item.name = tensor.target.name;
    item.rows = tensor.rows;
    item.cols = tensor.cols;
    item.source_format = tensor.source->values.format()->name();
    item.format = tensor.target.format->name();
    item.wanted = tensor.wanted;
    item.obstacle = tensor.obstacle;
    item.linear = tensor.role == TensorRole::linear;
    item.kind = tensor.kind;
    item.bytes = stored_bytes(tensor);
    summary.parameters += item.elements();
    if (item.linear) {
      linear_bytes += item.bytes;
      linear_elements += item.elements();
    }
    if (!item.wanted.empty()) {
      ++summary.substitutions;
      summary.substituted_parameters += item.elements();
    }
    summary.tensors.push_back(std::move(item));
  }
  summary.tensor_bytes = tensor_bytes(plan);
  const auto bits = [](std::uint64_t bytes, std::uint64_t count) {
    return count == 0 ? 0.0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(count);
  };
  summary.bits_per_weight = bits(summary.tensor_bytes, summary.parameters);
  summary.linear_bits_per_weight = bits(linear_bytes, linear_elements);
  return summary;
}

}  // namespace nibble
