// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/json_view.h"

#include <fmt/format.h>

#include "io/json_text.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
std::string_view JsonView::string() const {
  std::string_view value;
  if (element_.get_string().get(value) != simdjson::SUCCESS || is_unheld_number(value))
    corrupt("a string is expected here");
  return value;
}

bool JsonView::boolean() const {
  bool value = false;
  if (element_.get_bool().get(value) != simdjson::SUCCESS) corrupt("true or false is expected here");
  return value;
}

std::int64_t JsonView::integer() const {
  std::int64_t value = 0;
  if (element_.get_int64().get(value) != simdjson::SUCCESS) corrupt("an integer is expected here");
  return value;
}

double JsonView::number() const {
  double value = 0;
  if (element_.get_double().get(value) != simdjson::SUCCESS) corrupt("a number is expected here");
  return value;
}

simdjson::dom::array JsonView::array() const {
  simdjson::dom::array value;
  if (element_.get_array().get(value) != simdjson::SUCCESS) corrupt("an array is expected here");
  return value;
}

simdjson::dom::object JsonView::object() const {
  simdjson::dom::object value;
  if (element_.get_object().get(value) != simdjson::SUCCESS) corrupt("an object is expected here");
  return value;
}

JsonView JsonView::at(std::string_view key) const {
  auto found = find(key);
  if (!found) corrupt(fmt::format("'{}' is missing", key));
  return *std::move(found);
}

std::optional<JsonView> JsonView::find(std::string_view key) const {
  simdjson::dom::element value;
  if (object().at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  return JsonView(value, *source_, path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key));
}

std::vector<JsonView> JsonView::elements() const {
  std::vector<JsonView> views;
  for (const simdjson::dom::element element : array())
    views.emplace_back(element, *source_, fmt::format("{}[{}]", path_, views.size()));
  return views;
}

std::string JsonView::string_or(std::string_view key, std::string_view fallback) const {
  const auto value = find(key);
  return std::string(value ? value->string() : fallback);
}

bool JsonView::boolean_or(std::string_view key, bool fallback) const {
  const auto value = find(key);
  return value ? value->boolean() : fallback;
}

std::string JsonView::place() const { return path_.empty() ? *source_ : fmt::format("{}: {}", *source_, path_); }

void JsonView::corrupt(std::string_view what) const {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}", place(), what));
}

void JsonView::unsupported(std::string_view what) const {
  throw Error(ErrorKind::unsupported, fmt::format("{}: {}", place(), what));
}

JsonText::JsonText(std::string_view text, std::string source) : source_(std::move(source)) {
  const simdjson::error_code error = parser_.parse(plain_json(text, source_)).get(root_);
  if (error != simdjson::SUCCESS)
    throw Error(ErrorKind::corrupt, fmt::format("{}: text is not JSON: {}", source_, simdjson::error_message(error)));
}

}  // namespace nibble::tokenizing
