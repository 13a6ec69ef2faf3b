// SPDX-License-Identifier: Apache-2.0
//
// What template expressions are: Python's values as far as chat templates see them. Texts, sequences and dictionaries
// never change once made and may be shared by threads, but for iterators, which belong to one rendering.
//
//   Value three(std::int64_t{3});
//   if (const Text* text = value.text()) use(text->bytes);
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nibble::chat {

class Rendering;
class Value;

// Counts the bytes that values hold; Fault(limit) beyond the limit.
struct Meter {
  std::size_t limit = 0;
  std::size_t held = 0;
  void hold(std::size_t bytes);
};

// What is counted while it lives. depth: 1 for what contains nothing.
class Counted {
 public:
  Counted(Meter* meter, std::size_t bytes, int depth);  // no meter: part of a template, not counted
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted();
  int depth() const { return depth_; }

 private:
  Meter* meter_;
  std::size_t bytes_;
  int depth_;
};

struct None {};

// What is not there: prints nothing, is false and empty; any other use is an error that says `message`.
struct Absence {
  std::string message;
  bool is_refused = false;  // it is there, and the sandbox keeps it
};

struct Text;
struct Sequence;
struct Dictionary;
struct Method;

// What has an identity and may change: namespaces, macros, loops, functions. Owned by the rendering.
struct Object {
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;
};

class Value {
 public:
  using Held = std::variant<std::shared_ptr<const Absence>, None, bool, std::int64_t, double,
                            std::shared_ptr<const Text>, std::shared_ptr<const Sequence>,
                            std::shared_ptr<const Dictionary>, std::shared_ptr<const Method>, Object*>;

  Value() = default;  // undefined
  explicit Value(Held held) : held_(std::move(held)) {}
  explicit Value(None) : held_(None{}) {}
  explicit Value(bool value) : held_(value) {}
  explicit Value(std::int64_t value) : held_(value) {}
  explicit Value(double value) : held_(value) {}
  explicit Value(Object* object) : held_(object) {}

  bool is_undefined() const { return std::holds_alternative<std::shared_ptr<const Absence>>(held_); }
  bool is_none() const { return std::holds_alternative<None>(held_); }
  const Absence* absence() const;  // null also for an undefined value without a story
  const bool* boolean() const { return std::get_if<bool>(&held_); }
  const std::int64_t* integer() const { return std::get_if<std::int64_t>(&held_); }
  const double* real() const { return std::get_if<double>(&held_); }
  const Text* text() const { return plain<Text>(); }
  const Sequence* sequence() const { return plain<Sequence>(); }
  const Dictionary* dictionary() const { return plain<Dictionary>(); }
  const Method* method() const { return plain<Method>(); }
  Object* object() const;
  template <typename T>
  T* object_as() const {
    return dynamic_cast<T*>(object());
  }

  bool is_number() const { return boolean() || integer() || real(); }
  // Whole numbers, and True and False, which are 1 and 0.
  std::optional<std::int64_t> whole() const;
  std::optional<double> number() const;
  // How deep values lie inside each other here.
  int depth() const;
  // As Python calls it: "str", "list".
  std::string type_name() const;

 private:
  template <typename T>
  const T* plain() const {
    const auto* held = std::get_if<std::shared_ptr<const T>>(&held_);
    return held ? held->get() : nullptr;
  }
  Held held_;
};

struct Text : Counted {
  Text(Meter* meter, std::string text, bool is_marked_safe);
  std::string bytes;  // UTF-8
  bool is_safe;       // marked as HTML: what is joined to it by + is escaped
};

struct Sequence : Counted {
  enum class Kind { list, tuple, range, keys, values, items, iterator };
  Sequence(Meter* meter, std::vector<Value> what, Kind which);
  std::vector<Value> items;
  Kind kind;
  mutable bool is_spent = false;  // an iterator that has been walked

  bool is_indexed() const { return kind == Kind::list || kind == Kind::tuple || kind == Kind::range; }
  bool has_length() const { return kind != Kind::iterator; }
};

struct Dictionary : Counted {
  using Entries = std::vector<std::pair<Value, Value>>;
  // Fault(value) for a key that is a list or a dictionary.
  Dictionary(Meter* meter, Entries what);
  Entries entries;  // in order of insertion
  const Value* find(std::string_view key) const;
  const Value* find(const Value& key) const;  // null also for what can be no key

 private:
  std::map<std::string, std::size_t, std::less<>> index_;  // of keys as key_of() writes them
};

// "list", "dict_items": as Python calls it.
const char* kind_name(Sequence::Kind kind);

struct Method : Counted {
  Method(Meter* meter, Value what, std::string which);
  Value self;
  std::string name;
};

// A text that two equal keys share (1, 1.0 and True are one); none for what can be no key.
std::optional<std::string> key_of(const Value& value);
// About how many bytes key_of() writes, at most those of a tuple that is too large and one text.
std::size_t key_size(const Value& value);

bool is_true(const Value& value);
bool equals(Rendering& rendering, const Value& a, const Value& b);

}  // namespace nibble::chat
