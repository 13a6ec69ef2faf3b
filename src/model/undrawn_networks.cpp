// SPDX-License-Identifier: Apache-2.0
#include "model/undrawn_networks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace nibble {
namespace {

struct UndrawnNetwork {
  std::string_view names;  // in small letters, without _ and -, parted by blanks
  std::string_view title, obstacle;
};

constexpr std::string_view kRecurrent = "its layers keep a recurrent state";
constexpr std::string_view kLayerNorm = "it has norms with means and an MLP without a gate";
constexpr std::string_view kParallel = "attention and MLP stand side by side behind one norm with means";
constexpr std::string_view kDiffusion = "it fills in tokens anywhere and not one after the other";
constexpr std::string_view kLatent = "keys and values are made of a latent vector, of which it attends to a selection";
constexpr std::string_view kRouting = "its experts are chosen in another way";
constexpr std::string_view kPictures = "it reads pictures";
constexpr std::string_view kOther = "its layers are others than those of the families that are known";

constexpr std::array kUndrawn = std::to_array<UndrawnNetwork>({
    {"gemma3n gemma3ntext", "Gemma 3n", "its layers are mixed (AltUp, LAuReL) and read embeddings of their own"},
    {"llama4 llama4text", "Llama 4", "it attends in chunks, has layers without positions and a shared expert"},
    {"cohere commandr", "Command R", kParallel},
    {"cohere2 cohere2moe", "Command R7B and A", kParallel},
    {"exaone", "EXAONE 3", kOther},
    {"exaone4", "EXAONE 4", "its norms stand behind attention and MLP only"},
    {"exaonemoe", "EXAONE with experts", kRouting},
    {"seedoss", "Seed-OSS", "it is Llama with biases on queries, keys and values and none, or another, on the output"},
    {"starcoder2", "StarCoder 2", kLayerNorm},
    {"gptneox", "GPT-NeoX", kParallel},
    {"falcon", "Falcon", kParallel},
    {"falconh1", "Falcon-H1", kRecurrent},
    {"mamba mamba2 falconmamba", "Mamba", kRecurrent},
    {"jamba", "Jamba", kRecurrent},
    {"apertus", "Apertus", "its MLP has the activation xIELU and no gate"},
    {"arcee", "Arcee AFM", "its MLP has squared ReLU and no gate"},
    {"afmoe", "Arcee Trinity", kRouting},
    {"internlm2", "InternLM 2", "its queries, keys and values are one matrix in groups"},
    {"internlm3", "InternLM 3", kOther},
    {"minicpm minicpm3 minicpmv", "MiniCPM", "its embedding, residuals and logits are scaled"},
    {"stablelm", "StableLM", "its norms have means"},
    {"phimoe", "Phi-3.5-MoE", "its norms have means and biases, and its router is a sparse mixer"},
    {"hunyuanv1moe hunyuanmoe", "Hunyuan with experts", kRouting},
    {"hyv3 hyv4", "Hunyuan 3 and 4", kRouting},
    {"bailingmoe bailingmoev2 bailingmoe2 bailingmoe3 bailinghybrid", "Ling", kRouting},
    {"dots1", "dots.llm1", kRouting},
    {"mimov2flash mimo2", "MiMo 2", kRouting},
    {"step35 step3p5 step3p7", "Step 3.5", kRouting},
    {"laguna", "Laguna", kOther},
    {"deepseekv32 deepseek32", "DeepSeek V3.2", kLatent},
    {"deepseekv4 deepseek4", "DeepSeek V4", kLatent},
    {"glmmoedsa glmdsa glm5next", "GLM-5", kLatent},
    {"kimilinear", "Kimi Linear", kRecurrent},
    {"kimik3", "Kimi K3", kOther},
    {"minimaxm3 minimaxm3vl", "MiniMax M3", kRouting},
    {"mistrallarge4", "Mistral Large 4", kOther},
    {"qwen4exp", "Qwen 4 (experimental)", "it has hyper-connections and embeddings of token sequences"},
    {"lfm3", "LFM 3", kOther},
    {"hrmtext", "HRM-Text", kOther},
    {"museglimmer", "Muse Glimmer", kOther},
    {"rwkv rwkv6 rwkv6qwen2 rwkv7 arwkv7", "RWKV", kRecurrent},
    {"dream", "Dream", kDiffusion},
    {"llada lladamoe", "LLaDA", kDiffusion},
    {"siglip siglipvisionmodel clip clipvisionmodel", "a vision tower", kPictures},
});

// "Gemma3nForConditionalGeneration" and "falcon-h1" as the table has them.
std::string plain_name(std::string_view name) {
  if (const std::size_t what = name.find("For"); what != std::string_view::npos && what > 0)
    name = name.substr(0, what);
  std::string plain;
  for (const char c : name)
    if (c != '_' && c != '-') plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return plain;
}

bool has_word(std::string_view words, std::string_view word) {
  for (std::size_t begin = 0; begin < words.size();) {
    const std::size_t end = std::min(words.find(' ', begin), words.size());
    if (words.substr(begin, end - begin) == word) return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace

std::optional<std::string> undrawn_network(std::string_view name) {
  const std::string plain = plain_name(name);
  const auto found = std::ranges::find_if(kUndrawn, [&](const auto& n) { return has_word(n.names, plain); });
  if (found == kUndrawn.end()) return std::nullopt;
  return fmt::format(
      "{}, which cannot be run: {}; its matrices can be inspected, and quantized one by one by the methods rtn and mse",
      found->title, found->obstacle);
}

}  // namespace nibble
