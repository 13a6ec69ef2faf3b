// SPDX-License-Identifier: Apache-2.0
//
// Models that the tests of the pipeline work on.
#pragma once

#include <cstring>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "base/random.h"
#include "base/scratch_directory.h"
#include "base/thread_pool.h"
#include "io/checkpoint_writer.h"
#include "model/source_model.h"
#include "nibble/error.h"
#include "pipeline/quantize/quantize_model.h"
#include "pipeline/synth.h"

namespace nibble {

inline const std::filesystem::path kGroupedModel =
    NIBBLE_SOURCE_DIR "/tests/data/tiny_gqa_llama3rope";  // f32, rope scaling, grouped heads
inline const std::filesystem::path kTiedModel =
    NIBBLE_SOURCE_DIR "/tests/data/tiny_tied";  // f16, the embedding is the head

// A model of random weights with rows of `hidden` and twice as many columns and a tokenizer, tied.
inline std::filesystem::path small_synth(const ScratchDirectory& scratch, ThreadPool& pool,
                                         std::uint64_t hidden = 256) {
  SynthShape shape{.name = "small",
                   .hidden = hidden,
                   .intermediate = 2 * hidden,
                   .layers = 2,
                   .heads = 4,
                   .kv_heads = 2,
                   .head_dim = hidden / 4,
                   .vocab = 300,
                   .context = 128,
                   .tied = true};
  synthesize_model(shape, {.output = scratch / "small"}, pool, {});
  return scratch / "small";
}

inline QuantizeSummary quantize_to(const std::filesystem::path& model, const std::string& format,
                                   const std::filesystem::path& output, Machine& machine) {
  QuantizeModelOptions options;
  choose_format(options, format);
  options.output = output;
  return quantize_model(SourceModel::open(model), options, machine, {});
}

inline std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Copies a directory model, letting `edit` change the values of its tensors (as f32).
inline std::filesystem::path edited_copy(
    const std::filesystem::path& model, const std::filesystem::path& output,
    const std::function<void(const std::string& tensor, std::span<float> values)>& edit) {
  const SourceModel source = SourceModel::open(model);
  std::vector<PlannedTensor> plan;
  for (const StoredTensor& stored : source.tensors()) plan.push_back({stored.name, stored.shape, find_format("f32")});
  const auto writer = make_directory_writer(output, {{"config.json", source.config_json()}}, plan);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const StoredTensor& stored = source.tensors()[i];
    std::vector<float> values = stored.values.decode();
    edit(stored.name, values);
    QuantizedTensor raw(find_format("f32"), stored.values.rows(), stored.values.cols());
    std::memcpy(raw.planes[0].data(), values.data(), values.size() * sizeof(float));
    writer->write_rows(i, raw.view());
  }
  writer->finish();
  return output;
}

// The same where one tensor is changed.
inline std::filesystem::path edited_copy(const std::filesystem::path& model, const std::string& tensor,
                                         const std::filesystem::path& output,
                                         const std::function<void(std::span<float>)>& edit) {
  return edited_copy(model, output, [&](const std::string& name, std::span<float> values) {
    if (name == tensor) edit(values);
  });
}

// A network that takes no time, of any family.
inline SynthShape small_shape(std::string architecture, std::uint64_t layers, std::uint64_t intermediate) {
  SynthShape shape;
  shape.name = "small";
  shape.architecture = std::move(architecture);
  shape.hidden = 64;
  shape.intermediate = intermediate;
  shape.layers = layers;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 16;
  shape.vocab = 300;
  shape.context = 128;
  // llama.cpp reads some only with a head of their own.
  shape.tied =
      shape.architecture != "gptoss" && shape.architecture != "qwen2moe" && !shape.architecture.starts_with("olmo");
  if (shape.architecture == "olmoe") shape.kv_heads = shape.heads;
  if (shape.architecture == "olmo2") shape.rope_theta = 500000;  // that of the layers that slide
  if (shape.architecture == "lfm2") shape.full_every = 2;
  if (shape.architecture.starts_with("qwen35")) {
    shape.delta_heads = 6;
    shape.delta_key_heads = 2;
    shape.delta_dim = 16;
    shape.full_every = 2;
  }
  return shape;
}

// A model of random weights with a tokenizer, in scratch / "model". Weights of 0.02 would let every layer give next to
// nothing, and norms of 1 would hide which of them is which.
inline std::filesystem::path spread_synth(const SynthShape& shape, const ScratchDirectory& scratch, ThreadPool& pool) {
  synthesize_model(shape, {.output = scratch / "small"}, pool, {});
  edited_copy(scratch / "small", scratch / "model", [](const std::string& tensor, std::span<float> values) {
    Random random(values.size());
    const bool is_norm = tensor.find("norm") != std::string::npos || tensor.find("scal") != std::string::npos;
    for (float& value : values) value = is_norm ? value + 0.3F * static_cast<float>(random.normal()) : 8 * value;
  });
  for (const char* const side : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(scratch / "small" / side, scratch / "model" / side);
  return scratch / "model";
}

}  // namespace nibble
