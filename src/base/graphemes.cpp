// SPDX-License-Identifier: Apache-2.0
#include "base/graphemes.h"

#include <utf8proc.h>

#include "base/utf8.h"

namespace nibble {

std::size_t grapheme_end(std::string_view text, std::size_t offset) noexcept {
  if (offset >= text.size()) return text.size();
  utf8proc_int32_t state = 0;
  auto before = static_cast<utf8proc_int32_t>(next_code_point(text, offset));
  while (offset < text.size()) {
    std::size_t behind = offset;
    const auto next = static_cast<utf8proc_int32_t>(next_code_point(text, behind));
    if (utf8proc_grapheme_break_stateful(before, next, &state)) break;
    before = next;
    offset = behind;
  }
  return offset;
}

}  // namespace nibble
