// SPDX-License-Identifier: Apache-2.0
#include "pipeline/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/half.h"
#include "base/output_file.h"
#include "base/progress_meter.h"
#include "base/random.h"
#include "io/checkpoint_writer.h"
#include "model/arch/architecture.h"
#include "model/arch/routing_keys.h"
#include "nibble/error.h"
#include "pipeline/export/container.h"
#include "pipeline/export/manifest.h"

namespace nibble {
namespace {

constexpr std::uint64_t kBandElements = std::uint64_t{8} << 20;
constexpr std::uint64_t kGrainElements = 65536;
constexpr std::uint64_t kNamedTokens = 260;  // <unk>, <s>, </s>, 256 bytes, a space
constexpr double kDeviation = 0.02;          // of weights, as models are initialised

// From the models' own config.json; phi-4-mini without its longrope, whose factors are 96 numbers, DeepSeek-V2-Lite
// without its yarn, GLM-4.5-Air without its biases.
const SynthShape kShapes[] = {
    {"llama-3.2-1b", "llama", 2048, 8192, 16, 32, 8, 64, 128256, 131072, 500000, 1e-5, true, 32},
    {"llama-3.2-3b", "llama", 3072, 8192, 28, 24, 8, 128, 128256, 131072, 500000, 1e-5, true, 32},
    {"llama-3.1-8b", "llama", 4096, 14336, 32, 32, 8, 128, 128256, 131072, 500000, 1e-5, false, 8},
    {"llama-3.1-70b", "llama", 8192, 28672, 80, 64, 8, 128, 128256, 131072, 500000, 1e-5, false, 8},
    {"llama-3.1-405b", "llama", 16384, 53248, 126, 128, 8, 128, 128256, 131072, 500000, 1e-5, false, 8},
    {"qwen2.5-0.5b", "qwen2", 896, 4864, 24, 14, 2, 64, 151936, 32768, 1000000, 1e-6, true, 0},
    {"qwen2.5-7b", "qwen2", 3584, 18944, 28, 28, 4, 128, 152064, 131072, 1000000, 1e-6, false, 0},
    {"qwen2.5-14b", "qwen2", 5120, 13824, 48, 40, 8, 128, 152064, 131072, 1000000, 1e-6, false, 0},
    {"qwen2.5-32b", "qwen2", 5120, 27648, 64, 40, 8, 128, 152064, 131072, 1000000, 1e-6, false, 0},
    {"qwen3-0.6b", "qwen3", 1024, 3072, 28, 16, 8, 128, 151936, 40960, 1000000, 1e-6, true, 0},
    {"qwen3-8b", "qwen3", 4096, 12288, 36, 32, 8, 128, 151936, 40960, 1000000, 1e-6, false, 0},
    {"qwen3-30b-a3b", "qwen3moe", 2048,  6144, 48, 32, 4, 128, 151936, 40960,
     1000000,         1e-6,       false, 0,    0,  0,  0, 128, 8,      768},
    {"qwen3.5-0.8b", "qwen35", 1024, 3584, 24, 8,  2, 256, 248320, 262144, 10000000,
     1e-6,           true,     0,    0,    0,  64, 0, 0,   0,      16},
    {"qwen3.5-9b", "qwen35", 4096, 12288, 32, 16, 4, 256, 248320, 262144, 10000000, 1e-6, false, 0, 0, 0, 64},
    {"qwen3.5-35b-a3b", "qwen35moe", 2048,  512, 40, 16, 2,  256, 248320, 262144,
     10000000,          1e-6,        false, 0,   0,  0,  64, 256, 8,      512},
    {"mixtral-8x7b", "llama", 4096, 14336, 32, 32, 8, 128, 32000, 32768, 1000000, 1e-5, false, 0, 0, 0, 0, 8, 2, 0},
    {"phi-4-mini", "phi3", 3072, 8192, 32, 24, 8, 128, 200064, 131072, 10000, 1e-5, true, 0, 0, 0, 96},
    {"phi-4", "phi3", 5120, 17920, 40, 40, 10, 128, 100352, 16384, 250000, 1e-5, false},
    {"ministral-3-3b", "mistral3", 3072, 9216, 26, 32, 8, 128, 131072, 262144, 1000000, 1e-5, true},
    {"ministral-3-8b", "mistral3", 4096, 14336, 34, 32, 8, 128, 131072, 262144, 1000000, 1e-5, false},
    {"glm-4-9b", "glm", 4096, 13696, 40, 32, 2, 128, 151552, 131072, 10000, 1.5625e-7, false, 0, 0, 0, 64},
    {"gpt-oss-20b", "gptoss", 2880,  2880, 24,  64, 8, 64, 201088, 131072,
     150000,        1e-5,     false, 0,    128, 0,  0, 32, 4,      2880},
    {"bitnet-b1.58-2b4t", "bitnet", 2560, 6912, 30, 20, 5, 128, 128256, 4096, 500000, 1e-5, true},
    {"smollm3-3b", "smollm3", 2048, 11008, 36, 16, 4, 128, 128256, 65536, 5000000, 1e-6, true},
    {"olmo-2-7b", "olmo2", 4096, 11008, 32, 32, 32, 128, 100352, 4096, 500000, 1e-6, false},
    {"olmo-3-7b", "olmo2", 4096, 11008, 32, 32, 32, 128, 100278, 65536, 500000, 1e-6,
     false,       0,       4096, 0,     0,  0,  0,  0,   0,      0,     0,      4},
    {"olmoe-1b-7b", "olmoe", 2048, 1024, 16, 16, 16, 128, 50304, 4096, 10000, 1e-5, false, 0, 0, 0, 0, 64, 8, 1024},
    {"granite-3.1-2b", "granite", 2048, 8192, 40, 32, 8, 64, 49155, 131072, 5000000, 1e-5, true},
    {"granite-3.0-1b-a400m",
     "granitemoe",
     1024,
     512,
     24,
     16,
     8,
     64,
     49155,
     4096,
     10000,
     1e-6,
     true,
     0,
     0,
     0,
     0,
     32,
     8,
     512},
    {"ernie-4.5-0.3b", "ernie45", 1024, 3072, 18, 16, 2, 128, 103424, 131072, 500000, 1e-5, true},
    {"hunyuan-1.8b", "hunyuan", 2048, 6144, 32, 16, 4, 128, 120818, 262144, 11158839.925, 1e-5, true},
    // Of which six layers attend, at no regular distance; here five.
    {"lfm2-1.2b", "lfm2", 2048, 12288, 16, 32, 8, 64, 65536, 128000, 1000000, 1e-5,
     true,        0,      0,    0,     0,  0,  0, 0,  0,     0,      0,       3},
    {.name = "qwen1.5-moe-a2.7b",
     .architecture = "qwen2moe",
     .hidden = 2048,
     .intermediate = 5632,
     .layers = 24,
     .heads = 16,
     .kv_heads = 16,
     .head_dim = 128,
     .vocab = 151936,
     .context = 8192,
     .rope_theta = 1000000,
     .norm_epsilon = 1e-6,
     .num_experts = 60,
     .experts_used = 4,
     .expert_intermediate = 1408,
     .shared_intermediate = 5632},
    {"gemma-2-2b", "gemma2", 2304, 9216, 26, 8, 4, 256, 256000, 8192, 10000, 1e-6, true, 0, 4096},
    {"gemma-2-9b", "gemma2", 3584, 14336, 42, 16, 8, 256, 256000, 8192, 10000, 1e-6, true, 0, 4096},
    {"gemma-3-1b", "gemma3", 1152, 6912, 26, 4, 1, 256, 262144, 32768, 1000000, 1e-6, true, 0, 512},
    {.name = "deepseek-v2-lite",
     .architecture = "deepseek2",
     .hidden = 2048,
     .intermediate = 10944,
     .layers = 27,
     .heads = 16,
     .kv_heads = 16,
     .head_dim = 64,
     .vocab = 102400,
     .context = 163840,
     .norm_epsilon = 1e-6,
     .num_experts = 64,
     .experts_used = 6,
     .expert_intermediate = 1408,
     .shared_experts = 2,
     .dense_layers = 1,
     .routes_by_softmax = true},
    {.name = "glm-4.7-flash",
     .architecture = "deepseek2",
     .hidden = 2048,
     .intermediate = 10240,
     .layers = 47,
     .heads = 20,
     .kv_heads = 20,
     .head_dim = 64,
     .vocab = 154880,
     .context = 202752,
     .rope_theta = 1000000,
     .norm_epsilon = 1e-5,
     .num_experts = 64,
     .experts_used = 4,
     .expert_intermediate = 1536,
     .query_latent = 768,
     .plain_key_dim = 192,
     .value_dim = 256,
     .dense_layers = 1},
    {.name = "glm-4.5-air",
     .architecture = "glm4moe",
     .hidden = 4096,
     .intermediate = 10944,
     .layers = 46,
     .heads = 96,
     .kv_heads = 8,
     .head_dim = 128,
     .vocab = 151552,
     .context = 131072,
     .rope_theta = 1000000,
     .norm_epsilon = 1e-5,
     .rotary_dim = 64,
     .num_experts = 128,
     .experts_used = 8,
     .expert_intermediate = 1408,
     .dense_layers = 1},
    {"gemma-3-4b", "gemma3", 2560, 10240, 34, 8, 4, 256, 262208, 131072, 1000000, 1e-6, true, 0, 1024, 8},
};

void judge(const SynthShape& shape) {
  const auto refuse = [](const std::string& what) { throw Error(ErrorKind::invalid_argument, what); };
  const auto limited = [&](const char* name, std::uint64_t value, std::uint64_t least, std::uint64_t most) {
    if (value < least || value > most)
      refuse(fmt::format("the shape's {} must lie between {} and {}: {}", name, least, most, value));
  };
  limited("hidden size", shape.hidden, 1, 1 << 17);
  limited("feed-forward size", shape.intermediate, 1, 1 << 19);
  limited("number of layers", shape.layers, 1, 512);
  limited("number of heads", shape.heads, 1, 1024);
  limited("number of key/value heads", shape.kv_heads, 1, shape.heads);
  limited("head size", shape.head_dim, 2, 1024);
  limited("vocabulary", shape.vocab, kNamedTokens, 1 << 20);
  limited("context", shape.context, 8, std::uint64_t{1} << 24);
  if (shape.heads % shape.kv_heads != 0)
    refuse(fmt::format("the number of heads must be a multiple of the number of key/value heads: {} and {}",
                       shape.heads, shape.kv_heads));
  if (shape.head_dim % 2 != 0) refuse(fmt::format("the head size must be even: {}", shape.head_dim));
}

// Nearly normal numbers, one call of the generator each: the sum of four uniform ones.
void fill_row(Random& random, std::span<float> row) {
  constexpr double kScale = kDeviation / (65535.0 * 0.57735026918962576);  // a sum of four has deviation 1 / sqrt(3)
  for (float& value : row) {
    const std::uint64_t bits = random.next();
    const std::uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    value = static_cast<float>((static_cast<double>(sum) - 2 * 65535.0) * kScale);
  }
}

class BandMaker {
 public:
  BandMaker(FormatPtr format, std::uint64_t seed, ThreadPool& pool)
      : format_(std::move(format)), seed_(seed), pool_(pool) {}

