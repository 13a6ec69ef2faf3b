// SPDX-License-Identifier: Apache-2.0
#include "terminal/word_wrap.h"

#include <utility>

#include "terminal/text_layout.h"

namespace nibble {

void WordWrap::end_word(std::string& out) {
  if (word_.empty()) return;
  const std::size_t width = text_width(word_), gap = blanks_.size();
  if (columns_ != 0 && !in_word_ && column_ > 0 && width <= columns_ && column_ + gap + width > columns_) {
    out += '\n';
    column_ = 0;
  } else {
    out += blanks_;
    column_ += gap;
  }
  blanks_.clear();
  out += std::exchange(word_, {});
  column_ += width;
  if (columns_ != 0 && column_ > columns_) column_ %= columns_;
}

std::string WordWrap::push(std::string_view text) {
  std::string out;
  if (columns_ == 0) return std::string(text);
  for (const char c : text) {
    if (c == '\n') {
      end_word(out);
      in_word_ = false;
      blanks_.clear();
      out += '\n';
      column_ = 0;
    } else if (c == ' ') {
      end_word(out);
      in_word_ = false;
      blanks_ += c;
    } else {
      word_ += c;
    }
  }
  // A word without an end is shown before it fills a line.
  if (!word_.empty() && (in_word_ || text_width(word_) >= columns_ / 2)) {
    end_word(out);
    in_word_ = true;
  }
  return out;
}

std::string WordWrap::finish() {
  std::string out;
  end_word(out);
  column_ = 0;
  in_word_ = false;
  blanks_.clear();
  return out;
}

}  // namespace nibble
