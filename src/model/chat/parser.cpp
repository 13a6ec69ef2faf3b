// SPDX-License-Identifier: Apache-2.0
#include "model/chat/parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/chat/symbols.h"

namespace nibble::chat {

using Type = Token::Type;
using StatementPtr = std::unique_ptr<Statement>;
using Ends = std::initializer_list<std::string_view>;

namespace {

std::string describe(const Token& token) {
  switch (token.type) {
    case Type::name:
    case Type::sign:
    case Type::integer:
    case Type::real:
      return fmt::format("'{}'", token.text);
    case Type::string:
      return "a text";
    case Type::end:
      return "the template's end";
    case Type::data:
      return "text outside of tags";
    default:
      return token.type == Type::block_end ? "'%}'" : token.type == Type::variable_end ? "'}}'" : "a tag";
  }
}

}  // namespace

Token TokenStream::take() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::skip_sign(std::string_view sign) {
  if (!is_sign(sign)) return false;
  take();
  return true;
}

bool TokenStream::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  take();
  return true;
}

void TokenStream::expect_sign(std::string_view sign) {
  if (!skip_sign(sign)) fail_unexpected(fmt::format("'{}'", sign));
}

Token TokenStream::expect(Type type, std::string_view what) {
  if (current().type != type) fail_unexpected(what);
  return take();
}

void TokenStream::fail_unexpected(std::string_view wanted) const {
  fail(fmt::format("expected {}, found {}", wanted, describe(current())));
}

namespace {

class StatementParser {
 public:
  explicit StatementParser(std::string_view source) : tokens_(tokenize(source)), expressions_(tokens_) {}

  Program run() {
    Program program;
    program.body = parse_body({});
    judge_unknown(0);
    find_masked(program);
    return program;
  }

 private:
  void judge_unknown(std::size_t known) const {
    if (expressions_.unknown.size() > known) throw expressions_.unknown[known];
  }

  StatementPtr begin(Statement::Kind kind) {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->line = tokens_.take().line;
    return statement;
  }

  bool is_one_of(Ends ends) const {
    return tokens_.current().type == Type::name &&
           std::find(ends.begin(), ends.end(), tokens_.current().text) != ends.end();
  }

  // Up to a block that begins with one of these names, which is then the current token; or the template's end.
  Statement::Body parse_body(Ends ends) {
    const Level level(expressions_.depth, tokens_);
    Statement::Body body;
    StatementPtr output;
    while (tokens_.current().type != Type::end) {
      if (tokens_.current().type != Type::block_begin) {
        if (!output) {
          output = std::make_unique<Statement>();
          output->line = tokens_.current().line;
        }
        output->values.push_back(parse_output());
        continue;
      }
      if (output) body.push_back(std::move(output));
      tokens_.take();
      if (is_one_of(ends)) return body;
      body.push_back(parse_statement());
      tokens_.expect(Type::block_end, "'%}'");
    }
    if (output) body.push_back(std::move(output));
    if (ends.size() > 0) tokens_.fail(fmt::format("the template ends before '{}'", *(ends.end() - 1)));
    return body;
  }

  ExpressionPtr parse_output() {
    if (tokens_.current().type == Type::data) {
      Token token = tokens_.take();
      ExpressionPtr data = make_expression(Expression::Kind::constant, token.line);
      data->value = Value(std::make_shared<const Text>(nullptr, std::move(token.text), false));
      return data;
    }
    tokens_.take();
    ExpressionPtr value = expressions_.parse_tuple();
    tokens_.expect(Type::variable_end, "'}}'");
    return value;
  }

  // The body of a block up to a tag with one of these names, which is taken.
  Statement::Body parse_block(Ends ends) {
    tokens_.skip_sign(":");
    tokens_.expect(Type::block_end, "'%}'");
    return parse_body(ends);
  }

  // The same with names of its own: what is unknown in it is a fault wherever it stands.
  Statement::Body parse_frame(Ends ends, bool takes_end = true) {
    const std::size_t known = expressions_.unknown.size();
    Statement::Body body = parse_block(ends);
    judge_unknown(known);
    if (takes_end) tokens_.take();
    return body;
  }

  StatementPtr parse_statement() {
    const Token& token = tokens_.current();
    if (token.type != Type::name) tokens_.fail_unexpected("a statement");
    const std::string& name = token.text;
    if (name == "for") return parse_for();
    if (name == "if") return parse_if();
    if (name == "set") return parse_set();
    if (name == "macro") return parse_macro();
    if (name == "call") return parse_call();
    if (name == "filter") return parse_filter();
    if (name == "with") return parse_with();
    if (name == "print") return parse_print();
    if (name == "generation") return parse_generation();
    if (name == "break" || name == "continue") return parse_jump();
    for (const std::string_view known : {"block", "extends", "include", "import", "from", "autoescape", "do", "trans"})
      if (name == known) throw SyntaxFault{token.line, fmt::format("the statement '{}' is not supported", name), true};
    tokens_.fail(fmt::format("no statement is named '{}'", name));
  }

