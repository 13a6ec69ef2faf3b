// SPDX-License-Identifier: Apache-2.0
#include "model/chat/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/chat/objects.h"
#include "model/chat/rendering.h"

namespace nibble::chat {
namespace {

constexpr std::size_t kMaxTupleKey = 4096;
constexpr std::size_t kOverhead = 64;  // of an allocation and its counts

int depth_of(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

int depth_of(const Dictionary::Entries& entries) {
  int depth = 0;
  for (const auto& [key, value] : entries) depth = std::max({depth, key.depth(), value.depth()});
  return depth + 1;
}

std::size_t bytes_of(const Dictionary::Entries& entries) {
  std::size_t bytes = entries.size() * 3 * kOverhead;
  for (const auto& [key, value] : entries) bytes += key_size(key);
  return bytes;
}

std::string number_key(double value) {
  if (value == std::floor(value) && std::abs(value) < 9e18) return fmt::format("i{}", static_cast<std::int64_t>(value));
  return fmt::format("f{}", value);
}

}  // namespace

void Meter::hold(std::size_t bytes) {
  if (bytes > limit - held)
    throw Fault{TemplateError::Cause::limit, fmt::format("the template's values need more than {} bytes", limit)};
  held += bytes;
}

Counted::Counted(Meter* meter, std::size_t bytes, int depth) : meter_(meter), bytes_(bytes), depth_(depth) {
  if (depth > kMaxValueDepth)
    throw Fault{TemplateError::Cause::limit,
                fmt::format("values lie deeper than {} inside each other", kMaxValueDepth)};
  if (meter_) meter_->hold(bytes_);
}

Counted::~Counted() {
  if (meter_) meter_->held -= bytes_;
}

Text::Text(Meter* meter, std::string text, bool is_marked_safe)
    : Counted(meter, kOverhead + text.size(), 1), bytes(std::move(text)), is_safe(is_marked_safe) {}

Sequence::Sequence(Meter* meter, std::vector<Value> what, Kind which)
    : Counted(meter, kOverhead + what.size() * sizeof(Value), depth_of(what)), items(std::move(what)), kind(which) {}

Method::Method(Meter* meter, Value what, std::string which)
    : Counted(meter, kOverhead + sizeof(Method), what.depth() + 1), self(std::move(what)), name(std::move(which)) {}

Dictionary::Dictionary(Meter* meter, Entries what) : Counted(meter, kOverhead + bytes_of(what), depth_of(what)) {
  entries.reserve(what.size());
  for (auto& [key, value] : what) {
    std::optional<std::string> name = key_of(key);
    if (!name) fail_value(fmt::format("a {} is no key of a dict", key.type_name()));
    const auto [place, is_new] = index_.emplace(std::move(*name), entries.size());
    if (is_new)
      entries.emplace_back(std::move(key), std::move(value));
    else
      entries[place->second].second = std::move(value);
  }
}

const Value* Dictionary::find(std::string_view key) const {
  const auto place = index_.find("s" + std::string(key));
  return place == index_.end() ? nullptr : &entries[place->second].second;
}

const Value* Dictionary::find(const Value& key) const {
  const std::optional<std::string> name = key_of(key);
  if (!name) return nullptr;
  const auto place = index_.find(*name);
  return place == index_.end() ? nullptr : &entries[place->second].second;
}

const Value* Namespace::find(std::string_view name) const {
  const auto place = places_.find(name);
  return place == places_.end() ? nullptr : &attributes_[place->second].second;
}

void Namespace::set(Meter& meter, std::string_view name, const Value& value) {
  if (const auto place = places_.find(name); place != places_.end()) {
    attributes_[place->second].second = value;
    return;
  }
  meter.hold(sizeof(Value) + 2 * name.size() + 3 * kOverhead);
  places_.emplace(name, attributes_.size());
  attributes_.emplace_back(name, value);
}

const Absence* Value::absence() const {
  const auto* held = std::get_if<std::shared_ptr<const Absence>>(&held_);
  return held ? held->get() : nullptr;
}

Object* Value::object() const {
  Object* const* held = std::get_if<Object*>(&held_);
  return held ? *held : nullptr;
}

std::optional<std::int64_t> Value::whole() const {
  if (const bool* value = boolean()) return *value ? 1 : 0;
  if (const std::int64_t* value = integer()) return *value;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* value = real()) return *value;
  if (const auto value = whole()) return static_cast<double>(*value);
  return std::nullopt;
}

int Value::depth() const {
  if (const Sequence* value = sequence()) return value->depth();
  if (const Dictionary* value = dictionary()) return value->depth();
  if (const Method* value = method()) return value->depth();
  return 1;
}

const char* kind_name(Sequence::Kind kind) {
  static constexpr const char* kNames[] = {"list",        "tuple",      "range",    "dict_keys",
                                           "dict_values", "dict_items", "generator"};
  return kNames[static_cast<int>(kind)];
}

std::string Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (boolean()) return "bool";
  if (integer()) return "int";
  if (real()) return "float";
  if (const Text* value = text()) return value->is_safe ? "Markup" : "str";
  if (dictionary()) return "dict";
  if (method()) return "method";
  if (const Sequence* value = sequence()) return kind_name(value->kind);
  return object()->type_name();
}

