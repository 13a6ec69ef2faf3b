// SPDX-License-Identifier: Apache-2.0
//
// Fields of structs, from and to dictionaries.
//
//   read_field(options, "max_tokens", request.max_tokens);
//   read_choice(options, "keys_values", kKeyValueNames, request.keys_values);
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "nibble/error.h"

namespace nibble::python {

// By names: options that come in, results that go out.
using Fields = nanobind::typed<nanobind::dict, nanobind::str, nanobind::any>;

template <typename Value>
using Choice = std::pair<const char*, Value>;

template <typename Field>
inline constexpr bool kIsNumber = std::is_arithmetic_v<Field> && !std::is_same_v<Field, bool>;
template <typename Field>
inline constexpr bool kIsNumber<std::optional<Field>> = kIsNumber<Field>;

// Left as it is where the dictionary has no such key.
template <typename Field>
void read_field(const nanobind::dict& options, const char* name, Field& field) {
  if (!options.contains(name)) return;
  const nanobind::object value = options[name];
  if (nanobind::try_cast(value, field)) return;
  const std::string given = nanobind::repr(value).c_str();
  if (kIsNumber<Field> && nanobind::isinstance<nanobind::int_>(value))
    throw Error(ErrorKind::invalid_argument, std::string(name) + " is outside the numbers that it can be: " + given);
  throw nanobind::type_error((std::string(name) + " is of another type: " + given).c_str());
}

template <typename Value, std::size_t N>
Value choose(const char* name, const std::string& wanted, const Choice<Value> (&choices)[N]) {
  std::string known;
  for (const auto& [spelling, value] : choices) {
    if (wanted == spelling) return value;
    known += (known.empty() ? "" : ", ") + std::string(spelling);
  }
  throw Error(ErrorKind::invalid_argument, std::string(name) + " is one of " + known + "; given '" + wanted + "'");
}

template <typename Value, std::size_t N>
void read_choice(const nanobind::dict& options, const char* name, const Choice<Value> (&choices)[N], Value& field) {
  std::string wanted;
  read_field(options, name, wanted);
  if (options.contains(name)) field = choose(name, wanted, choices);
}

template <typename Value, std::size_t N>
const char* spelling_of(Value value, const Choice<Value> (&choices)[N]) {
  for (const auto& [spelling, one] : choices)
    if (one == value) return spelling;
  return "";
}

}  // namespace nibble::python
