// SPDX-License-Identifier: Apache-2.0
//
// The tiny random models under tests/data, whole or with something changed, and the logits that the transformers
// package gives for them.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/scratch_directory.h"
#include "engine/decoder.h"
#include "io/checkpoint.h"
#include "model/arch/architecture.h"
#include "nibble/error.h"

namespace nibble {

inline std::filesystem::path data_directory() { return std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data"; }

// Llama's five, Gemma 4's three, DeepSeek's three, OLMo's and Granite's second, and one of every further family: each
// has to have one.
inline std::vector<std::string> tiny_models() {
  std::vector<std::string> names = {"tiny_gqa_llama3rope", "tiny_tied",           "tiny_mistral",
                                    "tiny_mixtral",        "tiny_yarn",           "tiny_gemma4_moe",
                                    "tiny_gemma4_unified", "tiny_deepseek2_lite", "tiny_glm4_moe_lite",
                                    "tiny_olmo3",          "tiny_granite_hybrid"};
  for (const Architecture& family : all_architectures())
    if (family.name != "llama") names.push_back("tiny_" + std::string(family.name));
  return names;
}

// A Hugging Face directory read into memory, to be changed and written elsewhere.
struct EditableModel {
  struct Stored {
    std::string dtype;
    std::vector<std::uint64_t> shape;
    std::string bytes;
  };
  nlohmann::json config;
  std::map<std::string, Stored> tensors;

  static EditableModel read(const std::filesystem::path& directory) {
    EditableModel model;
    model.config = nlohmann::json::parse(read_text(directory / "config.json"));
    const std::string file = read_text(directory / "model.safetensors");
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
    const auto header = nlohmann::json::parse(file.substr(8, header_bytes));
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") continue;
      const std::uint64_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
      model.tensors[name] = {entry["dtype"], entry["shape"], file.substr(8 + header_bytes + begin, end - begin)};
    }
    return model;
  }

  void write(const std::filesystem::path& directory) const {
    std::filesystem::create_directories(directory);
    std::ofstream(directory / "config.json") << config.dump(2);
    nlohmann::ordered_json header;
    header["__metadata__"] = {{"format", "pt"}};
    std::uint64_t offset = 0;
    std::string body;
    for (const auto& [name, tensor] : tensors) {
      header[name] = {
          {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes.size()}}};
      offset += tensor.bytes.size();
      body += tensor.bytes;
    }
    const std::string text = header.dump();
    const std::uint64_t length = text.size();
    std::ofstream out(directory / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << text << body;
  }
};

// Gemma 3 as models that also read pictures are stored: the tiny model of text alone, wrapped. prefix stands in place
// of "model.".
inline EditableModel gemma3_with_pictures(const std::string& prefix, const std::string& vision) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_gemma3");
  nlohmann::json text = model.config;
  for (const char* const key : {"architectures", "bos_token_id", "eos_token_id"}) text.erase(key);
  model.config = {{"architectures", {"Gemma3ForConditionalGeneration"}},
                  {"model_type", "gemma3"},
                  {"eos_token_id", {1, 106}},
                  {"image_token_index", 199},
                  {"torch_dtype", "float32"},
                  {"text_config", text},
                  {"vision_config", {{"model_type", "siglip_vision_model"}, {"hidden_size", 32}}}};
  std::map<std::string, EditableModel::Stored> tensors;
  for (auto& [name, stored] : model.tensors) tensors[prefix + name.substr(6)] = std::move(stored);
  const EditableModel::Stored some = tensors.at(prefix + "norm.weight");
  tensors[vision + "vision_tower.vision_model.encoder.layers.0.layer_norm1.weight"] = some;
  tensors[vision + "multi_modal_projector.mm_soft_emb_norm.weight"] = some;
  model.tensors = std::move(tensors);
  return model;
}

struct ReferenceLogits {
  std::vector<std::int32_t> ids;
  std::map<std::size_t, std::vector<float>> at;  // position -> logits
  double mean_nll = 0;

  static ReferenceLogits read(const std::string& name) {
    const auto directory = data_directory() / "logits" / name;
    const auto index = nlohmann::json::parse(read_text(directory / "index.json"));
    ReferenceLogits reference;
    reference.ids = index["ids"].get<std::vector<std::int32_t>>();
    reference.mean_nll = index["mean_negative_log_likelihood"];
    for (const auto& [position, file] : index["files"].items()) {
      const std::string bytes = read_text(directory / file.get<std::string>());
      std::vector<float> values(bytes.size() / sizeof(float));
      std::memcpy(values.data(), bytes.data(), bytes.size());
      EXPECT_EQ(values.size(), index["vocab_size"].get<std::size_t>());
      reference.at[std::stoul(position)] = std::move(values);
    }
    return reference;
  }
};

// Everything in f32.
inline DecoderOptions exact_options() {
  DecoderOptions options;
  options.kernels = {ActivationMode::f32};
  options.kv = KvType::f32;
  return options;
}

inline std::vector<float> all_logits(Decoder& decoder, const std::vector<std::int32_t>& ids) {
  KvCache cache = decoder.new_cache(ids.size());
  std::vector<float> logits(ids.size() * decoder.config().vocab_size);
  decoder.forward(cache, ids, LogitsFor::all, logits);
  return logits;
}

// max |a - b| / max |b|
inline double relative_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, scale = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    difference = std::isnan(x) ? INFINITY : std::max(difference, std::abs(x - y));
    scale = std::max(scale, std::abs(y));
  }
  return difference / scale;
}

// The kind and message of the Error that `work` throws.
template <class Work>
std::pair<ErrorKind, std::string> error_of(Work&& work) {
  try {
    work();
  } catch (const Error& e) {
    return {e.kind(), e.what()};
  }
  ADD_FAILURE() << "no error";
  return {ErrorKind::internal, ""};
}

}  // namespace nibble
