// SPDX-License-Identifier: Apache-2.0
#include "serve/api/served_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "pipeline/export/model_card.h"
#include "pipeline/tell/inspect.h"

namespace nibble::serve {

WeightFacts weight_facts(const SourceModel& model) {
  const ModelInfo info = describe_model(model);
  WeightFacts facts{.architecture = info.architecture,
                    .quantizer = info.quantizer,
                    .activations = info.activations,
                    .bits_per_weight = info.bits_per_weight,
                    .formats = {},
                    .verdict = verdict_of_card(model)};
  for (const TensorListing& tensor : list_tensors(model)) {
    auto share = std::ranges::find(facts.formats, tensor.format, &FormatShare::format);
    if (share == facts.formats.end()) share = facts.formats.insert(share, {.format = tensor.format});
    ++share->tensors;
    share->parameters += tensor.elements;
    share->bytes += tensor.bytes;
  }
  std::ranges::stable_sort(facts.formats, std::greater{}, &FormatShare::bytes);
  return facts;
}

std::string default_model_name(const std::string& path) {
  std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  return (whole.extension() == ".gguf" ? whole.stem() : whole.filename()).string();
}

std::string list_names(std::span<const ServedModel> models) {
  std::string names;
  for (const ServedModel& model : models)
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", model.names.front());
  return names;
}

}  // namespace nibble::serve
