// SPDX-License-Identifier: Apache-2.0
#include "serve/grammar/grammar.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/random.h"
#include "base/utf8.h"
#include "nibble/error.h"
#include "serve/grammar/call_grammar.h"
#include "serve/grammar/gbnf.h"
#include "serve/grammar/grammar_hold.h"
#include "serve/grammar/json_schema.h"
#include "serve/grammar/token_constraint.h"

namespace nibble::serve {
namespace {

using Json = nlohmann::ordered_json;

bool admits(GrammarMachine& machine, std::string_view text) {
  const GrammarMachine::State state = machine.next(machine.begin(), text);
  return state != GrammarMachine::kDead && machine.is_complete(state);
}

bool gbnf_admits(std::string_view grammar, std::string_view text) {
  GrammarMachine machine(parse_gbnf(grammar));
  return admits(machine, text);
}

template <typename Act>
std::string message_of(const Act& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Grammar, CharactersAreTheirUtf8) {
  // Every code point at and beside the places where UTF-8 changes, in ranges that end there.
  const std::vector<char32_t> edges = {0x00,   0x01,   0x41,   0x7e,    0x7f,    0x80,    0x81,
                                       0xbf,   0xc0,   0x7fe,  0x7ff,   0x800,   0xfff,   0x1000,
                                       0xd7ff, 0xe000, 0xffff, 0x10000, 0x3ffff, 0x40000, 0x10ffff};
  for (const char32_t first : edges)
    for (const char32_t last : edges) {
      if (last < first) continue;
      GrammarRules rules;
      const std::int32_t root = rules.make();
      rules.set(root, GrammarRules::characters(first, last));
      rules.set_root(root);
      GrammarMachine machine(std::move(rules));
      for (const char32_t one : edges) {
        std::string bytes;
        append_utf8(bytes, one);
        EXPECT_EQ(admits(machine, bytes), one >= first && one <= last)
            << fmt::format("{:x} in {:x}..{:x}", static_cast<unsigned>(one), static_cast<unsigned>(first),
                           static_cast<unsigned>(last));
      }
      EXPECT_FALSE(admits(machine, "\xff"));
      EXPECT_FALSE(admits(machine, "\xc0\x80"));
      EXPECT_FALSE(admits(machine, ""));
    }
}

TEST(Gbnf, IsReadAsItIsWritten) {
  constexpr const char* kSums = R"g(
    # sums of numbers
    root ::= term ( "+" term )*
    term ::= number | "(" root ")"
    number ::= "-"? [0-9]+ ("." [0-9]{1,2})?)g";
  for (const char* const yes : {"1", "12+3", "(1+2)+-3.14", "((((7))))"}) EXPECT_TRUE(gbnf_admits(kSums, yes)) << yes;
  for (const char* const no : {"", "+", "1+", "(1", "1)", "1.234", "--1", "1 + 2"})
    EXPECT_FALSE(gbnf_admits(kSums, no)) << no;
  EXPECT_TRUE(gbnf_admits("root ::= [^a-c\\n]{2,}", "xyz"));
  EXPECT_TRUE(gbnf_admits("root ::= [^a-c\\n]{2,}", "\xc3\xa4\xf0\x9f\x98\x80"));
  EXPECT_FALSE(gbnf_admits("root ::= [^a-c\\n]{2,}", "xa"));
  EXPECT_FALSE(gbnf_admits("root ::= [^a-c\\n]{2,}", "x"));
  EXPECT_TRUE(gbnf_admits("root ::= . \"\\x41\\u00e4\\\"\"", "zA\xc3\xa4\""));
  EXPECT_TRUE(gbnf_admits("root ::= a{3} b{0,2}\na ::= \"a\"\nb ::= \"b\"", "aaab"));
  EXPECT_FALSE(gbnf_admits("root ::= a{3} b{0,2}\na ::= \"a\"\nb ::= \"b\"", "aaabbb"));
  EXPECT_TRUE(gbnf_admits("root ::= |\n \"x\"", ""));
}

TEST(Gbnf, FaultsAreNamedWithTheirLine) {
  const auto fault = [](const char* grammar) { return message_of([&] { parse_gbnf(grammar); }); };
  EXPECT_NE(fault("a ::= \"x\"").find("no rule 'root'"), std::string::npos);
  EXPECT_NE(fault("root ::= b").find("no rule 'b'"), std::string::npos);
  EXPECT_NE(fault("root ::= \"x\"\nroot ::= \"y\"").find("line 2"), std::string::npos);
  EXPECT_NE(fault("root ::= \"x").find("does not end"), std::string::npos);
  EXPECT_NE(fault("root ::= [z-a]").find("ends before it begins"), std::string::npos);
  EXPECT_NE(fault("root ::= (\"x\"").find("')' is expected"), std::string::npos);
  EXPECT_NE(fault("root = \"x\"").find("'::='"), std::string::npos);
  EXPECT_NE(fault("root ::= root \"x\"").find("begins with itself"), std::string::npos);
  EXPECT_NE(fault("root ::= a? root\na ::= \"x\"").find("begins with itself"), std::string::npos);
  EXPECT_NE(fault("root ::= \"x\"{9999999}").find("at most"), std::string::npos);
  EXPECT_NE(fault("root ::= \"\\q\"").find("escape"), std::string::npos);
}

struct SchemaCase {
  const char* schema;
  std::vector<const char*> yes, no;
};

const std::vector<SchemaCase>& schema_cases() {
  static const std::vector<SchemaCase> cases = {
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "boolean"}},
           "required": ["b"], "additionalProperties": false})",
       {R"({"b":"x"})", R"({"a":1,"b":"x"})", R"({"a": -12, "b": "", "c": true})", "{\n  \"b\": \"x\"\n}"},
       {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":"x","d":1})", R"({"b":1})", R"({"b":"x",})",
        R"({,"b":"x"})"}},
      {R"({"type": "array", "items": {"enum": ["x", 1, null]}, "minItems": 1, "maxItems": 3})",
       {R"(["x"])", R"([1,null,"x"])"},
       {"[]", R"([1,1,1,1])", "[2]", "[1,]"}},
      {R"({"type": "array", "prefixItems": [{"type": "number"}, {"const": "m"}], "minItems": 2, "items": false})",
       {R"([1.5,"m"])", R"([-0.25e+3, "m"])"},
       {"[1]", R"([1,"m",2])", R"(["m",1])"}},
      {R"({"type": ["string", "null"], "minLength": 2, "maxLength": 3})",
       {"null", "\"ab\"", "\"\xc3\xa4\xc3\xb6\xc3\xbc\"", R"("\n\u00e4")"},
       {"\"a\"", "\"abcd\"", "1", "\"a\nb\"", "\"\xff\xff\"", R"("\x")", R"("\ud800\ud800")"}},
      {R"({"$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer"},
           "l": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["v", "l"]}}, "$ref": "#/$defs/tree"})",
       {R"({"v":1,"l":[]})", R"({"v":1,"l":[{"v":2,"l":[{"v":3,"l":[]}]}]})"},
       {R"({"v":1})", R"({"v":1,"l":[2]})", R"({"v":1,"l":[{"v":2}]})"}},
      {R"({"anyOf": [{"type": "integer"}, {"type": "object", "additionalProperties": {"type": "boolean"}}]})",
       {"7", "{}", R"({"x":true,"y":false})"},
       {"7.5", R"({"x":1})", "[]", "007"}},
      {R"({"type": "number"})", {"0", "-1", "3.25", "1e9", "1E-9"}, {"01", "1.", ".5", "+1", "1e", "NaN", "--1"}},
      {"true", {"1", R"({"a":[1,{"b":null}]})", "\"x\""}, {"", "{", R"({"a"})", "nul"}},
      {R"({"enum": ["a", 1, 2.5], "type": "string", "description": "d"})", {"\"a\""}, {"1", "2.5"}},
  };
  return cases;
}