  StatementPtr parse_for() {
    StatementPtr loop = begin(Statement::Kind::loop);
    loop->targets.push_back(expressions_.parse_target("in"));
    if (!tokens_.skip_name("in")) tokens_.fail_unexpected("'in'");
    loop->values.push_back(expressions_.parse_tuple(false, "recursive"));
    const std::size_t known = expressions_.unknown.size();
    loop->values.push_back(tokens_.skip_name("if") ? expressions_.parse() : nullptr);
    judge_unknown(known);
    loop->is_recursive = tokens_.skip_name("recursive");
    ++loops_;
    loop->bodies.push_back(parse_frame({"else", "endfor"}, false));
    --loops_;
    if (tokens_.take().text == "else") loop->bodies.push_back(parse_frame({"endfor"}));
    return loop;
  }

  // Each branch but the last has a condition.
  StatementPtr parse_if() {
    const std::size_t known = expressions_.unknown.size();
    StatementPtr statement = begin(Statement::Kind::conditional);
    while (true) {
      statement->values.push_back(expressions_.parse_tuple(false));
      statement->bodies.push_back(parse_block({"elif", "else", "endif"}));
      if (tokens_.skip_name("elif")) continue;
      if (tokens_.skip_name("else")) statement->bodies.push_back(parse_block({"endif"}));
      tokens_.take();
      break;
    }
    expressions_.unknown.erase(expressions_.unknown.begin() + static_cast<std::ptrdiff_t>(known),
                               expressions_.unknown.end());
    return statement;
  }

  StatementPtr parse_set() {
    StatementPtr set = begin(Statement::Kind::set);
    set->targets.push_back(expressions_.parse_target({}, true));
    if (tokens_.skip_sign("=")) {
      set->values.push_back(expressions_.parse_tuple());
      return set;
    }
    set->kind = Statement::Kind::set_block;
    set->values.push_back(tokens_.is_sign("|") ? expressions_.parse_filters(nullptr, false) : nullptr);
    set->bodies.push_back(parse_frame({"endset"}));
    return set;
  }

  void parse_parameters(Statement& statement) {
    tokens_.expect_sign("(");
    while (!tokens_.is_sign(")")) {
      if (!statement.parameters.empty()) tokens_.expect_sign(",");
      std::string name = tokens_.expect(Type::name, "a parameter's name").text;
      for (const auto& [other, value] : statement.parameters)
        if (other == name) tokens_.fail(fmt::format("the parameter '{}' is there a second time", name));
      ExpressionPtr value = tokens_.skip_sign("=") ? expressions_.parse() : nullptr;
      if (!value && !statement.parameters.empty() && statement.parameters.back().second)
        tokens_.fail(fmt::format("the parameter '{}' without a default follows one with a default", name));
      statement.parameters.emplace_back(std::move(name), std::move(value));
    }
    tokens_.expect_sign(")");
  }

  // A break inside does not reach a loop around it.
  Statement::Body parse_function(Ends ends) {
    const int loops = loops_;
    loops_ = 0;
    Statement::Body body = parse_frame(ends);
    loops_ = loops;
    return body;
  }

  StatementPtr parse_macro() {
    StatementPtr macro = begin(Statement::Kind::macro);
    macro->name = tokens_.expect(Type::name, "the macro's name").text;
    parse_parameters(*macro);
    macro->bodies.push_back(parse_function({"endmacro"}));
    return macro;
  }

  StatementPtr parse_call() {
    StatementPtr call = begin(Statement::Kind::call_block);
    if (tokens_.is_sign("(")) parse_parameters(*call);
    call->values.push_back(expressions_.parse());
    if (call->values[0]->kind != Expression::Kind::call) throw SyntaxFault{call->line, "expected a call behind 'call'"};
    call->bodies.push_back(parse_function({"endcall"}));
    return call;
  }

  StatementPtr parse_filter() {
    StatementPtr filter = begin(Statement::Kind::filter_block);
    filter->values.push_back(expressions_.parse_filters(nullptr, true));
    filter->bodies.push_back(parse_frame({"endfilter"}));
    return filter;
  }

  StatementPtr parse_with() {
    StatementPtr with = begin(Statement::Kind::with);
    while (tokens_.current().type != Type::block_end) {
      if (!with->targets.empty()) tokens_.expect_sign(",");
      with->targets.push_back(expressions_.parse_target());
      tokens_.expect_sign("=");
      with->values.push_back(expressions_.parse());
    }
    with->bodies.push_back(parse_frame({"endwith"}));
    return with;
  }

  StatementPtr parse_print() {
    StatementPtr print = begin(Statement::Kind::output);
    while (tokens_.current().type != Type::block_end) {
      if (!print->values.empty()) tokens_.expect_sign(",");
      print->values.push_back(expressions_.parse());
    }
    return print;
  }

  StatementPtr parse_generation() {
    StatementPtr generation = begin(Statement::Kind::generation);
    generation->bodies.push_back(parse_function({"endgeneration"}));
    return generation;
  }

  StatementPtr parse_jump() {
    const bool is_break = tokens_.is_name("break");
    if (loops_ == 0) tokens_.fail(fmt::format("'{}' outside of a loop", tokens_.current().text));
    return begin(is_break ? Statement::Kind::break_loop : Statement::Kind::continue_loop);
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int loops_ = 0;  // around what is being parsed
};

}  // namespace

Program parse_program(std::string_view source) { return StatementParser(source).run(); }

}  // namespace nibble::chat
