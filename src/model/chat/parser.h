// SPDX-License-Identifier: Apache-2.0
//
// Tokens to statements, by Jinja's grammar. Throws a SyntaxFault. Safe from any thread.
//
//   const Program program = parse_program(source);
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "model/chat/lexer.h"
#include "model/chat/syntax.h"

namespace nibble::chat {

Program parse_program(std::string_view source);

// How deep expressions and statements may lie inside each other.
inline constexpr int kMaxSyntaxDepth = 200;

// The tokens from where one stands.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token take();
  bool is_sign(std::string_view sign) const { return is(current(), Token::Type::sign, sign); }
  bool is_name(std::string_view name) const { return is(current(), Token::Type::name, name); }
  bool next_is_sign(std::string_view sign) const { return is(next(), Token::Type::sign, sign); }
  bool next_is_name(std::string_view name) const { return is(next(), Token::Type::name, name); }
  bool skip_sign(std::string_view sign);
  bool skip_name(std::string_view name);
  void expect_sign(std::string_view sign);
  Token expect(Token::Type type, std::string_view what);
  [[noreturn]] void fail(const std::string& message) const { throw SyntaxFault{current().line, message}; }
  [[noreturn]] void fail_unexpected(std::string_view wanted) const;

 private:
  static bool is(const Token& token, Token::Type type, std::string_view text) {
    return token.type == type && token.text == text;
  }
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

// Bounds recursion where it passes through here. Throws a SyntaxFault beyond the limit.
class Level {
 public:
  Level(int& depth, const TokenStream& tokens);
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;
  ~Level() { --depth_; }

 private:
  int& depth_;
};

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  ExpressionPtr parse(bool with_conditional = true);
  // One expression, or several with commas between them. ends: a name that ends it, too.
  ExpressionPtr parse_tuple(bool with_conditional = true, std::string_view ends = {}, bool may_be_empty = false);
  // What is assigned to: a name, a tuple of names, and with_space an attribute of a namespace.
  ExpressionPtr parse_target(std::string_view ends = {}, bool with_space = false);
  // name(...)|name: the first filter's value is null.
  ExpressionPtr parse_filters(ExpressionPtr value, bool starts_with_name);
  // Filters and tests that nobody knows. Inside an "if" they are faults only if they are used, so they wait here for
  // whoever knows where they are.
  std::vector<SyntaxFault> unknown;
  int depth = 0;

 private:
  ExpressionPtr parse_conditional();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filter = true);
  ExpressionPtr parse_primary(bool with_space = false);
  ExpressionPtr parse_number();
  ExpressionPtr parse_name(bool with_space);
  ExpressionPtr parse_list();
  ExpressionPtr parse_dictionary();
  ExpressionPtr parse_postfix(ExpressionPtr value);
  ExpressionPtr parse_filter_or_test(ExpressionPtr value);
  ExpressionPtr parse_subscript(ExpressionPtr value);
  ExpressionPtr parse_subscribed();
  ExpressionPtr parse_call(ExpressionPtr value);
  ExpressionPtr parse_test(ExpressionPtr value);
  CallArguments parse_arguments();
  void parse_argument(CallArguments& arguments, int line);
  std::string parse_dotted_name();
  void judge_name(const Expression& use);
  bool ends_tuple(std::string_view ends) const;

  TokenStream& tokens_;
};

// An expression with its depth. Throws a SyntaxFault beyond the limit.
ExpressionPtr make_expression(Expression::Kind kind, int line, std::vector<ExpressionPtr> parts = {},
                              std::string name = {});
template <typename... Parts>
std::vector<ExpressionPtr> parts_of(Parts... parts) {
  std::vector<ExpressionPtr> all;
  (all.push_back(std::move(parts)), ...);
  return all;
}

}  // namespace nibble::chat
