// SPDX-License-Identifier: Apache-2.0
#include "io/gguf/gguf_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {

std::string_view gguf_type_name(GgufType type) {
  constexpr std::array<std::string_view, 13> kNames = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                       "bool", "string", "array", "u64", "i64", "f64"};
  const auto index = static_cast<std::size_t>(type);
  return index < kNames.size() ? kNames[index] : "?";
}

namespace {

std::string kind_text(const GgufValue& value) {
  const auto* array = std::get_if<GgufArray>(&value.value);
  return array ? "array of " + std::string(gguf_type_name(array->element)) : std::string(gguf_type_name(value.type));
}

}  // namespace

std::size_t GgufArray::size() const {
  return std::visit([](const auto& v) { return v.size(); }, values);
}

GgufValue GgufValue::of_u32(std::uint32_t v) { return {GgufType::u32, std::uint64_t{v}}; }
GgufValue GgufValue::of_i32(std::int32_t v) { return {GgufType::i32, std::int64_t{v}}; }
GgufValue GgufValue::of_u64(std::uint64_t v) { return {GgufType::u64, v}; }
GgufValue GgufValue::of_f32(float v) { return {GgufType::f32, static_cast<double>(v)}; }
GgufValue GgufValue::of_bool(bool v) { return {GgufType::boolean, v}; }
GgufValue GgufValue::of_string(std::string v) { return {GgufType::string, std::move(v)}; }
GgufValue GgufValue::of_strings(std::vector<std::string> v) {
  return {GgufType::array, GgufArray{GgufType::string, std::move(v)}};
}

GgufValue GgufValue::of_f32s(const std::vector<float>& v) {
  return {GgufType::array, GgufArray{GgufType::f32, std::vector<double>(v.begin(), v.end())}};
}

GgufValue GgufValue::of_i32s(const std::vector<std::int32_t>& v) {
  return {GgufType::array, GgufArray{GgufType::i32, std::vector<std::int64_t>(v.begin(), v.end())}};
}

GgufValue GgufValue::of_bools(const std::vector<bool>& v) {
  return {GgufType::array, GgufArray{GgufType::boolean, std::vector<std::uint64_t>(v.begin(), v.end())}};
}

void GgufMetadata::refuse(std::string_view key, std::string_view wanted, const GgufValue& value) const {
  throw Error(ErrorKind::corrupt,
              fmt::format("{}metadata key {} should {} stored as {}", source_.empty() ? "" : source_ + ": ",
                          quote_name(key), wanted, kind_text(value)));
}

const GgufValue* GgufMetadata::find(std::string_view key) const noexcept {
  const auto item = std::ranges::find(items_, key, &Item::key);
  return item != items_.end() ? &item->value : nullptr;
}

void GgufMetadata::set(std::string key, GgufValue value) {
  const auto item = std::ranges::find(items_, key, &Item::key);
  if (item != items_.end())
    item->value = std::move(value);
  else
    items_.push_back({std::move(key), std::move(value)});
}

void GgufMetadata::append(std::string key, GgufValue value) { items_.push_back({std::move(key), std::move(value)}); }

void GgufMetadata::erase(std::string_view key) {
  std::erase_if(items_, [key](const Item& item) { return item.key == key; });
}

std::optional<std::uint64_t> GgufMetadata::unsigned_integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* u = std::get_if<std::uint64_t>(&value->value)) return *u;
  if (const auto* i = std::get_if<std::int64_t>(&value->value)) {
    if (*i >= 0) return static_cast<std::uint64_t>(*i);
    refuse(key, fmt::format("not be negative but is {},", *i), *value);
  }
  refuse(key, "be an integer but is", *value);
}

std::optional<double> GgufMetadata::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* d = std::get_if<double>(&value->value)) return *d;
  if (const auto* u = std::get_if<std::uint64_t>(&value->value)) return static_cast<double>(*u);
  if (const auto* i = std::get_if<std::int64_t>(&value->value)) return static_cast<double>(*i);
  refuse(key, "be a number but is", *value);
}

std::optional<bool> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* b = std::get_if<bool>(&value->value)) return *b;
  refuse(key, "be a bool but is", *value);
}

std::optional<std::string> GgufMetadata::string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* s = std::get_if<std::string>(&value->value)) return *s;
  refuse(key, "be a string but is", *value);
}

const std::vector<std::string>* GgufMetadata::strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return nullptr;
  if (const auto* array = std::get_if<GgufArray>(&value->value))
    if (const auto* s = std::get_if<std::vector<std::string>>(&array->values)) return s;
  refuse(key, "be an array of strings but is", *value);
}

std::optional<std::vector<double>> GgufMetadata::numbers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto* array = std::get_if<GgufArray>(&value->value);
  if (!array || array->element == GgufType::string || array->element == GgufType::boolean)
    refuse(key, "be an array of numbers but is", *value);
  std::vector<double> out;
  out.reserve(array->size());
  std::visit(
      [&out](const auto& v) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(v)>, std::vector<std::string>>)
          for (const auto x : v) out.push_back(static_cast<double>(x));
      },
      array->values);
  return out;
}

}  // namespace nibble
