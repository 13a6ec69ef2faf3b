// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/ranked.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "io/message_text.h"
#include "model/tokenizer/base64.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/json_view.h"
#include "model/tokenizer/side_tokens.h"
#include "model/tokenizer/split_rules.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

// Ids may have holes; a hole has no bytes.
struct RankedTokens {
  std::vector<Token> tokens;

  void put(std::string_view bytes, std::uint64_t rank, std::uint64_t first_id, const std::string& place) {
    if (bytes.empty()) throw Error(ErrorKind::corrupt, fmt::format("{}: the token of rank {} is empty", place, rank));
    if (rank >= Vocabulary::kMaxTokens - first_id)
      throw Error(ErrorKind::corrupt, fmt::format("{}: a rank beyond {}: {}", place, Vocabulary::kMaxTokens, rank));
    const auto id = static_cast<std::size_t>(first_id + rank);
    if (id >= tokens.size()) tokens.resize(id + 1);
    if (!tokens[id].text.empty())
      throw Error(ErrorKind::corrupt, fmt::format("{}: two tokens have rank {}", place, rank));
    append_spelled(bytes, tokens[id].text);
    tokens[id].score = -static_cast<float>(rank);
  }
};

// Puts the control tokens where they belong, and everything together.
TokenizerParts assemble(RankedTokens ranked, std::vector<AddedToken> added, PreTokenizer pre_tokenizer,
                        const std::string& source) {
  put_side_tokens(added, ranked.tokens, source);
  for (Token& token : ranked.tokens)
    if (token.text.empty()) token.kind = TokenKind::unused;
  TokenizerParts parts;
  parts.source = source;
  parts.family = Family::byte_level;
  parts.vocabulary = Vocabulary(std::move(ranked.tokens));
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string spelled;
    append_spelled(std::string(1, static_cast<char>(byte)), spelled);
    if (!parts.vocabulary.find(spelled))
      throw Error(ErrorKind::corrupt, fmt::format("{}: no token is the byte 0x{:02X} alone", source, byte));
  }
  parts.added = AddedTokens(std::move(added));
  parts.pre_tokenizer = std::move(pre_tokenizer);
  BpeSettings settings;
  settings.ignore_merges = true;
  parts.model = BpeModel::from_scores(parts.vocabulary, settings, false);
  parts.decoder.steps = {FromByteAlphabet{}};
  if (const auto rules = matching_split_rules(parts.pre_tokenizer); !rules.empty())
    parts.pre_id = rules.front()->ids.front();
  return parts;
}

struct SpecialNames {
  std::string_view bos, eos, unknown, padding;  // empty: there is none
};

// What tokenizer_config.json names wins over what is known, and that over ids of config.json.
void name_specials(const SideFiles& sides, const SpecialNames& names, TokenizerParts& parts) {
  const auto fill = [&parts](std::optional<std::int32_t>& id, std::string_view name) {
    if (!id && !name.empty()) id = parts.vocabulary.find(name);
  };
  apply_side_files({sides.tokenizer_config, {}, {}, sides.directory}, parts);
  fill(parts.special.bos, names.bos);
  fill(parts.special.eos, names.eos);
  fill(parts.special.unknown, names.unknown);
  fill(parts.special.padding, names.padding);
  apply_side_files({{}, sides.generation_config, sides.config, sides.directory}, parts);
}

// What is known of a tiktoken file from elsewhere.
struct KnownRanks {
  std::string_view tokenizer_class;  // in tokenizer_config.json
  std::size_t num_ranks = 0;
  std::string_view rule;  // llama.cpp's name
  std::size_t gap = 0;    // ids between the ranks and the control tokens
  std::vector<std::string_view> specials{};
  std::string_view filler{};  // spells the control tokens behind these, with their number in place of #
  std::size_t num_fillers = 0;
  std::optional<std::size_t> first_filler{};  // the number of the first; nothing: they go by their ids
  std::vector<std::string_view> prefix{};     // put before every text
  std::string_view bos{}, eos{};
  bool normalizes = false;  // to NFC
};

