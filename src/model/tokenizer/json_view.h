// SPDX-License-Identifier: Apache-2.0
//
// A place inside a parsed JSON text that knows its own path, so that every complaint names file and place. A view into
// the parser's memory: it must not outlive the JsonText. Reads are safe from many threads.
//
//   const JsonText text(bytes, "tokenizer.json");
//   const std::string_view type = text.root().at("model").at("type").string();
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::tokenizing {

class JsonView {
 public:
  JsonView(simdjson::dom::element element, const std::string& source, std::string path)
      : element_(element), source_(&source), path_(std::move(path)) {}

  // Error(corrupt): another type than the one asked for, or the key is missing.
  std::string_view string() const;
  bool boolean() const;
  std::int64_t integer() const;
  double number() const;
  simdjson::dom::array array() const;
  simdjson::dom::object object() const;
  JsonView at(std::string_view key) const;
  std::optional<JsonView> find(std::string_view key) const;  // nullopt: missing or null
  std::vector<JsonView> elements() const;                    // of an array

  std::string string_or(std::string_view key, std::string_view fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;

  bool is_string() const noexcept { return element_.is_string(); }
  bool is_array() const noexcept { return element_.is_array(); }
  bool is_object() const noexcept { return element_.is_object(); }
  bool is_integer() const noexcept { return element_.is_int64(); }

  std::string place() const;  // "tokenizer.json: model.vocab"
  [[noreturn]] void corrupt(std::string_view what) const;
  [[noreturn]] void unsupported(std::string_view what) const;

 private:
  simdjson::dom::element element_;
  const std::string* source_;
  std::string path_;
};

class JsonText {
 public:
  // Error(corrupt) names the byte offset of the first fault.
  JsonText(std::string_view text, std::string source);
  JsonView root() const { return JsonView(root_, source_, ""); }

 private:
  std::string source_;
  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

}  // namespace nibble::tokenizing