  // Norms have the value 1.
  QuantizedTensor make(std::uint64_t tensor_index, const ModelTensor& tensor, std::uint64_t begin, std::uint64_t end,
                       std::uint64_t cols) {
    QuantizedTensor band(format_, end - begin, cols);
    const std::uint64_t grain = std::max<std::uint64_t>(1, kGrainElements / cols);
    pool_.parallel_for(end - begin, grain, [&](std::size_t first, std::size_t last, std::size_t) {
      std::vector<float> row(cols, tensor.numbers(Spelling::huggingface).write(1));
      for (std::size_t i = first; i < last; ++i) {
        // Every row has a generator of its own, so that threads do not matter.
        Random random(seed_ * 0x9e3779b97f4a7c15u + (tensor_index << 32) + begin + i);
        if (tensor.role != TensorRole::norm) fill_row(random, row);
        format_->encode_row(row, {}, nullptr, begin + i, {}, band.row(i));
      }
    });
    return band;
  }

 private:
  FormatPtr format_;
  std::uint64_t seed_;
  ThreadPool& pool_;
};

constexpr const char* kTokenizerConfig = R"({
  "tokenizer_class": "LlamaTokenizerFast",
  "bos_token": "<s>",
  "eos_token": "</s>",
  "unk_token": "<unk>",
  "add_bos_token": true,
  "add_eos_token": false
}
)";

