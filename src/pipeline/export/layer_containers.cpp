// SPDX-License-Identifier: Apache-2.0
//
// Directories whose matrices lie as another program has them: each is a writer (io/layers/writers) and its name.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "format/outlier_format.h"
#include "format/sparse_format.h"
#include "io/json_text.h"
#include "io/layers/writers/layer_writer.h"
#include "pipeline/export/directory_container.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

constexpr const char* kTransformers =
    "python3 -c \"from transformers import pipeline; print(pipeline('text-generation', '.')('Once upon a time'))\"";
constexpr const char* kVllm = "vllm serve .\n";  // left out of what it does not load

bool is_coded(const PlannedTensor& tensor) { return tensor.format->info().kind != FormatKind::raw; }

// The format of the codes beside which there is something more; null where there is nothing.
FormatPtr codes_alone(const Format& format) {
  if (const OutlierFormat* const outliers = find_outlier_format(format)) return outliers->weights();
  if (const SparseFormat* const sparse = find_sparse_format(format)) return sparse->weights();
  return nullptr;
}

LayerPlan layer_plan(const QuantizePlan& plan, const std::optional<ActivationFormat>& activations) {
  LayerPlan layers;
  bool has_head = false;
  const OutputTensors outputs = output_tensors(plan);
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
    const TensorPlan& tensor = plan.tensors[i];
    if (tensor.role == TensorRole::head) has_head = true;
    if (i > 0 && outputs.of_plan[i] == outputs.of_plan[i - 1]) continue;  // of a stack
    if (is_coded(tensor.target))
      layers.coded.push_back(outputs.planned[outputs.of_plan[i]]);
    else if (!is_vector(tensor.role) && tensor.role != TensorRole::embedding && tensor.target.shape.size() == 2)
      layers.plain.emplace_back(module_of(tensor.target.name));
  }
  if (!has_head)
    layers.plain.emplace_back(kHead);  // which shares the embedding's weights, and is a module all the same
  layers.activations = activations;
  return layers;
}

class LayerContainer final : public DirectoryContainer {
 public:
  LayerContainer(std::string_view name, std::string_view description, std::string use, const LayerWriter& writer)
      : name_(name), description_(description), use_(std::move(use)), writer_(writer) {}

  std::string_view name() const noexcept override { return name_; }
  std::string_view description() const noexcept override { return description_; }
  const std::string& name_of(const ModelTensor& tensor) const override {
    const bool is_stacked = writer_.stacks_experts() && tensor.experts != 0 && !tensor.hf_own_stack.empty();
    return is_stacked ? tensor.hf_own_stack : tensor.hf_name;
  }
  bool holds(TensorPart part) const noexcept override { return writer_.takes_part(part); }

  bool takes_codes(TensorRole role) const noexcept override {
    return (role != TensorRole::embedding || writer_.takes_embedding()) &&
           (role != TensorRole::head || writer_.takes_head());
  }

  std::string refusal(const PlannedTensor& tensor, TensorRole role) const override {
    if (!is_coded(tensor)) return {};
    if (!takes_codes(role))
      return fmt::format("{} has no {} in codes; f16 would do", writer_.program(),
                         role == TensorRole::head ? "head" : "embedding");
    if (const FormatPtr plain = codes_alone(*tensor.format))
      return refuse_additions({tensor.name, tensor.shape, plain}, *tensor.format);
    const std::string why = writer_.refusal(tensor);
    if (why.empty()) return {};
    const std::string nearest = writer_.nearest(tensor);
    return nearest.empty() ? why : fmt::format("{}; {} would do", why, nearest);
  }

  FormatPtr own_form(const FormatPtr& format) const override { return writer_.own_form(format); }
  std::vector<std::string> budget_formats() const override { return writer_.mixed_formats(); }
  bool takes_inputs(const ActivationFormat& inputs) const noexcept override { return writer_.takes_inputs(inputs); }

