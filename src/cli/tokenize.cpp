// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <ranges>

#include "base/utf8.h"
#include "cli/option_checks.h"
#include "cli/text_files.h"
#include "cli/verbs.h"
#include "model/model_template.h"
#include "nibble/error.h"
#include "pipeline/tell/token_pieces.h"

namespace nibble::cli {
namespace {

using Ids = std::vector<std::int32_t>;

struct Options {
  std::string model, text;
  std::vector<std::string> text_files;
  std::string conversations;
  ChatOptions chat;
  bool plain = false, bare = false, pieces = false, count = false, decode = false, lines = false;

  EncodeOptions encode() const { return {.add_special = !bare, .parse_special = !plain}; }
};

void judge_options(const CLI::App& verb, const Options& options) {
  if (verb.count("text") != 0 && verb.count("--text") != 0)
    throw Error(ErrorKind::invalid_argument,
                "the text is given twice, by itself and by --text; leave out one of the two");
  if (!options.conversations.empty())
    for (const auto& [option, why] :
         {std::pair{"text", "reads conversations, and a text is given beside it"},
          std::pair{"--text", "reads conversations, and a text is given beside it"},
          std::pair{"--decode", "renders conversations, and ids are not among them"},
          std::pair{"--lines", "renders whole conversations, which no lines are"},
          std::pair{"--bare", "renders conversations with the tokens that the template puts around them"},
          std::pair{"--no-special", "renders conversations, whose control tokens are tokens"}})
      if (verb.count(option) != 0)
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("--chat {}; leave out one of the two: {}, --chat", why, option));
  for (const char* const option : {"--template", "--template-option", "--no-think"})
    refuse_without_effect(verb, option, !options.conversations.empty(), "without conversations (--chat)");
  if (options.text_files.size() > 1 && !options.count)
    throw Error(ErrorKind::invalid_argument, "several files can only be counted; add --count, or give one --text");
  refuse_without_effect(verb, "--force-text",
                        verb.count("text") == 0 && !options.decode && !options.lines && options.conversations.empty(),
                        "but for a file or standard input of plain text");
  refuse_without_effect(verb, "--bare", !options.decode, "beside --decode, which adds no tokens");
  refuse_without_effect(verb, "--lines", verb.count("text") == 0, "with a text on the command line");
  if (options.text_files.size() > 1 && options.lines)
    throw Error(ErrorKind::invalid_argument, "the lines of one file are counted at a time; give one --text");
}

// "1 2 3", "1,2,3", "[1, 2, 3]"; `where` names them in messages.
Ids parse_ids(std::string_view text, const Tokenizer& tokenizer, const std::string& where) {
  constexpr std::string_view kBetween = " \t\r\n,[]";
  Ids ids;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(kBetween), text.size()));
    if (text.empty()) return ids;
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    std::int32_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size())
      throw Error(ErrorKind::unusable_input, fmt::format("{}: not the id of a token: '{}'", where, word.substr(0, 40)));
    if (id < 0 || static_cast<std::size_t>(id) >= tokenizer.vocab_size())
      throw Error(ErrorKind::unusable_input, fmt::format("{}: there is no token with this id, ids go from 0 to {}: {}",
                                                         where, tokenizer.vocab_size() - 1, id));
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
}

std::string parse_json_line(std::string_view line, const std::string& where) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_string())
    throw Error(ErrorKind::unusable_input,
                fmt::format("{}: each line is one JSON string (\"a \\\"quoted\\\" word\"), this one is none", where));
  return json.get<std::string>();
}

template <class Line>
void each_line(std::string_view text, const std::string& name, Line&& line) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    line(text.substr(0, end), fmt::format("{}: line {}", name, number));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

void print_ids(const Options& options, const Tokenizer& tokenizer, std::string_view text, Session& session) {
  const Ids ids = tokenizer.encode(text, options.encode());
  if (options.count) return session.print(fmt::format("{}\n", ids.size()));
  session.print(fmt::format("{}\n", fmt::join(ids, " ")));
}

Json to_json(const std::optional<TextRange>& range) { return range ? Json{range->begin, range->end} : Json(); }

Json piece_json(const TokenPiece& piece) {
  return {{"id", piece.id},           {"piece", piece.spelling},       {"text", replace_invalid_utf8(piece.text)},
          {"special", piece.special}, {"bytes", to_json(piece.bytes)}, {"characters", to_json(piece.characters)}};
}

