// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "io/layers/writers/layer_writer.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::array<std::string_view, 1> kGguf = {"gguf"}, kMlx = {"mlx"}, kOnnx = {"onnx"};
constexpr std::array<std::string_view, 2> kOrt = {"onnx-genai", "onnx"};
constexpr std::array<std::string_view, 3> kVllm = {"compressed-tensors", "gptq", "awq"},
                                          kOpenvino = {"onnx-genai", "onnx", "gguf"};
constexpr std::array<std::string_view, 5> kTransformers = {"gptq", "gptq_v2", "awq", "bitsandbytes",
                                                           "compressed-tensors"};

std::string takes_all(const PlannedTensor&) { return {}; }

// Of the kernels that it has for every processor of a kind.
std::string refuse_vllm(const PlannedTensor& matrix) {
  const PlanarSpec* const spec = planar_spec(matrix);
  if (spec == nullptr || spec->points != PlanarPoints::integer) return {};
  if (spec->bits != 4 && spec->bits != 8) return "vLLM has integers of 4 and 8 bits";
  if (!has_vllm_group(*spec)) return "vLLM has groups of 32, 64 and 128";
  return {};
}

constexpr auto kRuntimes = std::to_array<Runtime>({{"llama.cpp", "llama.cpp", kGguf, takes_all},
                                                   {"mlx", "mlx-lm", kMlx, takes_all},
                                                   {"openvino", "OpenVINO", kOpenvino, takes_all},
                                                   {"ort", "ONNX Runtime", kOrt, takes_all},
                                                   {"sglang", "SGLang", kVllm, refuse_vllm},
                                                   {"tensorrt", "TensorRT", kOnnx, takes_all},
                                                   {"transformers", "transformers", kTransformers, takes_all},
                                                   {"vllm", "vLLM", kVllm, refuse_vllm}});

}  // namespace

std::span<const Runtime> list_runtimes() { return kRuntimes; }

std::string runtime_names() {
  std::string names;
  for (const Runtime& runtime : kRuntimes) names += (names.empty() ? "" : ", ") + std::string(runtime.name);
  return names;
}

const Runtime& find_runtime(std::string_view name) {
  const auto found = std::ranges::find(kRuntimes, name, &Runtime::name);
  if (found != kRuntimes.end()) return *found;
  throw Error(ErrorKind::invalid_argument, fmt::format("unknown runtime '{}'; known are {}", name, runtime_names()));
}

}  // namespace nibble
