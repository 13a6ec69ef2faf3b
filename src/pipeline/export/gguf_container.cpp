// SPDX-License-Identifier: Apache-2.0
#include <fstream>

#include "format/row_tiles.h"
#include "nibble/error.h"
#include "pipeline/export/container.h"
#include "pipeline/export/manifest.h"
#include "pipeline/export/model_card.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

// Layers that guess further tokens are left out: what counts layers must not count them.
void forget_guessing_layers(const ModelConfig& config, GgufMetadata& metadata) {
  if (config.guessing_layers == 0) return;
  const std::string prefix = std::string(find_architecture(config.architecture).gguf_name) + ".";
  metadata.set(prefix + "block_count", GgufValue::of_u32(static_cast<std::uint32_t>(config.layers)));
  metadata.erase(prefix + "nextn_predict_layers");
  if (!config.recurs.empty()) metadata.set(prefix + "attention.recurrent_layers", GgufValue::of_bools(config.recurs));
}

// What makes keys and values of a latent vector is written as one matrix, whatever the source had.
void join_latent_halves(const ModelConfig& config, GgufMetadata& metadata) {
  if (config.latent == 0) return;
  const Architecture& architecture = find_architecture(config.architecture);
  const std::string prefix = std::string(architecture.gguf_name) + ".";
  for (const char* const key : {"attention.key_length_mla", "attention.value_length_mla"}) metadata.erase(prefix + key);
  metadata.set(prefix + "attention.head_count_kv", GgufValue::of_u32(static_cast<std::uint32_t>(config.kv_heads)));
  architecture.write_gguf(config, prefix, metadata);
}

// A GGUF source keeps its keys; a directory's configuration and tokenizer are translated. A model without a tokenizer
// gets tokenizer.ggml.model = "none".
GgufMetadata make_metadata(const ContainerContents& contents) {
  const auto& [source, plan, activations, manifest, tensors] = contents;
  GgufMetadata metadata;
  if (plan.source_spelling == Spelling::gguf) {
    metadata = source.gguf();
    for (const char* key : {"split.no", "split.count", "split.tensors.count"}) metadata.erase(key);
    forget_guessing_layers(plan.config, metadata);
    join_latent_halves(plan.config, metadata);
    if (plan.recipe.file_type) metadata.set("general.file_type", GgufValue::of_u32(*plan.recipe.file_type));
  } else {
    metadata = to_gguf_metadata(plan.config, {.name = {}, .file_type = plan.recipe.file_type});
    if (source.has_tokenizer()) {
      const GgufMetadata tokenizer = source.tokenizer().to_gguf(plan.config.vocab_size);
      for (const auto& item : tokenizer.items()) metadata.set(item.key, item.value);
    } else {
      metadata.set("tokenizer.ggml.model", GgufValue::of_string("none"));
    }
  }
  put_activations(activations, metadata);
  metadata.set("general.quantization_version", GgufValue::of_u32(2));
  metadata.set(kManifestKey, GgufValue::of_string(manifest));
  metadata.set(std::string(kBaseModelKey), GgufValue::of_string(base_name_of(source)));
  return metadata;
}

// What cannot be read as a model is nobody's output.
bool is_own_file(const std::filesystem::path& path) {
  try {
    return Checkpoint::open(path).gguf().find(kManifestKey) != nullptr;
  } catch (const Error&) {
    return false;
  }
}

class GgufContainer final : public Container {
 public:
  std::string_view name() const noexcept override { return "gguf"; }
  std::string_view description() const noexcept override {
    return "one GGUF file, for llama.cpp and what is built on it";
  }
  Spelling naming() const noexcept override { return Spelling::gguf; }
  bool is_file() const noexcept override { return true; }
  std::string refusal(const PlannedTensor& tensor, TensorRole) const override {
    if (tensor.format->info().kind != FormatKind::planar) return {};
    if (find_row_tiles(*tensor.format) != nullptr)
      return "a GGUF file cannot hold trellises; write to a directory (an output name without .gguf), of which nibble "
             "convert makes a file with the same numbers in q8_0, or choose a block format such as q4_k";
    if (tensor.format->info().unit != 1)
      return "a GGUF file cannot hold lattices; write to a directory (an output name without .gguf), of which nibble "
             "convert makes a file with the same numbers in q5_0, or choose a block format such as iq2_xs";
    return "a GGUF file cannot hold planar formats; write to a directory (an output name without .gguf), or choose a "
           "block format such as q4_k";
  }
  std::uint64_t margin() const noexcept override { return 32; }  // padding
  std::string in_the_way(const std::filesystem::path& output) const override {
    std::error_code ignored;
    if (std::filesystem::is_directory(output, ignored)) return "is a directory";
    if (!std::filesystem::is_regular_file(output, ignored)) return {};
    if (std::filesystem::file_size(output, ignored) == 0) return {};
    std::string start(4, '\0');
    std::ifstream file(output, std::ios::binary);
    file.read(start.data(), static_cast<std::streamsize>(start.size()));
    if (start != "GGUF") return "is no GGUF file";
    return is_own_file(output) ? "" : "was not written by nibble";
  }
  std::unique_ptr<CheckpointWriter> make_writer(const ContainerContents& contents,
                                                const std::filesystem::path& output) const override {
    return make_gguf_writer(output, make_metadata(contents), contents.tensors);
  }
  std::vector<std::string> notes(const SourceModel& source, const QuantizePlan&,
                                 const std::optional<ActivationFormat>&) const override {
    if (source.spelling() == Spelling::gguf || source.has_tokenizer()) return {};
    return {
        "no tokenizer lies beside the weights, so the GGUF file has none, and programs that read text cannot run it"};
  }
  std::vector<std::string> losses(const SourceModel& source) const override {
    if (source.spelling() == Spelling::gguf || !source.has_tokenizer()) return {};
    const Tokenizer& tokenizer = source.tokenizer();
    return tokenizer.lost_in_gguf(tokenizer.to_gguf(source.config().vocab_size));
  }
};

}  // namespace

const Container& gguf_container() {
  static const GgufContainer container;
  return container;
}

}  // namespace nibble
