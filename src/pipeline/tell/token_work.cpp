// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/token_work.h"

#include <cmath>

#include "pipeline/quantize/quantize_plan.h"

namespace nibble {

double share_read(const ModelTensor& tensor, const ModelConfig& config) {
  const bool makes_logits = tensor.part == "embedding" && config.tied_embedding;
  if (tensor.role == TensorRole::embedding && !makes_logits) return 0;
  if (tensor.experts == 0) return 1;
  return static_cast<double>(config.experts_used) / static_cast<double>(tensor.experts);
}

FormatPtr running_format(const ModelTensor& tensor, const ModelConfig& config, FormatPtr stored) {
  const bool is_widened = config.latent != 0 && tensor.part == "kv_b" && stored->info().kind != FormatKind::raw;
  return is_widened ? find_format("f32") : stored;
}

namespace {

std::uint64_t running_bytes(const ModelTensor& tensor, const ModelConfig& config, const StoredTensor& stored) {
  const FormatPtr& format = stored.values.format();
  const FormatPtr running = format ? running_format(tensor, config, format) : format;
  if (running == format) return stored.bytes;
  const MatrixSize size = matrix_size(stored.shape);
  return plane_bytes(*running, size.rows, size.cols);
}

}  // namespace

TokenWork work_of_token(const SourceModel& model) {
  const ModelConfig& config = model.config();
  const ModelTensors& parts = model.parts();
  double bytes = 0, linear_parameters = 0;
  for (const StoredTensor& stored : model.tensors())
    if (const ModelTensor* tensor = parts.find(stored.name))
      bytes += static_cast<double>(running_bytes(*tensor, config, stored)) * share_read(*tensor, config);
  for (const ModelTensor& tensor : parts.all())
    if (tensor.role == TensorRole::linear && tensor.layer >= 0)
      linear_parameters +=
          static_cast<double>(checked_elements(tensor.shape, tensor.part)) * share_read(tensor, config);
  return {static_cast<std::uint64_t>(std::llround(bytes)), static_cast<std::uint64_t>(std::llround(linear_parameters)),
          config.vocab_size * config.hidden};
}

}  // namespace nibble
