// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert/several_containers.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <span>

#include "base/output_file.h"
#include "nibble/error.h"
#include "pipeline/convert/places.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

QuantizeModelOptions into(const QuantizeModelOptions& request, const Container& container) {
  QuantizeModelOptions own = request;
  own.container = container.name();
  own.output.clear();
  return own;
}

// The request's plan in the first container that it can be written into. Errors as plan_quantization's of the first.
QuantizePlan plan_in_first(const SourceModel& source, const QuantizeModelOptions& request,
                           std::span<const Container* const> containers) {
  std::optional<Error> first_refusal;
  for (const Container* const container : containers) {
    try {
      return plan_quantization(source, into(request, *container));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::invalid_argument) throw;
      if (!first_refusal) first_refusal = error;
    }
  }
  throw *first_refusal;
}

// The plan as it will be in another container, so that it refuses now what it would refuse then: the bytes of its
// tensors.
std::uint64_t require_held_in(const Container& container, QuantizePlan plan, const QuantizeModelOptions& request) {
  std::map<std::string, Exactness> found;  // by format, role and shape
  for (TensorPlan& tensor : plan.tensors) {
    const FormatPtr& format = tensor.target.format;
    if (format->info().kind == FormatKind::raw) continue;
    if (!container.takes_codes(tensor.role)) {
      tensor.target.format = find_format("f32");
      continue;
    }
    const std::string kind =
        fmt::format("{} {} {}x{}", format->name(), static_cast<int>(tensor.role), tensor.rows, tensor.cols);
    auto known = found.find(kind);
    if (known == found.end())
      known =
          found.emplace(kind, find_place(container, format, tensor.role, tensor.target.name, tensor.rows, tensor.cols))
              .first;
    if (known->second.place.empty())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{} for '{}' has no place in the container {}: {}; docs/exactness.md shows which formats "
                              "have",
                              format->name(), tensor.target.name, container.name(), known->second.obstacle));
    tensor.target.format = find_format(known->second.place);
  }
  plan.container = &container;
  require_containable(plan, request);
  std::uint64_t bytes = 0;
  for (const TensorPlan& tensor : plan.tensors) bytes += plane_bytes(*tensor.target.format, tensor.rows, tensor.cols);
  return bytes;
}

}  // namespace

std::vector<ContainerOutput> outputs_named(const std::vector<std::string>& containers,
                                           const std::filesystem::path& output) {
  std::filesystem::path stem = output.has_filename() ? output : output.parent_path();
  if (const std::string name = stem.filename().string();
      !output.empty() && (name.empty() || name == "." || name == ".."))
    throw Error(ErrorKind::invalid_argument,
                "several outputs are named after one: give a name, as in -o DIR/NAME: " + output.string(), "output");
  if (lower_extension(stem) == ".gguf") stem.replace_extension();
  std::vector<ContainerOutput> outputs;
  for (const std::string& name : containers) {
    const Container& container = find_container(name);
    for (const ContainerOutput& other : outputs)
      if (other.container == &container)
        throw Error(ErrorKind::invalid_argument, fmt::format("the container {} is named twice", name));
    outputs.push_back({&container, stem.string() + (container.is_file() ? "." + name : "-" + name)});
  }
  return outputs;
}

std::vector<ContainerOutput> arrange_outputs(const SourceModel& source, const QuantizeModelOptions& request,
                                             const std::vector<std::string>& containers,
                                             const std::filesystem::path& output) {
  std::vector<ContainerOutput> outputs = outputs_named(containers, output);
  std::vector<const Container*> named;
  for (const ContainerOutput& one : outputs) named.push_back(one.container);
  const QuantizePlan plan = plan_in_first(source, request, named);
  const auto made = std::ranges::find(outputs, plan.container, &ContainerOutput::container);
  std::rotate(outputs.begin(), made, made + 1);
  for (std::size_t i = 1; i < outputs.size(); ++i) {
    outputs[i].tensor_bytes = require_held_in(*outputs[i].container, plan, request);
    if (!request.dry_run) require_place(source, *outputs[i].container, outputs[i].path);
  }
  return outputs;
}

const Container& container_for(const Runtime& runtime, const SourceModel& source, const QuantizeModelOptions& request) {
  std::vector<const Container*> containers;
  for (const std::string_view name : runtime.containers) containers.push_back(&find_container(name));
  return *plan_in_first(source, request, containers).container;
}

ConvertSummary write_copy(const ContainerOutput& made, const ContainerOutput& copy, const QuantizeModelOptions& request,
                          Machine& machine, const ProgressCallback& progress) {
  ConvertOptions options;
  options.output = copy.path;
  options.container = copy.container->name();
  options.sync = request.sync;
  options.shard_bytes = request.shard_bytes;
  options.strict = request.strict;
  options.onnx = request.onnx;
  try {
    return convert_model(SourceModel::open(made.path), options, machine, progress);
  } catch (const Error& error) {
    const bool is_stopped = error.kind() == ErrorKind::cancelled;
    throw Error(error.kind(), fmt::format("{} is whole, and {} was not written: {}", made.path.string(),
                                          copy.path.string(), is_stopped ? "stopped" : error.what()));
  }
}

}  // namespace nibble
