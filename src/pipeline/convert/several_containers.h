// SPDX-License-Identifier: Apache-2.0
//
// One quantization in several containers: the first that holds its formats as they are is written by the quantization
// itself, the others are made from it with the same numbers. Whether they can is found before the work. Internal to
// pipeline/ and cli/.
//
//   const std::vector<ContainerOutput> outputs = arrange_outputs(source, request, {"gptq", "gguf"}, "out");
//   // out-gptq and out.gguf; quantize_model writes the first, then
//   for (const ContainerOutput& copy : outputs | std::views::drop(1)) write_copy(outputs[0], copy, ...);
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/convert/convert_model.h"
#include "pipeline/export/container.h"
#include "pipeline/export/runtime.h"
#include "pipeline/quantize/quantize_model.h"

namespace nibble {

struct ContainerOutput {
  const Container* container = nullptr;
  std::filesystem::path path;
  std::uint64_t tensor_bytes = 0;  // as planned, of those that arrange_outputs has found places for
};

// Each beside the others: OUT.gguf, OUT-gptq. Error(invalid_argument): a name that is not known, or given twice.
std::vector<ContainerOutput> outputs_named(const std::vector<std::string>& containers,
                                           const std::filesystem::path& output);

// The same with the one to be quantized into in front. Error(invalid_argument): none holds the formats as they are (by
// what the first says), or one cannot hold the numbers of a format that is planned, whatever its own.
std::vector<ContainerOutput> arrange_outputs(const SourceModel& source, const QuantizeModelOptions& request,
                                             const std::vector<std::string>& containers,
                                             const std::filesystem::path& output);

// The first of a runtime's containers that the request can be written into, for it. Errors as plan_quantization's of
// the first.
const Container& container_for(const Runtime& runtime, const SourceModel& source, const QuantizeModelOptions& request);

// Errors as convert_model's.
ConvertSummary write_copy(const ContainerOutput& made, const ContainerOutput& copy, const QuantizeModelOptions& request,
                          Machine& machine, const ProgressCallback& progress);

}  // namespace nibble