const std::vector<KnownRanks>& known_ranks() {
  static const std::vector<KnownRanks> known = {
      {.tokenizer_class = "",
       .num_ranks = 50256,
       .rule = "gpt-2",
       .specials = {"<|endoftext|>"},
       .bos = "<|endoftext|>",
       .eos = "<|endoftext|>"},
      {.tokenizer_class = "",
       .num_ranks = 100256,
       .rule = "dbrx",
       .gap = 1,
       .specials = {"<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"},
       .eos = "<|endoftext|>"},
      {.tokenizer_class = "",
       .num_ranks = 199998,
       .rule = "gpt-4o",
       .gap = 1,
       .specials = {"<|endoftext|>"},
       .eos = "<|endoftext|>"},
      {.tokenizer_class = "",
       .num_ranks = 128000,
       .rule = "llama-bpe",
       .specials = {"<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
                    "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>",
                    "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"},
       .filler = "<|reserved_special_token_#|>",
       .num_fillers = 245,
       .first_filler = 3,
       .prefix = {"<|begin_of_text|>"},
       .bos = "<|begin_of_text|>",
       .eos = "<|end_of_text|>"},
      {.tokenizer_class = "QWenTokenizer",
       .num_ranks = 151643,
       .rule = "qwen2",
       .specials = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"},
       .filler = "<|extra_#|>",
       .num_fillers = 205,
       .first_filler = 0,
       .eos = "<|endoftext|>",
       .normalizes = true},
      {.tokenizer_class = "ChatGLM4Tokenizer",
       .num_ranks = 151329,
       .rule = "glm4",
       .specials = {"<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>",
                    "<|assistant|>", "<|observation|>", "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>",
                    "<|end_of_video|>"},
       .prefix = {"[gMASK]", "<sop>"},
       .eos = "<|endoftext|>"},
      {.tokenizer_class = "TikTokenTokenizer",
       .num_ranks = 163584,
       .rule = "kimi-k2",
       .specials = {"[BOS]", "[EOS]"},
       .filler = "<|reserved_token_#|>",
       .num_fillers = 254,
       .bos = "[BOS]",
       .eos = "[EOS]"},
  };
  return known;
}

const KnownRanks& find_known(const std::string& tokenizer_class, std::size_t num_ranks, const std::string& source) {
  std::string named;
  for (const KnownRanks& known : known_ranks()) {
    if (!known.tokenizer_class.empty() && tokenizer_class == known.tokenizer_class) return known;
    named += fmt::format("{}{}", named.empty() ? "" : ", ", known.num_ranks);
  }
  for (const KnownRanks& known : known_ranks())
    if (num_ranks == known.num_ranks) return known;
  throw Error(
      ErrorKind::unsupported,
      fmt::format("{}: how its text is cut into words does not stand in such a file, and is known here of files "
                  "with {} ranks; save the tokenizer as tokenizer.json (transformers: AutoTokenizer, "
                  "save_pretrained): ranks {}, tokenizer_class {}",
                  source, named, num_ranks, quote_name(tokenizer_class)));
}

// The control tokens behind `num_ids` others that are known, less those whose ids or texts the side files name.
void add_known_specials(const KnownRanks& known, std::size_t num_ids, std::vector<AddedToken>& added) {
  const auto is_named = [&added](std::int32_t id, std::string_view text) {
    return std::ranges::any_of(added, [&](const AddedToken& a) { return a.id == id || a.content == text; });
  };
  for (std::size_t i = 0; i < known.specials.size() + known.num_fillers; ++i) {
    const std::size_t id = num_ids + known.gap + i;
    AddedToken token;
    token.id = static_cast<std::int32_t>(id);
    token.special = true;
    if (i < known.specials.size()) {
      token.content = known.specials[i];
    } else {
      const std::size_t number = known.first_filler ? *known.first_filler + i - known.specials.size() : id;
      token.content = known.filler;
      token.content.replace(token.content.find('#'), 1, std::to_string(number));
    }
    if (!is_named(token.id, token.content)) added.push_back(std::move(token));
  }
}