// count, ids, pieces: added to an object.
void add_pieces(const std::vector<TokenPiece>& pieces, Json& json) {
  Json ids = Json::array(), list = Json::array();
  for (const TokenPiece& piece : pieces) {
    ids.push_back(piece.id);
    list.push_back(piece_json(piece));
  }
  json["count"] = pieces.size();
  json["ids"] = std::move(ids);
  json["pieces"] = std::move(list);
}

std::string pieces_text(const std::vector<TokenPiece>& pieces, const TableStyle& style) {
  Table table({{"id", Align::right}, {"piece"}, {"text"}, {"bytes"}, {"characters"}});
  const auto range = [](const std::optional<TextRange>& r) { return r ? fmt::format("{}-{}", r->begin, r->end) : ""; };
  for (const TokenPiece& piece : pieces)
    table.add({std::to_string(piece.id), quote_bytes(piece.spelling), quote_bytes(piece.text), range(piece.bytes),
               range(piece.characters)});
  return table.text(style);
}

void print_pieces(const Options& options, const Tokenizer& tokenizer, std::string_view text, Session& session) {
  const std::vector<TokenPiece> pieces = list_pieces(tokenizer, text, options.encode());
  if (!session.json()) return session.print(pieces_text(pieces, session.style()));
  Json json = {{"tokenizer", tokenizer.kind()}};
  add_pieces(pieces, json);
  session.print_json(json);
}

// Each conversation of a file by itself, as the model reads it.
void print_conversations(const Options& options, Session& session) {
  const SourceModel model = SourceModel::open(options.model);
  const Tokenizer& tokenizer = model.tokenizer();
  Json list = Json::array();
  std::string out;
  std::size_t sum = 0;
  for (const std::string& text : render_conversations(options.conversations, options.chat, model)) {
    const std::vector<TokenPiece> pieces = list_pieces(tokenizer, text, kRenderedText);
    sum += pieces.size();
    Json one = {{"text", text}};
    if (options.count)
      one["count"] = pieces.size();
    else
      add_pieces(pieces, one);
    list.push_back(std::move(one));
    const auto ids = pieces | std::views::transform(&TokenPiece::id);
    out += options.count    ? fmt::format("{}\n", pieces.size())
           : options.pieces ? (out.empty() ? "" : "\n") + pieces_text(pieces, session.style())
                            : fmt::format("{}\n", fmt::join(ids, " "));
  }
  if (!session.json()) return session.print(out);
  session.print_json({{"tokenizer", tokenizer.kind()}, {"count", sum}, {"conversations", std::move(list)}});
}

void print_decoded(const Options& options, const Tokenizer& tokenizer, std::string_view text, const std::string& name,
                   Session& session) {
  const Ids ids = parse_ids(text, tokenizer, name);
  const std::string decoded = tokenizer.decode(ids, options.plain);
  if (!session.json()) return session.print(decoded + "\n");
  session.print_json(
      {{"tokenizer", tokenizer.kind()}, {"count", ids.size()}, {"ids", ids}, {"text", replace_invalid_utf8(decoded)}});
}

// Each line of the input by itself.
void print_lines(const Options& options, const Tokenizer& tokenizer, std::string_view text, const std::string& name,
                 Session& session) {
  Json list = Json::array();
  std::string out;
  each_line(text, name, [&](std::string_view line, const std::string& where) {
    Json answer;
    if (options.decode) {
      answer = replace_invalid_utf8(tokenizer.decode(parse_ids(line, tokenizer, where), options.plain));
      out += answer.dump(-1, ' ', true) + "\n";
    } else {
      const Ids ids = tokenizer.encode(parse_json_line(line, where), options.encode());
      answer = options.count ? Json(ids.size()) : Json(ids);
      out += options.count ? fmt::format("{}\n", ids.size()) : fmt::format("{}\n", fmt::join(ids, " "));
    }
    if (session.json()) list.push_back(std::move(answer));
  });
  if (!session.json()) return session.print(out);
  session.print_json({{"tokenizer", tokenizer.kind()},
                      {options.decode  ? "texts"
                       : options.count ? "counts"
                                       : "ids",
                       list}});
}