  std::string conflict(const QuantizePlan& plan, const std::optional<ActivationFormat>& activations) const override {
    return writer_.conflict(layer_plan(plan, activations));
  }

  std::unique_ptr<CheckpointWriter> make_writer(const ContainerContents& contents,
                                                const std::filesystem::path& output) const override {
    const LayerPlan layers = layer_plan(contents.plan, contents.activations.format);
    auto config = parse_json(directory_config(contents), "config.json");
    if (!layers.coded.empty()) config.update(writer_.settings(layers));
    return make_layer_directory_writer(output, files(contents, dump_json(config, 2) + "\n"), contents.tensors,
                                       shard_bytes_of(contents.plan), activation_tensors(contents.activations), writer_,
                                       layers);
  }

  std::string obstacle(std::string_view runtime, const QuantizePlan& plan,
                       const std::optional<ActivationFormat>& activations) const override {
    if (runtime != "vllm" && runtime != "sglang") return {};
    const std::vector<std::string> obstacles = writer_.vllm_obstacles(layer_plan(plan, activations));
    return obstacles.empty() ? "" : obstacles.front();
  }

  std::vector<std::string> notes(const SourceModel& source, const QuantizePlan& plan,
                                 const std::optional<ActivationFormat>& activations) const override {
    const LayerPlan layers = layer_plan(plan, activations);
    if (layers.coded.empty())
      return {
          fmt::format("no matrix is in codes, so that nothing of the output is {}'s: it is a plain directory", name_)};
    std::vector<std::string> notes = writer_.notes(layers);
    if (!source.has_tokenizer()) notes.emplace_back(kNoTokenizer);
    return notes;
  }

 private:
  // plain: the same matrix without what `given` has beside its codes.
  std::string refuse_additions(const PlannedTensor& plain, const Format& given) const {
    const std::string_view what = find_outlier_format(given) != nullptr ? "outliers" : "masks of zeros";
    const bool is_held = !is_coded(plain) || writer_.refusal(plain).empty();
    const std::string other = is_held ? plain.format->name() : writer_.nearest(plain);
    return fmt::format("{} holds no {}{}", writer_.program(), what, other.empty() ? "" : "; " + other + " would do");
  }

  std::string use(const ContainerContents& contents) const override {
    const bool is_refused =
        use_.starts_with(kVllm) && !obstacle("vllm", contents.plan, contents.activations.format).empty();
    return is_refused ? use_.substr(std::string_view(kVllm).size()) : use_;
  }

  std::string_view name_, description_;
  std::string use_;
  const LayerWriter& writer_;
};

}  // namespace

const Container& gptq_container() {
  static const LayerContainer container("gptq", "a directory in GPTQ's layout, for vLLM, SGLang, transformers",
                                        std::string(kVllm) + kTransformers, gptq_writer());
  return container;
}

const Container& gptq_v2_container() {
  static const LayerContainer container("gptq_v2",
                                        "the same with zero points as they are, for GPTQModel and transformers",
                                        kTransformers, gptq_v2_writer());
  return container;
}

const Container& awq_container() {
  static const LayerContainer container("awq", "a directory in AWQ's layout, for vLLM, SGLang, transformers",
                                        std::string(kVllm) + kTransformers, awq_writer());
  return container;
}

const Container& compressed_tensors_container() {
  static const LayerContainer container("compressed-tensors",
                                        "a directory as llm-compressor writes it, for vLLM and transformers",
                                        std::string(kVllm) + kTransformers, compressed_tensors_writer());
  return container;
}

const Container& bitsandbytes_container() {
  static const LayerContainer container("bitsandbytes",
                                        "a directory in NF4, FP4 or LLM.int8, for transformers with bitsandbytes",
                                        kTransformers, bitsandbytes_writer());
  return container;
}

const Container& mlx_container() {
  static const LayerContainer container("mlx", "a directory for mlx-lm on Apple's processors",
                                        "mlx_lm.generate --model . --prompt 'Once upon a time'", mlx_writer());
  return container;
}

}  // namespace nibble