void set_latent(const SynthShape& shape, ModelConfig& config) {
  config.query_latent = shape.query_latent;
  if (shape.plain_key_dim != 0) config.plain_key_dim = shape.plain_key_dim;
  if (shape.value_dim != 0) config.value_dim = shape.value_dim;
  set_leading_dense(config, shape.dense_layers);
  if (!shape.routes_by_softmax) return;
  config.routes_by_sigmoid = config.corrects_routing = config.normalizes_routing = false;
  config.routing_factor = 1;
  config.routing_offset = 0;
}

}  // namespace

ModelConfig synth_config(const SynthShape& shape) {
  ModelConfig config;
  config.architecture = shape.architecture;
  config.vocab_size = shape.vocab;
  config.hidden = shape.hidden;
  config.intermediate = shape.intermediate;
  config.layers = shape.layers;
  config.heads = shape.heads;
  config.kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim;
  config.context = shape.context;
  config.norm_epsilon = static_cast<float>(shape.norm_epsilon);
  config.tied_embedding = shape.tied;
  config.attention_bias = find_architecture(shape.architecture).gguf_qkv_bias;
  config.rope.base = shape.rope_theta;
  config.num_experts = shape.num_experts;
  config.experts_used = shape.experts_used;
  config.expert_intermediate = shape.expert_intermediate != 0 ? shape.expert_intermediate : shape.intermediate;
  config.rope.rotary_dim = shape.rotary_dim == 0 ? shape.head_dim : shape.rotary_dim;
  if (shape.llama3_factor > 0) {
    config.rope.scaling = RopeScaling::llama3;
    config.rope.factor = shape.llama3_factor;
  }
  set_family_defaults(config, shape.sliding_window);
  if (config.shared_intermediate != 0)
    config.shared_intermediate =
        shape.shared_intermediate != 0 ? shape.shared_intermediate : shape.shared_experts * config.expert_intermediate;
  if (shape.full_every != 0)
    (shape.sliding_window != 0 ? config.slides : config.recurs) = usual_sliding_layers(config.layers, shape.full_every);
  if (config.latent != 0) set_latent(shape, config);
  config.sharing_layers = shape.sharing_layers;
  config.per_layer_width = shape.per_layer_width;
  if (shape.delta_heads != 0) config.delta_heads = shape.delta_heads;
  if (shape.delta_key_heads != 0) config.delta_key_heads = shape.delta_key_heads;
  if (shape.delta_dim != 0) config.delta_key_dim = config.delta_value_dim = shape.delta_dim;
  if (config.query_pre_attn_scalar > 1)
    config.query_pre_attn_scalar = static_cast<double>(config.head_dim);  // as in all of these models
  if (shape.linear_factor > 0) {
    config.rope.scaling = RopeScaling::linear;
    config.rope.factor = shape.linear_factor;
  }
  return config;
}

