// SPDX-License-Identifier: Apache-2.0
//
// What one rendering may use and what it has used. Every value that a template makes is made here, so that a hostile
// template runs into a limit instead of into the machine's. One thread.
//
//   Rendering rendering({.steps = 1000});
//   Value text = rendering.text("hello");
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/chat/template_error.h"
#include "model/chat/value.h"

namespace nibble {

struct TemplateLimits {
  std::uint64_t steps = 20'000'000;       // expressions, statements and items walked, and 64 bytes of text each
  std::size_t depth = 400;                // of expressions and statements inside each other, calls included
  std::size_t held_bytes = 256U << 20;    // by all values at one time
  std::size_t output_bytes = 64U << 20U;  // of the text, and of what macros have written and not returned yet
};

}  // namespace nibble

namespace nibble::chat {

// A fault whose line is not known where it is found: the interpreter adds it.
struct Fault {
  TemplateError::Cause cause;
  std::string message;
};

[[noreturn]] void fail_value(const std::string& message);
[[noreturn]] void fail_undefined(const std::string& message);

// How deep values may contain each other.
inline constexpr int kMaxValueDepth = 100;

class Rendering {
 public:
  explicit Rendering(const TemplateLimits& limits, std::optional<std::tm> now = std::nullopt);
  Rendering(const Rendering&) = delete;
  Rendering& operator=(const Rendering&) = delete;
  ~Rendering();

  const TemplateLimits& limits() const { return limits_; }
  Meter& meter() { return meter_; }
  // Local time, or what the caller set.
  std::tm now() const;

  void step(std::uint64_t count = 1);
  // For work on so many bytes of text.
  void step_text(std::size_t bytes) { step(1 + bytes / 64); }
  // For a look-up of that key, which is copied for it.
  void step_key(const Value& key);
  // Fault(limit) where so many bytes more could not be held: before they are made.
  void expect_room(std::size_t count, std::size_t bytes_each = 1) const;

  Value text(std::string text, bool is_safe = false);
  Value sequence(std::vector<Value> items, Sequence::Kind kind = Sequence::Kind::list);
  Value tuple(std::vector<Value> items) { return sequence(std::move(items), Sequence::Kind::tuple); }
  Value dictionary(std::vector<std::pair<Value, Value>> entries);  // a later entry of the same key wins
  Value method(const Value& self, std::string name);

  // Objects live as long as the rendering.
  template <typename T, typename... Args>
  T* make(Args&&... args) {
    meter_.hold(sizeof(T) + 64);
    auto object = std::make_unique<T>(std::forward<Args>(args)...);
    T* plain = object.get();
    objects_.push_back(std::move(object));
    return plain;
  }

 private:
  TemplateLimits limits_;
  std::optional<std::tm> now_;
  Meter meter_;
  std::uint64_t steps_ = 0;
  std::vector<std::unique_ptr<Object>> objects_;
};

}  // namespace nibble::chat