TEST(JsonSchema, AdmitsWhatItSaysAndNothingElse) {
  for (const SchemaCase& one : schema_cases()) {
    GrammarMachine machine(grammar_of_schema(Json::parse(one.schema)));
    for (const char* const text : one.yes) EXPECT_TRUE(admits(machine, text)) << one.schema << " " << text;
    for (const char* const text : one.no) EXPECT_FALSE(admits(machine, text)) << one.schema << " " << text;
  }
  GrammarMachine objects(grammar_of_objects());
  EXPECT_TRUE(admits(objects, R"({"a": [1, {"b": "c"}], "d": null})"));
  EXPECT_FALSE(admits(objects, "[1]"));
  EXPECT_FALSE(admits(objects, R"({"a": 1} )"));
}

// Arguments are objects whatever else their schema's root admits, and no schema costs more than is sensible.
TEST(JsonSchema, LooseOnesAreObjectsOfWhatIsKnown) {
  const auto loosely = [](const std::string& schema, const char* text) {
    GrammarMachine machine(grammar_of_loose_objects(Json::parse(schema)));
    return admits(machine, text);
  };
  for (const char* const schema :
       {R"({"type": ["object", "null"], "properties": {"a": {"type": "integer"}}})",
        R"({"type": "string", "properties": {"a": {"type": "integer"}}})",
        R"({"const": 7, "properties": {"a": {"type": "integer"}}})",
        R"({"$ref": "#/$defs/x", "$defs": {"x": {"type": "integer"}}, "properties": {"a": {"type": "integer"}}})"}) {
    EXPECT_TRUE(loosely(schema, R"({"a": 1})")) << schema;
    for (const char* const no : {"null", "7", R"("x")", R"({"a": "x"})"}) EXPECT_FALSE(loosely(schema, no)) << schema;
  }
  constexpr const char* kBeyond = R"({"properties": {"n": {"type": "integer", "minimum": 1}, "w": {"oneOf": [
      {"const": "x"}]}, "p": {"type": "array", "prefixItems": [{"const": 1}]}, "o": {"type": "object",
      "additionalProperties": {"type": "string"}}}, "required": ["n", 5, "gone", "n"]})";
  EXPECT_TRUE(loosely(kBeyond, R"({"n": 0, "w": "x", "p": [2], "o": {"k": "v"}})"));
  for (const char* const no : {"{}", R"({"n": 0, "w": "y"})", R"({"n": 0, "p": 2})", R"({"n": 0, "o": {"k": 1}})"})
    EXPECT_FALSE(loosely(kBeyond, no)) << no;
  // A definition that comes to itself before any text says nothing.
  constexpr const char* kRound = R"({"properties": {"x": {"$ref": "#/$defs/y"}}, "$defs": {
      "y": {"anyOf": [{"$ref": "#/$defs/y"}, {"type": "null"}]}}})";
  EXPECT_TRUE(loosely(kRound, R"({"x": 1})"));
  EXPECT_FALSE(loosely(kRound, "null"));
  const auto fault = [](const std::string& schema) {
    return message_of([&] { grammar_of_loose_objects(Json::parse(schema)); });
  };
  std::string list = "[]", nested;
  for (int i = 0; i < 200'000; ++i) list += ",[]";
  nested = "{\"enum\":[" + list + "]}";
  for (int i = 0; i < 15; ++i) nested = "{\"properties\":{\"a\":" + nested + "}}";
  EXPECT_NE(fault(nested).find("too large"), std::string::npos);
  EXPECT_NE(fault("{\"properties\":{\"a\":{\"const\":\"" + std::string(300'000, 'x') + "\"}}}").find("too large"),
            std::string::npos);
  EXPECT_NE(fault("{\"properties\":{\"" + std::string(300'000, 'x') + "\":true}}").find("too large"),
            std::string::npos);
}

TEST(JsonSchema, RefusesByNameWhatItDoesNotKnow) {
  const auto refusal = [](const char* schema) { return message_of([&] { grammar_of_schema(Json::parse(schema)); }); };
  for (const auto& [schema, part] : std::vector<std::pair<const char*, const char*>>{
           {R"({"type": "string", "pattern": "^a"})", "pattern"},
           {R"({"type": "string", "format": "date"})", "format"},
           {R"({"type": "integer", "minimum": 3})", "minimum"},
           {R"({"oneOf": [{"type": "string"}]})", "oneOf"},
           {R"({"not": {}})", "not"},
           {R"({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true}}})",
            "#/properties/a has what is not supported: the keyword uniqueItems"},
           {R"({"allOf": [{}, {}]})", "allOf"},
           {R"({"$ref": "#/$defs/y", "$defs": {"y": {"anyOf": [{"$ref": "#/$defs/y"}, {"type": "null"}]}}})",
            "'#/$defs/y'"},
           {R"({"$ref": "https://example.org/x"})", "elsewhere"},
           {R"({"$ref": "#/nowhere"})", "nowhere"},
           {R"({"$ref": "#"})", "begins with itself"},
           {R"({"type": "thing"})", "no such type"},
           {R"({"properties": {}})", "without type"},
           {R"({"minLength": 3})", "without type"},
           {R"({"type": "object", "required": ["x"]})", "\"x\""},
           {R"({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "null"}})",
            "beside properties"},
           {"false", "admits nothing"},
           {"5", "is none"}})
    EXPECT_NE(refusal(schema).find(part), std::string::npos) << schema << ": " << refusal(schema);
}

// Whatever is chosen among the tokens that are left makes a text that the grammar admits; and what is left is what a
// walk of each token by itself leaves.
TEST(TokenConstraint, LeavesTheTokensThatGoOn) {
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(Checkpoint::open(NIBBLE_SOURCE_DIR "/tests/data/tale-4M"));
  const TokenList list(tokenizer, tokenizer.vocab_size());
  Random random(3);
  std::size_t ended = 0;
  for (const SchemaCase& one : schema_cases())
    for (int round = 0; round < 4; ++round) {
      const Json schema = Json::parse(one.schema);
      TokenConstraint constraint(list, grammar_of_schema(schema));
      GrammarMachine alone(grammar_of_schema(schema));
      GrammarMachine::State state = alone.begin();
      for (int step = 0; step < 40; ++step) {
        std::vector<float> logits(list.vocabulary(), 0);
        constraint.restrict(logits);
        std::vector<std::int32_t> left;
        for (std::size_t i = 0; i < logits.size(); ++i) {
          const auto id = static_cast<std::int32_t>(i);
          const bool may =
              tokenizer.is_end(id) ? alone.is_complete(state)
              : tokenizer.is_special(id)
                  ? false
                  : !tokenizer.piece(id).empty() && alone.next(state, tokenizer.piece(id)) != GrammarMachine::kDead;
          ASSERT_EQ(logits[i] == 0, may) << one.schema << " " << tokenizer.piece(id);
          if (may) left.push_back(id);
        }
        const std::int32_t id = left[random.below(left.size())];
        if (tokenizer.is_end(id)) {
          ++ended;
          break;
        }
        constraint.take(id);
        state = alone.next(state, tokenizer.piece(id));
        ASSERT_NE(state, GrammarMachine::kDead);
      }
    }
  EXPECT_GE(ended, 5u);
}

// A model that wants to write `wish`, and of what is left to it takes what is nearest: the next token of the wish, else
// the one of the smallest number.
std::string written(const Tokenizer& tokenizer, const TokenList& list, GrammarHold& hold, std::string_view wish) {
  std::string text;
  for (int step = 0; step < 200; ++step) {
    std::vector<float> logits(list.vocabulary(), 0);
    const bool goes_on = wish.starts_with(text) && text.size() < wish.size();
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const std::string piece = tokenizer.piece(static_cast<std::int32_t>(i));
      if (goes_on && !piece.empty() && wish.substr(text.size()).starts_with(piece))
        logits[i] = 100 + static_cast<float>(piece.size());
    }
    if (!goes_on)
      for (const std::int32_t end : list.ends()) logits[static_cast<std::size_t>(end)] = 50;
    std::int32_t id = -1;
    do {
      hold.restrict(logits);
      id = static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
    } while (!hold.take(id, logits));
    if (tokenizer.is_end(id)) return text;
    text += tokenizer.piece(id);
  }
  return text + "...";
}

TEST(GrammarHold, BeginsWhereItIsToldTo) {
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(Checkpoint::open(NIBBLE_SOURCE_DIR "/tests/data/tale-4M"));
  const TokenList list(tokenizer, tokenizer.vocab_size());
  const auto write = [&](const char* grammar, const GrammarStart& start, const char* wish) {
    GrammarHold hold(list, std::make_shared<const GrammarRules>(parse_gbnf(grammar)), start);
    return written(tokenizer, list, hold, wish);
  };
  constexpr const char* kCall = "root ::= \"<call>a\" | \"<call>b\"";
  const GrammarStart at_call = {.opening = "<call>"};
  EXPECT_EQ(write(kCall, {}, "free"), "<call>a");
  EXPECT_EQ(write(kCall, at_call, "Some <cal text"), "Some <cal text");
  EXPECT_EQ(write(kCall, at_call, "Some <call>a"), "Some <call>a");
  // Held from there on, and by no token that goes beyond.
  EXPECT_EQ(write(kCall, at_call, "Some <call>anything").substr(0, 12), "Some <call>a");
  EXPECT_EQ(write(kCall, at_call, "Some <call>once").substr(0, 11), "Some <call>");
  const GrammarStart first = {.opening = "<call>", .opens_text = true};
  EXPECT_EQ(write(kCall, first, "Some <call>once"), "Some <call>once");
  EXPECT_EQ(write(kCall, first, "\n<call>a"), "\n<call>a");
  // What is thought is free, whatever it says; and a form comes behind it, not instead of it.
  const GrammarStart thinks = {.thought_open = "<t>", .thought_close = "</t>", .begins_in_thought = true};
  EXPECT_EQ(write(kCall, thinks, "I <call>it</t><call>a"), "I <call>it</t><call>a");
  EXPECT_TRUE(write(kCall, thinks, "I").starts_with("I"));
  GrammarStart both = thinks;
  both.opening = "<call>";
  EXPECT_EQ(write(kCall, both, "I <call>it</t>So"), "I <call>it</t>So");
  EXPECT_EQ(write(kCall, both, "I <call>it</t>So <call>a"), "I <call>it</t>So <call>a");
  both.begins_in_thought = false;
  EXPECT_EQ(write(kCall, both, "<t>I <call>it</t>So <call>a"), "<t>I <call>it</t>So <call>a");
  EXPECT_EQ(write(kCall, both, "So <call>a"), "So <call>a");
}

// A control token is written by itself alone, and only where a grammar names it.
TEST(GrammarHold, ControlTokensAreThemselves) {
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(Checkpoint::open(NIBBLE_SOURCE_DIR "/tests/data/tale-4M"));
  const TokenList list(tokenizer, tokenizer.vocab_size());
  std::string mark;
  for (std::size_t id = 0; id < tokenizer.vocab_size() && mark.empty(); ++id)
    if (const auto one = static_cast<std::int32_t>(id); tokenizer.is_special(one) && !tokenizer.is_end(one))
      mark = tokenizer.piece(one);
  ASSERT_FALSE(mark.empty());
  ToolCallForm form = tool_call_form("[TOOL_CALLS][ARGS]");
  form.head = form.opening = mark;
  form.marks = {mark};
  GrammarRules arguments;
  arguments.set(arguments.name("root"), {GrammarRules::text("{}")});
  const std::vector<CallableTool> tools = {{"f", arguments}};
  const GrammarRules rules = grammar_of_calls(form, tools, true, tokenizer);
  TokenConstraint constraint(list, rules);
  std::vector<float> logits(list.vocabulary(), 0);
  constraint.restrict(logits);
  std::size_t left = 0;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] != 0) continue;
    ++left;
    EXPECT_TRUE(tokenizer.is_special(static_cast<std::int32_t>(id)));
    EXPECT_TRUE(mark.starts_with(tokenizer.piece(static_cast<std::int32_t>(id))));
  }
  EXPECT_GE(left, 1u);
  const auto shared = std::make_shared<const GrammarRules>(rules);
  GrammarHold hold(list, shared, {.opening = mark});
  EXPECT_EQ(written(tokenizer, list, hold, "So" + mark + "f[ARGS]{}"), "So" + mark + "f[ARGS]{}");
  // Marks of thoughts may be several tokens, control tokens among them.
  const std::string thought = mark + "x" + mark + "It is " + mark + "f[ARGS].</t>So";
  GrammarHold thinks(list, shared, {.thought_open = mark + "x" + mark, .thought_close = "</t>", .opening = mark});
  EXPECT_EQ(written(tokenizer, list, thinks, thought), thought);
}

TEST(GrammarMachine, DeepTextsEndInAnError) {
  GrammarMachine machine(parse_gbnf("root ::= \"(\" root \")\" | \"x\""));
  const std::string deep = std::string(1000, '(') + "x" + std::string(1000, ')');
  EXPECT_TRUE(admits(machine, deep));
  EXPECT_NE(message_of([&] { machine.next(machine.begin(), std::string(2'000'000, '(')); }).find("intricate"),
            std::string::npos);
}

}  // namespace
}  // namespace nibble::serve
