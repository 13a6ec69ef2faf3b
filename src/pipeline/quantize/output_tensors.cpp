// SPDX-License-Identifier: Apache-2.0
//
// Tensors of a plan as files hold them.
#include <fmt/format.h>

#include "nibble/error.h"
#include "pipeline/quantize/quantize_plan.h"
#include "tensor/shape.h"

namespace nibble {

void require_whole_matrices(const PlannedTensor& tensor) {
  if (tensor.shape.size() < 3) return;
  const std::uint64_t rows = tensor.shape[tensor.shape.size() - 2];
  const std::uint64_t multiple = tensor.format->cut_multiple(tensor.shape.back());
  if (rows % multiple == 0) return;
  throw Error(ErrorKind::unsupported,
              fmt::format("{} keeps {} rows together, which would be those of two experts where each has {}; choose a "
                          "format with a scale for every row, or exclude the tensor: '{}'",
                          tensor.format->name(), multiple, rows, tensor.name));
}

void require_readable(const SourceModel& written, const QuantizePlan& plan, const std::string& output) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::internal, fmt::format("{}: read back {}", output, why));
  };
  try {
    for (const PlannedTensor& tensor : output_tensors(plan).planned)
      if (!is_same_shape(written.tensor(tensor.name).shape, tensor.shape))
        refuse("has a tensor of another shape: " + tensor.name);
    if (!plan.is_understood()) return;
    if (!is_same_network(written.config(), plan.config)) refuse("has another configuration");
    written.require_parts();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) throw;
    refuse(fmt::format("is no model: {}", error.what()));
  }
}

OutputTensors output_tensors(const QuantizePlan& plan) {
  OutputTensors outputs;
  for (const TensorPlan& tensor : plan.tensors) {
    PlannedTensor* const last = outputs.planned.empty() ? nullptr : &outputs.planned.back();
    if (last == nullptr || last->name != tensor.target.name)
      outputs.planned.push_back(tensor.target);
    else if (last->shape.size() > tensor.target.shape.size())
      ++last->shape[0];
    else
      last->shape.insert(last->shape.begin(), 2);
    outputs.of_plan.push_back(outputs.planned.size() - 1);
  }
  for (const RopeTensor& rope : plan.rope_tensors)
    outputs.planned.push_back({std::string(rope.name), {rope.values.size()}, find_format("f32")});
  return outputs;
}

std::uint64_t plane_bytes(const Format& format, std::uint64_t rows, std::uint64_t cols) {
  std::uint64_t total = 0;
  for (const PlaneSpec& plane : format.planes(rows, cols)) total += plane.bytes;
  return total;
}

}  // namespace nibble
