// SPDX-License-Identifier: Apache-2.0
#include "model/chat/printing.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/utf8.h"
#include "model/chat/objects.h"

namespace nibble::chat {
namespace {

// A text that grows under the eyes of its limits.
class Writer {
 public:
  explicit Writer(Rendering& rendering) : rendering_(rendering) {}
  void write(std::string_view text) {
    rendering_.step_text(text.size());
    rendering_.expect_room(text_.size() + text.size());
    text_ += text;
  }
  Rendering& rendering() { return rendering_; }
  std::string take() { return std::move(text_); }

 private:
  Rendering& rendering_;
  std::string text_;
};

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string represent_text(std::string_view text) {
  const bool is_double = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = is_double ? '"' : '\'';
  std::string result(1, quote);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t c = next_code_point(text, at);
    if (c == '\n')
      result += "\\n";
    else if (c == '\r')
      result += "\\r";
    else if (c == '\t')
      result += "\\t";
    else if (c == '\\' || c == static_cast<char32_t>(quote))
      result += fmt::format("\\{}", static_cast<char>(c));
    else if (is_printable(c))
      result += text.substr(begin, at - begin);
    else if (c < 0x100)
      result += fmt::format("\\x{:02x}", static_cast<std::uint32_t>(c));
    else if (c < 0x10000)
      result += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
    else
      result += fmt::format("\\U{:08x}", static_cast<std::uint32_t>(c));
  }
  return result + quote;
}

class Representer {
 public:
  explicit Representer(Rendering& rendering) : writer_(rendering) {}

  void represent(const Value& value) {
    writer_.rendering().step();
    // Values are not deeper, but namespaces may contain themselves.
    if (level_ > 2 * kMaxValueDepth)
      throw Fault{TemplateError::Cause::limit, "a namespace that contains itself cannot be printed"};
    ++level_;
    represent_inside(value);
    --level_;
  }

  std::string take() { return writer_.take(); }

 private:
  void represent_inside(const Value& value) {
    if (const Text* text = value.text()) return represent_text_value(*text);
    if (const Sequence* sequence = value.sequence()) return represent_sequence(*sequence);
    if (const Dictionary* dictionary = value.dictionary()) return represent_entries(dictionary->entries);
    if (const auto* space = value.object_as<Namespace>()) return represent_namespace(*space);
    writer_.write(represent_plain(value));
  }

  void represent_text_value(const Text& text) {
    const std::string quoted = represent_text(text.bytes);
    writer_.write(text.is_safe ? "Markup(" + quoted + ")" : quoted);
  }

  std::string represent_plain(const Value& value) {
    if (value.is_undefined()) return "Undefined";
    if (value.is_none()) return "None";
    if (const bool* boolean = value.boolean()) return *boolean ? "True" : "False";
    if (const std::int64_t* integer = value.integer()) return std::to_string(*integer);
    if (const double* real = value.real()) return print_real(*real);
    if (const Method* method = value.method())
      return fmt::format("<built-in method {} of {} object>", method->name, method->self.type_name());
    if (const auto* macro = value.object_as<Macro>())
      return macro->name.empty() ? "<Macro anonymous>" : fmt::format("<Macro '{}'>", macro->name);
    if (auto* loop = value.object_as<Loop>())
      return fmt::format("<LoopContext {}/{}>", loop->index0 + 1, loop->length());
    return fmt::format("<{}>", value.type_name());
  }

  void represent_sequence(const Sequence& sequence) {
    switch (sequence.kind) {
      case Sequence::Kind::list:
        return represent_items(sequence.items, "[", "]");
      case Sequence::Kind::tuple:
        return represent_items(sequence.items, "(", sequence.items.size() == 1 ? ",)" : ")");
      case Sequence::Kind::range:
        return represent_range(sequence.items);
      case Sequence::Kind::iterator:
        return writer_.write("<generator object>");
      default:
        return represent_items(sequence.items, std::string(kind_name(sequence.kind)) + "([", "])");
    }
  }

  void represent_range(const std::vector<Value>& items) {
    if (items.empty()) return writer_.write("range(0, 0)");
    const std::int64_t first = *items.front().integer(), last = *items.back().integer();
    const std::int64_t step = items.size() < 2 ? 1 : *items[1].integer() - first;
    writer_.write(step == 1 ? fmt::format("range({}, {})", first, last + 1)
                            : fmt::format("range({}, {}, {})", first, last + (step > 0 ? 1 : -1), step));
  }

  void represent_items(const std::vector<Value>& items, std::string_view open, std::string_view close) {
    writer_.write(open);
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i) writer_.write(", ");
      represent(items[i]);
    }
    writer_.write(close);
  }

  void represent_entries(const Dictionary::Entries& entries) {
    writer_.write("{");
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i) writer_.write(", ");
      represent(entries[i].first);
      writer_.write(": ");
      represent(entries[i].second);
    }
    writer_.write("}");
  }

  void represent_namespace(const Namespace& space) {
    writer_.write("<Namespace {");
    bool is_first = true;
    for (const auto& [name, value] : space.attributes()) {
      writer_.write((std::exchange(is_first, false) ? "" : ", ") + represent_text(name) + ": ");
      represent(value);
    }
    writer_.write("}>");
  }

  Writer writer_;
  int level_ = 0;
};

