// SPDX-License-Identifier: Apache-2.0
//
// The keywords of one JSON schema, pointing into it, so that a schema can be looked at without what it has beyond our
// means, and nothing of it is copied. The schema must outlive them. One thread.
//
//   const SchemaKeywords keywords = SchemaKeywords(schema).loosened();
//   if (keywords.contains("enum")) list(keywords["enum"]);
#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble::serve {

class SchemaKeywords {
 public:
  using Json = nlohmann::ordered_json;

  // schema: an object.
  explicit SchemaKeywords(const Json& schema);

  bool contains(std::string_view key) const { return find(key) != nullptr; }
  // One that is there.
  const Json& operator[](std::string_view key) const { return *find(key); }
  auto begin() const { return keywords_.begin(); }
  auto end() const { return keywords_.end(); }

  // The same without what is not supported where the rest says enough.
  SchemaKeywords loosened() const;
  // What it says of an object's members, and that it is of one.
  SchemaKeywords of_object() const;

  static bool is_known(std::string_view key);
  // Says something to people, and nothing about texts.
  static bool describes(std::string_view key);

 private:
  SchemaKeywords() = default;
  const Json* find(std::string_view key) const;
  void put(std::string_view key, const Json& value) { keywords_.emplace_back(key, &value); }
  void erase(std::string_view key);
  void keep(std::initializer_list<std::string_view> keys);

  std::vector<std::pair<std::string_view, const Json*>> keywords_;
};

}  // namespace nibble::serve