// "aGk= 42": the bytes and the rank; nullopt where the line is none.
std::optional<std::pair<std::string, std::uint64_t>> parse_line(std::string_view line) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  auto bytes = decode_base64(line.substr(0, space));
  std::uint64_t rank = 0;
  const std::string_view digits = line.substr(space + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
  if (!bytes || bytes->empty() || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return std::pair(std::move(*bytes), rank);
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

bool is_tiktoken(std::string_view text) { return parse_line(take_line(text)).has_value(); }

TokenizerParts read_tiktoken(std::string_view text, const SideFiles& sides, const std::string& source) {
  RankedTokens ranked;
  std::size_t count = 0;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = take_line(text);
    if (line.empty()) continue;
    const std::string place = fmt::format("{}: line {}", source, number);
    const auto parsed = parse_line(line);
    if (!parsed)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: not a token in base64 and its rank: {}", place, quote_name(line)));
    ranked.put(parsed->first, parsed->second, 0, place);
    ++count;
  }
  const KnownRanks& known = find_known(class_of(sides), count, source);
  std::vector<AddedToken> added = read_side_tokens(sides);
  add_known_specials(known, ranked.tokens.size(), added);
  TokenizerParts parts =
      assemble(std::move(ranked), std::move(added), pre_tokenizer_of(*split_rule(known.rule), source), source);
  if (known.normalizes) parts.normalizer.emplace_back(ToForm{UnicodeForm::nfc});
  parts.pre_id = known.rule;
  name_specials(sides, {known.bos, known.eos, "", ""}, parts);
  for (const std::string_view name : known.prefix)
    if (const auto id = parts.vocabulary.find(name)) parts.prefix.push_back(*id);
  find_end_tokens(parts);
  return parts;
}

namespace {

// Of files that do not list them.
constexpr std::string_view kTekkenSpecials[] = {"<unk>",
                                                "<s>",
                                                "</s>",
                                                "[INST]",
                                                "[/INST]",
                                                "[AVAILABLE_TOOLS]",
                                                "[/AVAILABLE_TOOLS]",
                                                "[TOOL_RESULTS]",
                                                "[/TOOL_RESULTS]",
                                                "[TOOL_CALLS]",
                                                "[IMG]",
                                                "<pad>",
                                                "[IMG_BREAK]",
                                                "[IMG_END]",
                                                "[PREFIX]",
                                                "[MIDDLE]",
                                                "[SUFFIX]",
                                                "[SYSTEM_PROMPT]",
                                                "[/SYSTEM_PROMPT]",
                                                "[TOOL_CONTENT]"};

std::vector<AddedToken> tekken_specials(const JsonView& root, std::uint64_t count) {
  std::vector<AddedToken> added(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < added.size(); ++i) {
    added[i].id = static_cast<std::int32_t>(i);
    added[i].special = true;
  }
  if (const auto list = root.find("special_tokens")) {
    for (const JsonView& item : list->elements()) {
      const std::int64_t rank = item.at("rank").integer();
      if (rank < 0 || static_cast<std::uint64_t>(rank) >= count)
        item.corrupt(fmt::format("its rank is not among the {} special tokens: {}", count, rank));
      added[static_cast<std::size_t>(rank)].content = item.at("token_str").string();
    }
  } else {
    for (std::size_t i = 0; i < std::min(added.size(), std::size(kTekkenSpecials)); ++i)
      added[i].content = kTekkenSpecials[i];
  }
  for (AddedToken& token : added)
    if (token.content.empty()) token.content = fmt::format("<SPECIAL_{}>", token.id);
  return added;
}

}  // namespace

TokenizerParts read_tekken(std::string_view json, const SideFiles& sides, const std::string& source) {
  const JsonText text(json, source);
  const JsonView root = text.root(), config = root.at("config");
  const auto number = [&](std::string_view key) {
    const JsonView view = config.at(key);
    if (view.integer() < 0 || view.integer() > static_cast<std::int64_t>(Vocabulary::kMaxTokens))
      view.corrupt(
          fmt::format("a number of tokens from 0 to {} is expected here: {}", Vocabulary::kMaxTokens, view.integer()));
    return static_cast<std::uint64_t>(view.integer());
  };
  const std::uint64_t num_special = number("default_num_special_tokens"), size = number("default_vocab_size");
  const JsonView vocab = root.at("vocab");
  const std::vector<JsonView> items = vocab.elements();
  if (size < num_special || size - num_special > items.size())
    vocab.corrupt(
        fmt::format("{} tokens, where config.default_vocab_size says {} and "
                    "config.default_num_special_tokens {} of them",
                    items.size(), size, num_special));
  RankedTokens ranked;
  for (const JsonView& item : items) {
    const std::int64_t rank = item.at("rank").integer();
    if (rank < 0) item.corrupt(fmt::format("a rank below 0: {}", rank));
    if (static_cast<std::uint64_t>(rank) >= size - num_special) continue;  // beyond what the model uses
    const JsonView bytes = item.at("token_bytes");
    const auto decoded = decode_base64(bytes.string());
    if (!decoded) bytes.corrupt("this is not base64");
    ranked.put(*decoded, static_cast<std::uint64_t>(rank), num_special, item.place());
  }
  const JsonView pattern = config.at("pattern");
  PreTokenizer pre_tokenizer = {
      Split{Pattern::regex(std::string(pattern.string()), pattern.place()), SplitBehaviour::isolated, false},
      ByteMap{}};
  TokenizerParts parts =
      assemble(std::move(ranked), tekken_specials(root, num_special), std::move(pre_tokenizer), source);
  name_specials(sides, {"<s>", "</s>", "<unk>", "<pad>"}, parts);
  if (parts.special.bos) parts.prefix = {*parts.special.bos};
  find_end_tokens(parts);
  return parts;
}

}  // namespace nibble::tokenizing
