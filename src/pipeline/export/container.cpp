// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/container.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "base/output_file.h"
#include "nibble/error.h"
#include "pipeline/export/runtime.h"

namespace nibble {

std::span<const Container* const> list_containers() {
  static const std::array<const Container*, 10> list = {&gguf_container(),         &nibble_container(),
                                                        &gptq_container(),         &gptq_v2_container(),
                                                        &awq_container(),          &compressed_tensors_container(),
                                                        &bitsandbytes_container(), &mlx_container(),
                                                        &onnx_genai_container(),   &onnx_container()};
  return list;
}

std::string container_names() {
  std::string names;
  for (const Container* const container : list_containers())
    names += (names.empty() ? "" : ", ") + std::string(container->name());
  return names;
}

const Container& find_container(std::string_view name) {
  for (const Container* const container : list_containers())
    if (container->name() == name) return *container;
  for (const Runtime& runtime : list_runtimes())
    if (runtime.name == name)
      throw Error(ErrorKind::invalid_argument, fmt::format("{} is a program, not a container: write {}, for {}",
                                                           runtime.title, fmt::join(runtime.containers, " or "), name));
  throw Error(ErrorKind::invalid_argument,
              "unknown container '" + std::string(name) + "'; known are " + container_names());
}

const Container& container_of(const std::filesystem::path& output) {
  const std::string extension = lower_extension(output);
  if (extension == ".safetensors")
    throw Error(ErrorKind::invalid_argument,
                "a model is written to a directory or to a .gguf file, not to a single safetensors file; leave the "
                "extension away: " +
                    output.string());
  if (extension == ".onnx" || extension == ".tflite")
    throw Error(ErrorKind::invalid_argument,
                "a language model is written to a directory or to a .gguf file; leave the extension away, and name "
                "the container onnx-genai or onnx for a directory with an ONNX graph: " +
                    output.string());
  return extension == ".gguf" ? gguf_container() : nibble_container();
}

const Container& choose_container(std::string_view name, const std::filesystem::path& output,
                                  const std::function<bool()>& needs_directory) {
  if (!name.empty()) return find_container(name);
  if (!output.empty()) return container_of(output);
  return needs_directory() ? nibble_container() : gguf_container();
}

void require_replaceable(const Container& container, const std::filesystem::path& output) {
  if (const std::string why = container.in_the_way(output); !why.empty())
    throw Error(ErrorKind::io, output.string() + ": exists and " + why + "; choose another output or remove it");
}

}  // namespace nibble
