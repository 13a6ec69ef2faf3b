// SPDX-License-Identifier: Apache-2.0
//
// The fields of a request's JSON, each judged as it is read; null is the same as nothing. Errors are ApiErrors that
// name the field.
//
//   const RequestFields fields(body);
//   const double temperature = fields.number("temperature", 1, 0, 2);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/api_error.h"

namespace nibble::serve {

// ApiError(400): no JSON, no object, or one of more members than anybody needs.
Json parse_body(std::string_view body);

// Of JSON in a body, also of what lies in its texts: what is put into an object is looked for in it first.
class MemberCount {
 public:
  // json: sound, and not parsed yet. ApiError(400): an object of more members than anybody needs, or that many in all.
  void add(std::string_view json);

 private:
  std::size_t all_ = 0;
};

class RequestFields {
 public:
  // body: an object; must outlive this.
  explicit RequestFields(const Json& body) : body_(body) {}

  const Json* find(std::string_view name) const;  // nullptr: not there
  double number(std::string_view name, double otherwise, double least, double most) const;
  std::uint64_t whole(std::string_view name, std::uint64_t otherwise, std::uint64_t least, std::uint64_t most) const;
  bool flag(std::string_view name, bool otherwise) const;
  std::string text(std::string_view name, const std::string& otherwise) const;
  // A string, or a list of strings.
  std::vector<std::string> texts(std::string_view name, std::size_t most) const;
  // Ids of tokens.
  static std::vector<std::int32_t> ids(const Json& list, std::string_view name);

 private:
  const Json& body_;
};

// A field that other servers heed, and what of it changes nothing.
struct UndoneField {
  std::string_view name;
  const char* neutral = nullptr;  // JSON; nullptr: nothing
  std::string_view instead = "";
};

// ApiError(400) where a field asks for what would change the answer and is not done here: silence would pass another
// answer off as the one that was asked for. Fields that are unknown are not.
void refuse_undone(const RequestFields& fields);
// Of an interface's own fields.
void refuse_undone(const RequestFields& fields, std::span<const UndoneField> undone);
// What of a body is the same in a chat: all but these fields, and messages.
Json rest_of_chat(const Json& body, std::span<const std::string_view> others);

}  // namespace nibble::serve