std::optional<std::string> key_of(const Value& value) {
  if (const Text* text = value.text()) return "s" + text->bytes;
  if (const auto whole = value.whole()) return fmt::format("i{}", *whole);
  if (const double* real = value.real()) return number_key(*real);
  if (value.is_none()) return "n";
  if (value.is_undefined()) return "u";
  if (Object* object = value.object()) return fmt::format("o{}", static_cast<const void*>(object));
  const Sequence* sequence = value.sequence();
  if (!sequence || (sequence->kind != Sequence::Kind::tuple && sequence->kind != Sequence::Kind::range))
    return std::nullopt;
  std::string key = "t";
  for (const Value& item : sequence->items) {
    const std::optional<std::string> part = key_of(item);
    if (!part) return std::nullopt;
    key += fmt::format("{}:{}", part->size(), *part);
    if (key.size() > kMaxTupleKey) throw Fault{TemplateError::Cause::limit, "a tuple is too large for a key"};
  }
  return key;
}

std::size_t key_size(const Value& value) {
  if (const Text* text = value.text()) return 1 + text->bytes.size();
  constexpr std::size_t kNumber = 24;
  const Sequence* sequence = value.sequence();
  if (!sequence) return kNumber;
  std::size_t size = 1;
  for (const Value& item : sequence->items) {
    size += key_size(item);
    if (size > kMaxTupleKey) break;
  }
  return size;
}

bool is_true(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (const auto number = value.number()) return *number != 0;
  if (const Text* text = value.text()) return !text->bytes.empty();
  if (const Sequence* sequence = value.sequence()) return !sequence->has_length() || !sequence->items.empty();
  if (const Dictionary* dictionary = value.dictionary()) return !dictionary->entries.empty();
  return true;
}

namespace {

bool equal_sequences(Rendering& rendering, const Sequence& a, const Sequence& b) {
  if (&a == &b) return true;
  if (a.kind != b.kind || !a.is_indexed()) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(),
                    [&](const Value& left, const Value& right) { return equals(rendering, left, right); });
}

bool equal_dictionaries(Rendering& rendering, const Dictionary& a, const Dictionary& b) {
  if (&a == &b) return true;
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    rendering.step_key(key);
    const Value* other = b.find(key);
    if (!other || !equals(rendering, value, *other)) return false;
  }
  return true;
}

}  // namespace

bool equals(Rendering& rendering, const Value& a, const Value& b) {
  rendering.step();
  if (a.is_undefined() || a.is_none()) return a.is_undefined() == b.is_undefined() && a.is_none() == b.is_none();
  if (a.is_number() && b.is_number()) {
    if (const auto left = a.whole(), right = b.whole(); left && right) return *left == *right;
    return *a.number() == *b.number();
  }
  if (a.text() && b.text()) {
    rendering.step_text(a.text()->bytes.size());
    return a.text()->bytes == b.text()->bytes;
  }
  if (a.sequence() && b.sequence()) return equal_sequences(rendering, *a.sequence(), *b.sequence());
  if (a.dictionary() && b.dictionary()) return equal_dictionaries(rendering, *a.dictionary(), *b.dictionary());
  if (a.method() && b.method()) return a.method() == b.method();
  return a.object() && a.object() == b.object();
}

}  // namespace nibble::chat
