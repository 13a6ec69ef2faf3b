// SPDX-License-Identifier: Apache-2.0
#include "model/chat/rendering.h"

#include <fmt/format.h>

namespace nibble {
namespace {

ErrorKind kind_of(TemplateError::Cause cause) {
  switch (cause) {
    case TemplateError::Cause::raised:
      return ErrorKind::unusable_input;
    case TemplateError::Cause::limit:
      return ErrorKind::resource;
    case TemplateError::Cause::unsupported:
      return ErrorKind::unsupported;
    default:
      return ErrorKind::corrupt;
  }
}

}  // namespace

TemplateError::TemplateError(Cause cause, int line, const std::string& source, const std::string& message)
    : Error(kind_of(cause), fmt::format("{}: line {}: {}", source, line, message)),
      cause_(cause),
      line_(line),
      message_(message) {}

}  // namespace nibble

namespace nibble::chat {

void fail_value(const std::string& message) { throw Fault{TemplateError::Cause::value, message}; }

void fail_undefined(const std::string& message) { throw Fault{TemplateError::Cause::undefined, message}; }

Rendering::Rendering(const TemplateLimits& limits, std::optional<std::tm> now)
    : limits_(limits), now_(now), meter_{.limit = limits.held_bytes} {}

Rendering::~Rendering() = default;

std::tm Rendering::now() const {
  if (now_) return *now_;
  const std::time_t time = std::time(nullptr);
  std::tm local{};
  localtime_r(&time, &local);
  return local;
}

void Rendering::step(std::uint64_t count) {
  if (count > limits_.steps - steps_)
    throw Fault{TemplateError::Cause::limit, fmt::format("the template takes more than {} steps", limits_.steps)};
  steps_ += count;
}

void Rendering::step_key(const Value& key) {
  const std::size_t size = key_size(key);
  step_text(size);
  expect_room(size);
}

void Rendering::expect_room(std::size_t count, std::size_t bytes_each) const {
  const std::size_t room = meter_.limit - meter_.held;
  if (bytes_each && count > room / bytes_each)
    throw Fault{TemplateError::Cause::limit,
                fmt::format("the template's values need more than {} bytes", meter_.limit)};
}

Value Rendering::text(std::string text, bool is_safe) {
  step_text(text.size());
  return Value(std::make_shared<const Text>(&meter_, std::move(text), is_safe));
}

Value Rendering::sequence(std::vector<Value> items, Sequence::Kind kind) {
  step(1 + items.size());
  return Value(std::make_shared<const Sequence>(&meter_, std::move(items), kind));
}

Value Rendering::dictionary(std::vector<std::pair<Value, Value>> entries) {
  step();
  for (const auto& [key, value] : entries) step_key(key);
  return Value(std::make_shared<const Dictionary>(&meter_, std::move(entries)));
}

Value Rendering::method(const Value& self, std::string name) {
  step();
  return Value(std::make_shared<const Method>(&meter_, self, std::move(name)));
}

}  // namespace nibble::chat