std::string quote_json(std::string_view text, bool is_ascii) {
  std::string result = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t c = next_code_point(text, at);
    if (c == '"' || c == '\\')
      result += fmt::format("\\{}", static_cast<char>(c));
    else if (c == '\n')
      result += "\\n";
    else if (c == '\r')
      result += "\\r";
    else if (c == '\t')
      result += "\\t";
    else if (c == '\b')
      result += "\\b";
    else if (c == '\f')
      result += "\\f";
    else if (c < 0x20 || (is_ascii && c >= 0x7f && c < 0x10000))
      result += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
    else if (is_ascii && c >= 0x10000)
      result += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((static_cast<std::uint32_t>(c) - 0x10000) >> 10U),
                            0xdc00 + ((static_cast<std::uint32_t>(c) - 0x10000) & 0x3ffU));
    else
      result += text.substr(begin, at - begin);
  }
  return result + '"';
}

std::string json_real(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return print_real(value);
}

// None for what is no plain value.
std::optional<std::string> json_plain(const Value& value) {
  if (value.is_none()) return "null";
  if (const bool* boolean = value.boolean()) return *boolean ? "true" : "false";
  if (const std::int64_t* integer = value.integer()) return std::to_string(*integer);
  if (const double* real = value.real()) return json_real(*real);
  return std::nullopt;
}

class JsonPrinter {
 public:
  JsonPrinter(Rendering& rendering, const JsonStyle& style) : writer_(rendering), style_(style) {}

  void print(const Value& value) {
    writer_.rendering().step();
    if (const Text* text = value.text()) return writer_.write(quote_json(text->bytes, style_.is_ascii));
    if (const Dictionary* dictionary = value.dictionary()) return print_entries(*dictionary);
    const Sequence* sequence = value.sequence();
    if (sequence && (sequence->kind == Sequence::Kind::list || sequence->kind == Sequence::Kind::tuple))
      return print_items(sequence->items);
    const std::optional<std::string> plain = json_plain(value);
    if (!plain) fail_value(fmt::format("a value of type {} cannot be written as JSON", value.type_name()));
    writer_.write(*plain);
  }

  std::string take() { return writer_.take(); }

 private:
  void begin_line() {
    if (!style_.indent) return;
    writer_.write("\n");
    for (int i = 0; i < level_; ++i) writer_.write(*style_.indent);
  }

  void begin_item(bool is_first) {
    if (!is_first) writer_.write(style_.between);
    begin_line();
  }

  void print_items(const std::vector<Value>& items) {
    if (items.empty()) return writer_.write("[]");
    writer_.write("[");
    ++level_;
    for (std::size_t i = 0; i < items.size(); ++i) {
      begin_item(i == 0);
      print(items[i]);
    }
    --level_;
    begin_line();
    writer_.write("]");
  }

  void print_entries(const Dictionary& dictionary) {
    if (dictionary.entries.empty()) return writer_.write("{}");
    writer_.write("{");
    ++level_;
    bool is_first = true;
    for (const auto* entry : in_order(dictionary)) {
      begin_item(is_first);
      is_first = false;
      writer_.write(quote_json(key_text(entry->first), style_.is_ascii));
      writer_.write(style_.after_key);
      print(entry->second);
    }
    --level_;
    begin_line();
    writer_.write("}");
  }

  std::vector<const std::pair<Value, Value>*> in_order(const Dictionary& dictionary) const {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dictionary.entries) entries.push_back(&entry);
    if (!style_.is_sorted) return entries;
    for (const auto* entry : entries)
      if (!entry->first.text()) fail_value("only keys that are texts can be sorted");
    std::sort(entries.begin(), entries.end(),
              [](const auto* a, const auto* b) { return a->first.text()->bytes < b->first.text()->bytes; });
    return entries;
  }

  static std::string key_text(const Value& key) {
    if (const Text* text = key.text()) return text->bytes;
    const std::optional<std::string> plain = json_plain(key);
    if (!plain) fail_value(fmt::format("a key of type {} cannot be written as JSON", key.type_name()));
    return *plain;
  }

  Writer writer_;
  const JsonStyle& style_;
  int level_ = 0;
};

}  // namespace

std::string print_real(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto shortest = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string digits(buffer, shortest.ptr);
  const int exponent = std::stoi(digits.substr(digits.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return digits;
  const auto plain = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  std::string text(buffer, plain.ptr);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string print(Rendering& rendering, const Value& value) {
  if (const Text* text = value.text()) {
    rendering.step_text(text->bytes.size());
    rendering.expect_room(text->bytes.size());
    return text->bytes;
  }
  if (value.is_undefined()) return "";
  return represent(rendering, value);
}

std::string represent(Rendering& rendering, const Value& value) {
  Representer representer(rendering);
  representer.represent(value);
  return representer.take();
}

std::string print_json(Rendering& rendering, const Value& value, const JsonStyle& style) {
  JsonPrinter printer(rendering, style);
  printer.print(value);
  return printer.take();
}

}  // namespace nibble::chat
