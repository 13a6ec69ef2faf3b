// SPDX-License-Identifier: Apache-2.0
//
// Typed access to one JSON object of config.json: a key that is there has its type, or the error names key, type and
// value. Internal to model/.
//
//   const HuggingFaceFields fields(json, "config.json");
//   config.hidden = fields.required_integer("hidden_size");
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble {

// The shortest decimal that reads back as the same float, so that 1e-05 does not become 9.99999974e-06 where it is
// written.
double shortest_decimal(float value);

class HuggingFaceFields {
 public:
  using Json = nlohmann::ordered_json;

  // What an object calls a key otherwise: the usual name, its own.
  using OwnKeys = std::vector<std::pair<std::string_view, std::string_view>>;

  // object: borrowed. prefix: the path of keys that leads to it.
  HuggingFaceFields(const Json& object, std::string source, std::string prefix = "", OwnKeys own_keys = {});

  // What the object calls a key.
  std::string name_of(const char* key) const;
  // Null: absent, or null.
  const Json* find(const char* key) const;
  bool has_null(const char* key) const;

  // The value, or fallback where the key is absent or null.
  std::uint64_t integer(const char* key, std::uint64_t fallback) const;
  std::uint64_t required_integer(const char* key) const;
  double number(const char* key, double fallback) const;
  bool boolean(const char* key, bool fallback) const;
  std::string string(const char* key, const std::string& fallback) const;
  HuggingFaceFields object(const char* key) const;

  // A key's value is not what it has to be: Error(corrupt).
  [[noreturn]] void wrong(const char* key, const char* expected, const Json& value) const;
  [[noreturn]] void unsupported(const std::string& what) const;
  // Values that no model has together: Error(corrupt).
  [[noreturn]] void contradicts(const std::string& what) const;

 private:
  const Json& object_;
  std::string source_, prefix_;
  OwnKeys own_keys_;
};

}  // namespace nibble
