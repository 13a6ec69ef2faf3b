// SPDX-License-Identifier: Apache-2.0
#include "terminal/line_buffer.h"

#include <utility>

#include "base/graphemes.h"
#include "base/utf8.h"
#include "terminal/text_layout.h"

namespace nibble {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t'; }

}  // namespace

LineBuffer::LineBuffer(std::string text) { set(std::move(text)); }

void LineBuffer::set(std::string text) {
  text_ = replace_invalid_utf8(text);
  cursor_ = text_.size();
}

void LineBuffer::insert(std::string_view text) {
  const std::string whole = replace_invalid_utf8(text);
  text_.insert(cursor_, whole);
  cursor_ += whole.size();
}

std::size_t LineBuffer::before(std::size_t offset) const {
  if (offset == 0) return 0;
  // A cluster is known from its beginning on only, and none goes over the end of a line.
  std::size_t begin = text_[offset - 1] == '\n' ? offset - 1 : line_begin(offset);
  for (std::size_t end = begin; (end = after(begin)) < offset;) begin = end;
  return begin;
}

std::size_t LineBuffer::after(std::size_t offset) const { return grapheme_end(text_, offset); }

std::size_t LineBuffer::line_begin(std::size_t offset) const {
  const std::size_t end = offset == 0 ? std::string::npos : text_.rfind('\n', offset - 1);
  return end == std::string::npos ? 0 : end + 1;
}

std::size_t LineBuffer::line_end(std::size_t offset) const {
  const std::size_t end = text_.find('\n', offset);
  return end == std::string::npos ? text_.size() : end;
}

std::size_t LineBuffer::column_of(std::size_t offset) const {
  return text_width(std::string_view(text_).substr(line_begin(offset), offset - line_begin(offset)));
}

std::size_t LineBuffer::at_column(std::size_t line, std::size_t column) const {
  const std::size_t end = line_end(line);
  std::size_t offset = line, reached = 0;
  while (offset < end) {
    const std::size_t behind = after(offset),
                      width = text_width(std::string_view(text_).substr(offset, behind - offset));
    if (reached + width > column) break;
    reached += width;
    offset = behind;
  }
  return offset;
}

bool LineBuffer::move(std::size_t to) { return std::exchange(cursor_, to) != to; }

bool LineBuffer::cut(std::size_t begin, std::size_t end) {
  if (begin == end) return false;
  kept_ = text_.substr(begin, end - begin);
  text_.erase(begin, end - begin);
  cursor_ = begin;
  return true;
}

bool LineBuffer::left() { return move(before(cursor_)); }
bool LineBuffer::right() { return move(after(cursor_)); }
bool LineBuffer::home() { return move(line_begin(cursor_)); }
bool LineBuffer::end() { return move(line_end(cursor_)); }

bool LineBuffer::word_left() {
  std::size_t to = cursor_;
  while (to > 0 && is_blank(text_[to - 1])) --to;
  while (to > 0 && !is_blank(text_[to - 1])) --to;
  return move(to);
}

bool LineBuffer::word_right() {
  std::size_t to = cursor_;
  while (to < text_.size() && is_blank(text_[to])) ++to;
  while (to < text_.size() && !is_blank(text_[to])) ++to;
  return move(to);
}

bool LineBuffer::up() {
  const std::size_t line = line_begin(cursor_);
  return line != 0 && (move(at_column(line_begin(line - 1), column_of(cursor_))), true);
}

bool LineBuffer::down() {
  const std::size_t end = line_end(cursor_);
  return end != text_.size() && (move(at_column(end + 1, column_of(cursor_))), true);
}

bool LineBuffer::backspace() {
  const std::size_t begin = before(cursor_);
  const bool any = begin != cursor_;
  text_.erase(begin, cursor_ - begin);
  cursor_ = begin;
  return any;
}

bool LineBuffer::delete_next() {
  const std::size_t end = after(cursor_);
  const bool any = end != cursor_;
  text_.erase(cursor_, end - cursor_);
  return any;
}

bool LineBuffer::delete_word_left() {
  const std::size_t end = cursor_;
  word_left();
  return cut(cursor_, end);
}

bool LineBuffer::delete_word_right() {
  const std::size_t begin = cursor_;
  word_right();
  return cut(begin, cursor_);
}

bool LineBuffer::delete_to_start() { return cut(line_begin(cursor_), cursor_); }

// At the end of a line the line end itself, as terminals do.
bool LineBuffer::delete_to_end() {
  const std::size_t end = line_end(cursor_);
  return cut(cursor_, end == cursor_ && end < text_.size() ? end + 1 : end);
}

bool LineBuffer::yank() {
  insert(kept_);
  return !kept_.empty();
}

}  // namespace nibble
