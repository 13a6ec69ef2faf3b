// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "model/chat/filters.h"
#include "model/chat/parser.h"
#include "model/chat/text.h"

namespace nibble::chat {

using Kind = Expression::Kind;
using Type = Token::Type;

ExpressionPtr make_expression(Kind kind, int line, std::vector<ExpressionPtr> parts, std::string name) {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = line;
  expression->name = std::move(name);
  for (const ExpressionPtr& part : parts)
    if (part) expression->depth = std::max(expression->depth, part->depth + 1);
  expression->parts = std::move(parts);
  if (expression->depth > kMaxSyntaxDepth)
    throw SyntaxFault{line, fmt::format("an expression is deeper than {} levels", kMaxSyntaxDepth)};
  return expression;
}

namespace {

ExpressionPtr make_constant(int line, Value value) {
  ExpressionPtr expression = make_expression(Kind::constant, line);
  expression->value = std::move(value);
  return expression;
}

ExpressionPtr make_text(int line, std::string text) {
  return make_constant(line, Value(std::make_shared<const Text>(nullptr, std::move(text), false)));
}

void raise_depth(Expression& expression, const CallArguments& arguments) {
  const auto raise = [&](const ExpressionPtr& part) {
    if (part) expression.depth = std::max(expression.depth, part->depth + 1);
  };
  for (const ExpressionPtr& part : arguments.positional) raise(part);
  for (const auto& [name, part] : arguments.named) raise(part);
  raise(arguments.more_positional);
  raise(arguments.more_named);
}

}  // namespace

Level::Level(int& depth, const TokenStream& tokens) : depth_(depth) {
  if (++depth_ <= kMaxSyntaxDepth) return;
  --depth_;
  tokens.fail(fmt::format("the template is nested deeper than {} levels", kMaxSyntaxDepth));
}

ExpressionPtr ExpressionParser::parse(bool with_conditional) {
  const Level level(depth, tokens_);
  return with_conditional ? parse_conditional() : parse_or();
}

ExpressionPtr ExpressionParser::parse_conditional() {
  const std::size_t known = unknown.size();
  ExpressionPtr value = parse_or();
  while (tokens_.is_name("if")) {
    const int line = tokens_.take().line;
    ExpressionPtr test = parse_or();
    ExpressionPtr other;
    if (tokens_.skip_name("else")) {
      const Level level(depth, tokens_);
      other = parse_conditional();
    }
    unknown.erase(unknown.begin() + static_cast<std::ptrdiff_t>(known), unknown.end());
    value = make_expression(Kind::conditional, line, parts_of(std::move(value), std::move(test), std::move(other)));
  }
  return value;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr left = parse_and();
  while (tokens_.is_name("or")) {
    const int line = tokens_.take().line;
    ExpressionPtr right = parse_and();
    left = make_expression(Kind::logical_or, line, parts_of(std::move(left), std::move(right)));
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr left = parse_not();
  while (tokens_.is_name("and")) {
    const int line = tokens_.take().line;
    ExpressionPtr right = parse_not();
    left = make_expression(Kind::logical_and, line, parts_of(std::move(left), std::move(right)));
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_not() {
  if (!tokens_.is_name("not")) return parse_compare();
  const Level level(depth, tokens_);
  const int line = tokens_.take().line;
  return make_expression(Kind::logical_not, line, parts_of(parse_not()));
}

ExpressionPtr ExpressionParser::parse_compare() {
  static constexpr std::string_view kSigns[] = {"==", "!=", "<", "<=", ">", ">="};
  const int line = tokens_.current().line;
  std::vector<ExpressionPtr> parts = parts_of(parse_sum());
  std::vector<std::string> signs;
  while (true) {
    const Token& token = tokens_.current();
    if (token.type == Type::sign && std::find(std::begin(kSigns), std::end(kSigns), token.text) != std::end(kSigns)) {
      signs.push_back(tokens_.take().text);
    } else if (tokens_.skip_name("in")) {
      signs.emplace_back("in");
    } else if (tokens_.is_name("not") && tokens_.next_is_name("in")) {
      tokens_.take();
      tokens_.take();
      signs.emplace_back("not in");
    } else {
      break;
    }
    parts.push_back(parse_sum());
  }
  if (signs.empty()) return std::move(parts.front());
  ExpressionPtr compare = make_expression(Kind::compare, line, std::move(parts));
  compare->signs = std::move(signs);
  return compare;
}

ExpressionPtr ExpressionParser::parse_sum() {
  ExpressionPtr left = parse_concatenation();
  while (tokens_.is_sign("+") || tokens_.is_sign("-")) {
    const Token sign = tokens_.take();
    ExpressionPtr right = parse_concatenation();
    left = make_expression(Kind::binary, sign.line, parts_of(std::move(left), std::move(right)), sign.text);
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_concatenation() {
  const int line = tokens_.current().line;
  std::vector<ExpressionPtr> parts = parts_of(parse_product());
  while (tokens_.skip_sign("~")) parts.push_back(parse_product());
  if (parts.size() == 1) return std::move(parts.front());
  return make_expression(Kind::concatenate, line, std::move(parts));
}

ExpressionPtr ExpressionParser::parse_product() {
  ExpressionPtr left = parse_power();
  while (tokens_.is_sign("*") || tokens_.is_sign("/") || tokens_.is_sign("//") || tokens_.is_sign("%")) {
    const Token sign = tokens_.take();
    ExpressionPtr right = parse_power();
    left = make_expression(Kind::binary, sign.line, parts_of(std::move(left), std::move(right)), sign.text);
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_power() {
  ExpressionPtr left = parse_unary();
  while (tokens_.is_sign("**")) {
    const Token sign = tokens_.take();
    ExpressionPtr right = parse_unary();
    left = make_expression(Kind::binary, sign.line, parts_of(std::move(left), std::move(right)), sign.text);
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filter) {
  const Level level(depth, tokens_);
  ExpressionPtr value;
  if (tokens_.is_sign("-") || tokens_.is_sign("+")) {
    const Token sign = tokens_.take();
    value =
        make_expression(sign.text == "-" ? Kind::negative : Kind::positive, sign.line, parts_of(parse_unary(false)));
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filter ? parse_filter_or_test(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::parse_primary(bool with_space) {
  const Token& token = tokens_.current();
  if (token.type == Type::name) return parse_name(with_space);
  if (token.type == Type::integer || token.type == Type::real) return parse_number();
  if (token.type == Type::string) {
    const int line = token.line;
    std::string text;
    while (tokens_.current().type == Type::string) text += tokens_.take().text;
    return make_text(line, std::move(text));
  }
  if (tokens_.skip_sign("(")) {
    ExpressionPtr tuple = parse_tuple(true, {}, true);
    tokens_.expect_sign(")");
    return tuple;
  }
  if (tokens_.is_sign("[")) return parse_list();
  if (tokens_.is_sign("{")) return parse_dictionary();
  tokens_.fail_unexpected("an expression");
}

ExpressionPtr ExpressionParser::parse_name(bool with_space) {
  const Token token = tokens_.take();
  if (token.text == "true" || token.text == "True") return make_constant(token.line, Value(true));
  if (token.text == "false" || token.text == "False") return make_constant(token.line, Value(false));
  if (token.text == "none" || token.text == "None") return make_constant(token.line, Value(None{}));
  ExpressionPtr name = make_expression(Kind::name, token.line, {}, token.text);
  if (!with_space || !tokens_.skip_sign(".")) return name;
  const Token attribute = tokens_.expect(Type::name, "an attribute's name");
  return make_expression(Kind::space_name, token.line, parts_of(std::move(name)), attribute.text);
}

ExpressionPtr ExpressionParser::parse_number() {
  const Token token = tokens_.take();
  if (token.type == Type::real) return make_constant(token.line, Value(read_decimal(token.text).value_or(0)));
  int base = 10;
  std::string_view digits = token.text;
  if (digits.size() > 2 && digits[0] == '0' && !(digits[1] >= '0' && digits[1] <= '9')) {
    const char kind = static_cast<char>(digits[1] | 0x20);
    base = kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
    digits.remove_prefix(2);
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc{}) throw SyntaxFault{token.line, "a number needs more than 64 bits", true};
  return make_constant(token.line, Value(value));
}

ExpressionPtr ExpressionParser::parse_list() {
  const int line = tokens_.take().line;
  std::vector<ExpressionPtr> items;
  while (!tokens_.is_sign("]")) {
    if (!items.empty()) tokens_.expect_sign(",");
    if (tokens_.is_sign("]")) break;
    items.push_back(parse());
  }
  tokens_.expect_sign("]");
  return make_expression(Kind::list, line, std::move(items));
}

ExpressionPtr ExpressionParser::parse_dictionary() {
  const int line = tokens_.take().line;
  std::vector<ExpressionPtr> items;
  while (!tokens_.is_sign("}")) {
    if (!items.empty()) tokens_.expect_sign(",");
    if (tokens_.is_sign("}")) break;
    items.push_back(parse());
    tokens_.expect_sign(":");
    items.push_back(parse());
  }
  tokens_.expect_sign("}");
  return make_expression(Kind::dictionary, line, std::move(items));
}

bool ExpressionParser::ends_tuple(std::string_view ends) const {
  const Type type = tokens_.current().type;
  return type == Type::variable_end || type == Type::block_end || tokens_.is_sign(")") ||
         (!ends.empty() && tokens_.is_name(ends));
}

ExpressionPtr ExpressionParser::parse_tuple(bool with_conditional, std::string_view ends, bool may_be_empty) {
  const int line = tokens_.current().line;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) tokens_.expect_sign(",");
    if (ends_tuple(ends)) break;
    items.push_back(parse(with_conditional));
    if (!tokens_.is_sign(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items.front());
  if (!is_tuple && !may_be_empty) tokens_.fail_unexpected("an expression");
  return make_expression(Kind::tuple, line, std::move(items));
}

ExpressionPtr ExpressionParser::parse_target(std::string_view ends, bool with_space) {
  const int line = tokens_.current().line;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) tokens_.expect_sign(",");
    if (ends_tuple(ends) || tokens_.is_sign("=")) break;
    if (tokens_.skip_sign("(")) {
      const Level level(depth, tokens_);
      items.push_back(parse_target({}, with_space));
      tokens_.expect_sign(")");
    } else {
      items.push_back(parse_primary(with_space));
    }
    const Kind kind = items.back()->kind;
    if (kind != Kind::name && kind != Kind::space_name && kind != Kind::tuple)
      throw SyntaxFault{line, "only names can be assigned to"};
    if (!tokens_.is_sign(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items.front());
  if (items.empty()) tokens_.fail_unexpected("a name");
  return make_expression(Kind::tuple, line, std::move(items));
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr value) {
  while (true) {
    if (tokens_.is_sign(".") || tokens_.is_sign("["))
      value = parse_subscript(std::move(value));
    else if (tokens_.is_sign("("))
      value = parse_call(std::move(value));
    else
      return value;
  }
}

ExpressionPtr ExpressionParser::parse_filter_or_test(ExpressionPtr value) {
  while (true) {
    if (tokens_.is_sign("|"))
      value = parse_filters(std::move(value), false);
    else if (tokens_.is_name("is"))
      value = parse_test(std::move(value));
    else if (tokens_.is_sign("("))
      value = parse_call(std::move(value));
    else
      return value;
  }
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr value) {
  const Token token = tokens_.take();
  if (token.text == ".") {
    if (tokens_.current().type == Type::integer) {
      ExpressionPtr index = parse_number();
      return make_expression(Kind::item, token.line, parts_of(std::move(value), std::move(index)));
    }
    const Token name = tokens_.expect(Type::name, "an attribute's name");
    return make_expression(Kind::attribute, token.line, parts_of(std::move(value)), name.text);
  }
  std::vector<ExpressionPtr> items;
  while (!tokens_.is_sign("]")) {
    if (!items.empty()) tokens_.expect_sign(",");
    items.push_back(parse_subscribed());
    if (items.size() > 1 && (items.front()->kind == Kind::slice || items.back()->kind == Kind::slice))
      tokens_.fail("a slice stands alone in its brackets");
  }
  tokens_.expect_sign("]");
  if (items.size() != 1)
    return make_expression(Kind::item, token.line,
                           parts_of(std::move(value), make_expression(Kind::tuple, token.line, std::move(items))));
  ExpressionPtr item = std::move(items.front());
  if (item->kind != Kind::slice)
    return make_expression(Kind::item, token.line, parts_of(std::move(value), std::move(item)));
  item->parts[0] = std::move(value);
  return make_expression(Kind::slice, token.line, std::move(item->parts));
}

ExpressionPtr ExpressionParser::parse_subscribed() {
  const int line = tokens_.current().line;
  ExpressionPtr bounds[3];
  if (!tokens_.is_sign(":")) {
    bounds[0] = parse();
    if (!tokens_.is_sign(":")) return std::move(bounds[0]);
  }
  for (int i = 1; i < 3 && tokens_.skip_sign(":"); ++i)
    if (!tokens_.is_sign(":") && !tokens_.is_sign("]") && !tokens_.is_sign(",")) bounds[i] = parse();
  return make_expression(Kind::slice, line,
                         parts_of(ExpressionPtr{}, std::move(bounds[0]), std::move(bounds[1]), std::move(bounds[2])));
}

void ExpressionParser::parse_argument(CallArguments& arguments, int line) {
  const auto refuse_if = [line](bool is_wrong) {
    if (is_wrong) throw SyntaxFault{line, "a call's positional values come first, then named ones, *these and **these"};
  };
  if (tokens_.skip_sign("*")) {
    refuse_if(arguments.more_positional || arguments.more_named);
    arguments.more_positional = parse();
  } else if (tokens_.skip_sign("**")) {
    refuse_if(arguments.more_named != nullptr);
    arguments.more_named = parse();
  } else if (tokens_.current().type == Type::name && tokens_.next_is_sign("=")) {
    refuse_if(arguments.more_named != nullptr);
    const std::string name = tokens_.take().text;
    tokens_.take();
    for (const auto& [other, value] : arguments.named)
      if (other == name) throw SyntaxFault{line, fmt::format("'{}' is given a second time", name)};
    arguments.named.emplace_back(name, parse());
  } else {
    refuse_if(arguments.more_positional || arguments.more_named || !arguments.named.empty());
    arguments.positional.push_back(parse());
  }
}

CallArguments ExpressionParser::parse_arguments() {
  const int line = tokens_.current().line;
  tokens_.expect_sign("(");
  CallArguments arguments;
  for (bool is_first = true; !tokens_.is_sign(")"); is_first = false) {
    if (!is_first) {
      tokens_.expect_sign(",");
      if (tokens_.is_sign(")")) break;
    }
    parse_argument(arguments, line);
  }
  tokens_.expect_sign(")");
  return arguments;
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr value) {
  const int line = tokens_.current().line;
  ExpressionPtr call = make_expression(Kind::call, line, parts_of(std::move(value)));
  call->arguments = parse_arguments();
  raise_depth(*call, call->arguments);
  return call;
}

std::string ExpressionParser::parse_dotted_name() {
  std::string name = tokens_.expect(Type::name, "a name").text;
  while (tokens_.skip_sign(".")) name += "." + tokens_.expect(Type::name, "a name").text;
  return name;
}

void ExpressionParser::judge_name(const Expression& use) {
  const bool is_filter = use.kind == Kind::filter;
  if (is_filter ? find_filter(use.name) != nullptr : find_test(use.name) != nullptr) return;
  unknown.push_back({use.line, fmt::format("no {} is named '{}'", is_filter ? "filter" : "test", use.name), true});
}

ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr value, bool starts_with_name) {
  while (starts_with_name || tokens_.is_sign("|")) {
    if (!starts_with_name) tokens_.take();
    starts_with_name = false;
    const int line = tokens_.current().line;
    std::string name = parse_dotted_name();
    value = make_expression(Kind::filter, line, parts_of(std::move(value)), std::move(name));
    if (tokens_.is_sign("(")) value->arguments = parse_arguments();
    raise_depth(*value, value->arguments);
    judge_name(*value);
  }
  return value;
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr value) {
  tokens_.take();
  const bool is_negated = tokens_.skip_name("not");
  const int line = tokens_.current().line;
  std::string name = parse_dotted_name();
  ExpressionPtr test = make_expression(Kind::test, line, parts_of(std::move(value)), std::move(name));
  const Token& token = tokens_.current();
  const bool is_value = token.type == Type::string || token.type == Type::integer || token.type == Type::real ||
                        tokens_.is_sign("[") || tokens_.is_sign("{");
  const bool is_word = token.type == Type::name && token.text != "else" && token.text != "or" && token.text != "and";
  if (tokens_.is_sign("(")) {
    test->arguments = parse_arguments();
  } else if (is_value || is_word) {
    if (tokens_.is_name("is")) tokens_.fail("tests cannot be chained with \"is\"");
    test->arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  raise_depth(*test, test->arguments);
  judge_name(*test);
  if (is_negated) return make_expression(Kind::logical_not, line, parts_of(std::move(test)));
  return test;
}

}  // namespace nibble::chat