std::vector<SynthShape> list_synth_shapes() { return {std::begin(kShapes), std::end(kShapes)}; }

SynthShape find_synth_shape(std::string_view name) {
  std::string known;
  for (const SynthShape& shape : kShapes) {
    if (shape.name == name) return shape;
    known += (known.empty() ? "" : ", ") + shape.name;
  }
  throw Error(ErrorKind::invalid_argument, fmt::format("unknown shape '{}'; known are {}", name, known));
}

std::string synth_tokenizer_json(std::uint64_t vocab) {
  std::string tokens = R"("<unk>": 0, "<s>": 1, "</s>": 2)";
  for (unsigned byte = 0; byte < 256; ++byte) tokens += fmt::format(", \"<0x{:02X}>\": {}", byte, 3 + byte);
  tokens += ", \"\u2581\": 259";
  for (std::uint64_t id = kNamedTokens; id < vocab; ++id) tokens += fmt::format(", \"<name{}>\": {}", id, id);
  const auto added = [](int id, const char* text) {
    return fmt::format(
        R"({{"id": {}, "content": "{}", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}})",
        id, text);
  };
  return fmt::format(R"({{
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [{}, {}, {}],
  "normalizer": {{"type": "Sequence", "normalizers": [{{"type": "Prepend", "prepend": "{}"}},
                 {{"type": "Replace", "pattern": {{"String": " "}}, "content": "{}"}}]}},
  "pre_tokenizer": null,
  "post_processor": {{"type": "TemplateProcessing",
    "single": [{{"SpecialToken": {{"id": "<s>", "type_id": 0}}}}, {{"Sequence": {{"id": "A", "type_id": 0}}}}],
    "pair": [{{"SpecialToken": {{"id": "<s>", "type_id": 0}}}}, {{"Sequence": {{"id": "A", "type_id": 0}}}},
             {{"SpecialToken": {{"id": "<s>", "type_id": 1}}}}, {{"Sequence": {{"id": "B", "type_id": 1}}}}],
    "special_tokens": {{"<s>": {{"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}}}},
  "decoder": {{"type": "Sequence", "decoders": [{{"type": "Replace", "pattern": {{"String": "{}"}}, "content": " "}},
              {{"type": "ByteFallback"}}, {{"type": "Fuse"}}, {{"type": "Strip", "content": " ", "start": 1, "stop": 0}}]}},
  "model": {{"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": {{{}}}, "merges": []}}
}}
)",
                     added(0, "<unk>"), added(1, "<s>"), added(2, "</s>"), "\u2581", "\u2581", "\u2581", tokens);
}

SynthSummary synthesize_model(const SynthShape& shape, const SynthOptions& options, ThreadPool& pool,
                              const ProgressCallback& progress) {
  judge(shape);
  if (options.dtype != "bf16" && options.dtype != "f16")
    throw Error(ErrorKind::invalid_argument, "weights are made as bf16 or f16, not as '" + options.dtype + "'");
  const ModelConfig config = synth_config(shape);
  const ModelTensors model(config);
  const FormatPtr format = find_format(options.dtype);
  std::vector<PlannedTensor> plan;
  SynthSummary summary{options.output, shape, 0, 0};
  for (const ModelTensor& tensor : model.all()) {
    plan.push_back({tensor.hf_name, tensor.file_shape(Spelling::huggingface), format});
    summary.parameters += checked_elements(tensor.shape, tensor.hf_name);
  }
  require_replaceable(nibble_container(), options.output);
  require_disk_space(options.output, summary.parameters * 2);
  HfConfigOptions config_options;
  config_options.dtype = options.dtype == "bf16" ? "bfloat16" : "float16";
  config_options.bos_token_id = 1;
  config_options.eos_token_id = 2;
  const std::vector<SideFile> side_files = {
      {"config.json", to_huggingface_config(config, config_options)},
      {"tokenizer.json", synth_tokenizer_json(shape.vocab)},
      {"tokenizer_config.json", kTokenizerConfig},
      {kManifestFile, fmt::format("{{\"synth\":\"{}\",\"seed\":{}}}\n", shape.name, options.seed)}};
  const auto writer = make_directory_writer(options.output, side_files, plan);
  ProgressMeter meter(progress, "synth", summary.parameters, "synth was cancelled; nothing was written");
  BandMaker maker(format, options.seed, pool);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const ModelTensor& tensor = model.all()[i];
    const std::uint64_t rows = tensor.shape.size() > 1 ? tensor.shape[0] : 1, cols = tensor.shape.back();
    const std::uint64_t step = std::max<std::uint64_t>(1, kBandElements / cols);
    for (std::uint64_t begin = 0; begin < rows; begin += step) {
      const std::uint64_t end = std::min(rows, begin + step);
      writer->write_rows(i, maker.make(i, tensor, begin, end, cols).view());
      meter.advance((end - begin) * cols, tensor.hf_name);
    }
  }
  writer->finish();
  summary.bytes = writer->bytes_written();
  return summary;
}

}  // namespace nibble