// A line for each file, and what they have together.
void print_counts(const Options& options, const Tokenizer& tokenizer, Session& session) {
  Json files = Json::array();
  std::string out;
  std::size_t sum = 0;
  for (const std::string& file : options.text_files) {
    const std::size_t count = tokenizer.encode(session.read_any_text(file), options.encode()).size();
    sum += count;
    out += fmt::format("{} {}\n", count, file);
    files.push_back({{"name", text_name(file)}, {"count", count}});
  }
  if (session.json())
    return session.print_json({{"tokenizer", tokenizer.kind()}, {"count", sum}, {"files", std::move(files)}});
  session.print(fmt::format("{}{} in all\n", out, sum));
}

void tokenize(const CLI::App& verb, const Options& options, Session& session) {
  judge_options(verb, options);
  if (!options.conversations.empty()) return print_conversations(options, session);
  const bool is_given = verb.count("text") != 0 && options.text != "-";
  const std::string file = options.text_files.empty() ? "-" : options.text_files.front();
  const std::string name = is_given ? "the text" : text_name(file);
  const Tokenizer tokenizer = open_tokenizer(options.model);
  if (options.text_files.size() > 1) return print_counts(options, tokenizer, session);
  const bool is_plain = !options.decode && !options.lines;
  const std::string text = is_given   ? options.text
                           : is_plain ? session.read_any_text(file)
                                      : read_text_or_nothing(file);
  if (is_given && is_plain) session.note_invalid_utf8(text, name);
  if (options.lines) return print_lines(options, tokenizer, text, name, session);
  if (options.decode) return print_decoded(options, tokenizer, text, name, session);
  if (options.pieces || (session.json() && !options.count)) return print_pieces(options, tokenizer, text, session);
  if (session.json())
    return session.print_json(
        {{"tokenizer", tokenizer.kind()}, {"count", tokenizer.encode(text, options.encode()).size()}});
  print_ids(options, tokenizer, text, session);
}

}  // namespace

void add_tokenize(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand("tokenize", "Show which tokens a text becomes, or the text of tokens");
  verb->footer(
      "Examples:\n  nibble tokenize models/fable-5M \"Once upon a time\"\n  nibble tokenize model.gguf --pieces "
      "\"<s>Tom's "
      "cat\"\n"
      "  nibble tokenize tokenizer.json --count --text book.txt\n  nibble tokenize models/fable-5M --decode \"1 42 "
      "7\"\n"
      "  nibble tokenize tekken.json --lines --text texts.jsonl      a JSON string on every line\n"
      "  nibble tokenize model.gguf --count --text a.txt --text b.txt\n"
      "  nibble tokenize model.gguf --chat talks.jsonl --pieces      as the model's chat template renders them\n\n"
      "Without a text, or for '-', standard input is read. A text that begins with '-' stands behind '--': nibble "
      "tokenize MODEL -- -x");
  verb->add_option("model", options->model,
                   "Hugging Face directory, .gguf, or a vocabulary alone (tokenizer.json, tokenizer.model ...)")
      ->required();
  verb->add_option("text", options->text, "Text to cut into tokens, or ids (--decode)");
  verb->add_option("--text", options->text_files,
                   "File with the text ('-': standard input); with --count more than once")
      ->check([](const std::string& path) { return path.empty() ? "name a file" : std::string(); });
  verb->add_option("--chat", options->conversations,
                   "File of conversations (JSON lines of \"messages\"), each rendered by the model's chat template");
  add_template_options(*verb, options->chat);
  session.add_force_text(*verb);
  verb->add_flag("--no-special", options->plain,
                 "Take the text of control tokens for plain text; with --decode, leave control tokens out");
  verb->add_flag("--bare", options->bare, "Without the begin and end tokens that the tokenizer puts around a text");
  CLI::Option* const pieces =
      verb->add_flag("--pieces", options->pieces, "A table of the tokens: id, spelling, text, and where they stand");
  CLI::Option* const count = verb->add_flag("--count", options->count, "Only how many tokens there are");
  CLI::Option* const decode = verb->add_flag("--decode", options->decode, "The text is ids; print what they stand for");
  CLI::Option* const lines = verb->add_flag(
      "--lines", options->lines, "Each line is a JSON string (with --decode: ids) of its own, and answered by a line");
  session.add_json(*verb);
  for (CLI::Option* const other : {count, decode, lines, verb->get_option("--json")}) pieces->excludes(other);
  count->excludes(decode);
  verb->callback([options, verb, &session] { tokenize(*verb, *options, session); });
}

}  // namespace nibble::cli
