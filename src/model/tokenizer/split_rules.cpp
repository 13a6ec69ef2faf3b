// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/split_rules.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "base/utf8.h"

namespace nibble::tokenizing {
namespace {

// The branches that many of the expressions share, as macros because adjacent literals make one.
#define NIBBLE_CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define NIBBLE_CONTRACTIONS_SPELT R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]))"
#define NIBBLE_LETTERS R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define NIBBLE_SIGNS R"( ?[^\s\p{L}\p{N}]+[\r\n]*)"
#define NIBBLE_SPACES R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
#define NIBBLE_UPPER_THEN_LOWER R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
#define NIBBLE_UPPER R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"

constexpr std::string_view kLlama3 =
    NIBBLE_CONTRACTIONS "|" NIBBLE_LETTERS R"(|\p{N}{1,3}|)" NIBBLE_SIGNS "|" NIBBLE_SPACES;
constexpr std::string_view kLlama3Spelt =
    NIBBLE_CONTRACTIONS_SPELT "|" NIBBLE_LETTERS R"(|\p{N}{1,3}|)" NIBBLE_SIGNS "|" NIBBLE_SPACES;
constexpr std::string_view kQwen2 = NIBBLE_CONTRACTIONS "|" NIBBLE_LETTERS R"(|\p{N}|)" NIBBLE_SIGNS "|" NIBBLE_SPACES;
constexpr std::string_view kQwen2Spelt =
    NIBBLE_CONTRACTIONS_SPELT "|" NIBBLE_LETTERS R"(|\p{N}|)" NIBBLE_SIGNS "|" NIBBLE_SPACES;
constexpr std::string_view kQwen35 =
    NIBBLE_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" NIBBLE_SPACES;
constexpr std::string_view kTekken =
    NIBBLE_UPPER_THEN_LOWER "|" NIBBLE_UPPER R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" NIBBLE_SPACES;
constexpr std::string_view kGpt4o = NIBBLE_UPPER_THEN_LOWER NIBBLE_CONTRACTIONS
    "?|" NIBBLE_UPPER NIBBLE_CONTRACTIONS R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" NIBBLE_SPACES;
constexpr std::string_view kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)" NIBBLE_SPACES;
// Letters with case, as code points: some have look-alikes that editors put in their place.
constexpr std::string_view kDeepseekLetters =
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376})"
    R"(\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F})"
    R"(\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B})"
    R"(\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57})"
    R"(\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"
    R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113})"
    R"(\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F})"
    R"(\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3})"
    R"(\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06})"
    R"(\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})"
    R"(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)";
constexpr std::string_view kEastAsian = R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
constexpr std::string_view kHanKana = "[一-龥぀-ゟ゠-ヿ]+";
constexpr std::string_view kDeepseekSigns = "\\s?[!-/:-~！-／：-～‘-‟　-。]+";

#define NIBBLE_RUNS \
  R"(\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"
#define NIBBLE_NO_HAN "&&[^\\p{Han}]]"
constexpr std::string_view kKimiK2 =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M})" NIBBLE_NO_HAN
    R"(*[\p{Ll}\p{Lm}\p{Lo}\p{M})" NIBBLE_NO_HAN "+" NIBBLE_CONTRACTIONS
    R"(?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M})" NIBBLE_NO_HAN R"(+[\p{Ll}\p{Lm}\p{Lo}\p{M})" NIBBLE_NO_HAN
    "*" NIBBLE_CONTRACTIONS R"(?|\p{N}{1,3}|)" NIBBLE_SIGNS "|" NIBBLE_SPACES;
constexpr std::string_view kAfmoeScripts =
    R"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF}\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF})"
    R"(\x{E40}-\x{E7F}\x{E80}-\x{EFF}\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+)";
constexpr std::string_view kSpark =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kYoutuScripts =
    R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[！…“”‘’—：；，\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr std::string_view kYoutu = NIBBLE_UPPER_THEN_LOWER NIBBLE_CONTRACTIONS
    "?|" NIBBLE_UPPER NIBBLE_CONTRACTIONS R"(?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" NIBBLE_SPACES;
constexpr std::string_view kExaoneMoe = NIBBLE_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";

const std::vector<SplitRule>& table() {
  static const std::vector<SplitRule> rules = {
      {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "gigachat", "a.x-4.0", "mellum",
        "modern-bert", "exaone4", "roberta-bpe", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en",
        "jina-v2-code"},
       {{kGpt2Split}}},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"},
       {{kLlama3}, {kLlama3Spelt}},
       true,
       true},
      {{"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {{kLlama3}, {kLlama3Spelt}}},
      {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"},
       {{kQwen2}, {kQwen2Spelt}}},
      {{"qwen35"}, {{kQwen35}}},
      {{"tekken"}, {{kTekken}}, true, true},
      {{"gpt-4o", "llama4", "kanana2", "minimax-m2", "talkie"}, {{kGpt4o}}},
      {{"deepseek-llm"}, {{R"([\r\n])", kDeepseekLetters, kDeepseekSigns, R"(\s+$)", kEastAsian, R"(\p{N}+)"}}},
      {{"deepseek-coder"}, {{R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kEastAsian, R"(\p{N})"}}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, {{R"(\p{N}{1,3})", kHanKana, kDeepseek3}}},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {{R"(\p{N})", kGpt2Split}}},
      {{"falcon"}, {{R"([\p{P}$+<=>^~|`]+)", kGpt2Split, "[0-9][0-9][0-9]"}}},
      {{"bloom", "poro-chat", "gpt3-finnish"}, {{" ?[^(\\s|.,!?…。，、।۔،)]+"}}},
      {{"viking"}, {{" ?[^(\\s|.,!?…。，、।۔،)]+", R"(\p{N})"}}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"},
       {{R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}}},
      {{"seed-coder"}, {{NIBBLE_CONTRACTIONS "|" NIBBLE_LETTERS R"(|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)" NIBBLE_SPACES}}},
      {{"kimi-k2"}, {{kKimiK2}}},
      {{"granite-embed-multi-97m"}, {{kGpt4o}}, true},
      {{"tiny_aya", "cohere2moe"}, {{R"(\d{1,3}(?=(?:\d{3})*\b))", kGpt4o}}},
      {{"afmoe"}, {{R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))", kAfmoeScripts, kDeepseek3}}},
      {{"superbpe"}, {{R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}}},
      {{"spark2_5"}, {{R"(\p{N}{1,3})", kHanKana, kSpark, R"(\p{N})"}}},
      {{"youtu"}, {{kYoutuScripts, kYoutu}}, true},
      {{"jais-2"},
       {{NIBBLE_CONTRACTIONS "|" NIBBLE_LETTERS R"(|\p{N}{1,3}|)" NIBBLE_SIGNS R"(|\s*[\r\n]+|)" NIBBLE_RUNS}}},
      {{"exaone-moe"}, {{kExaoneMoe}}},
      {{"ufakzeka"}, {{NIBBLE_LETTERS R"(|\p{N}|)" NIBBLE_SIGNS "|" NIBBLE_SPACES}}},
      {{"laguna"}, {{R"([^\n]+|[\n]+)", kQwen2}, {R"([^\n]+|[\n]+)", kQwen2Spelt}}},
      {{"minicpm5"},
       {{R"(\p{N}{1,3})", NIBBLE_CONTRACTIONS "|" NIBBLE_LETTERS R"(|\p{N}+|)" NIBBLE_SIGNS "|" NIBBLE_SPACES}},
       true},
      {{"chameleon"},
       {{"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", R"(\p{N})",
         R"([\p{P}!-/:-@\[-`{-~])", kGpt2Split}},
       false,
       true},
      {{"default"}, {{R"([\p{P}$+<=>^~|]+)", kGpt2Split, R"(\p{N}+)", "[0-9][0-9][0-9]"}}},
  };
  return rules;
}

// One spelling for comparison: line ends are escaped (some files hold them as they are), \x{...} is the character.
std::string canonical(std::string_view expression) {
  std::string out;
  for (std::size_t at = 0; at < expression.size(); ++at) {
    const char c = expression[at];
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\\' && expression.substr(at, 3) == "\\x{") {
      const std::size_t close = std::min(expression.find('}', at), expression.size());
      append_utf8(out, static_cast<char32_t>(
                           std::strtoul(std::string(expression.substr(at + 3, close - at - 3)).c_str(), nullptr, 16)));
      at = close;
    } else if (c == '\\' && at + 1 < expression.size()) {
      out += expression.substr(at++, 2);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

// The expressions of steps that do nothing but isolate matches and map bytes; nullopt when they do anything else.
std::optional<std::vector<std::string>> isolated_expressions(const PreTokenizer& steps) {
  std::vector<std::string> expressions;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (std::holds_alternative<ByteMap>(steps[i])) {
      if (i + 1 != steps.size()) return std::nullopt;
      return expressions;
    }
    const auto* split = std::get_if<Split>(&steps[i]);
    if (split == nullptr || split->pattern.is_literal()) return std::nullopt;
    // Keeping the matches only is the same for expressions that match every character.
    const bool isolates =
        split->behaviour == SplitBehaviour::isolated || (split->behaviour == SplitBehaviour::removed && split->invert);
    if (!isolates) return std::nullopt;
    expressions.push_back(canonical(split->pattern.text()));
  }
  return std::nullopt;
}

}  // namespace

std::span<const SplitRule> split_rules() { return table(); }

const SplitRule* split_rule(std::string_view id) {
  for (const SplitRule& rule : table())
    if (std::find(rule.ids.begin(), rule.ids.end(), id) != rule.ids.end()) return &rule;
  return nullptr;
}

PreTokenizer pre_tokenizer_of(const SplitRule& rule, const std::string& place) {
  PreTokenizer steps;
  for (const std::string_view regex : rule.spellings.front())
    steps.emplace_back(Split{Pattern::regex(std::string(regex), place), SplitBehaviour::isolated, false});
  steps.emplace_back(ByteMap{});
  return steps;
}

std::vector<const SplitRule*> matching_split_rules(const PreTokenizer& steps) {
  const auto expressions = isolated_expressions(steps);
  if (!expressions) return {};
  const auto same = [&](const std::vector<std::string_view>& spelling) {
    return std::equal(spelling.begin(), spelling.end(), expressions->begin(), expressions->end(),
                      [](std::string_view a, const std::string& b) { return canonical(a) == b; });
  };
  std::vector<const SplitRule*> rules;
  for (const SplitRule& rule : table())
    if (std::any_of(rule.spellings.begin(), rule.spellings.end(), same)) rules.push_back(&rule);
  return rules;
}

}  // namespace nibble::tokenizing
