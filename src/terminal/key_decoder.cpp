// SPDX-License-Identifier: Apache-2.0
#include "terminal/key_decoder.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/utf8.h"

namespace nibble {

namespace {

constexpr std::string_view kPasteBegins = "\x1b[200~", kPasteEnds = "\x1b[201~";
constexpr std::size_t kLongestSequence = 32;      // of parameters that a terminal sends
constexpr std::size_t kLongestPaste = 16U << 20;  // bytes; what is longer is cut in two

std::optional<Key> control_key(char byte) {
  switch (byte) {
    case 0x01:
      return Key::home;
    case 0x02:
      return Key::left;
    case 0x03:
      return Key::interrupt;
    case 0x04:
      return Key::end_of_input;
    case 0x05:
      return Key::end;
    case 0x06:
      return Key::right;
    case 0x07:
      return Key::outside;
    case 0x08:
    case 0x7f:
      return Key::backspace;
    case 0x09:
      return Key::tab;
    case 0x0a:
      return Key::new_line;
    case 0x0b:
      return Key::delete_to_end;
    case 0x0c:
      return Key::clear_screen;
    case 0x0d:
      return Key::enter;
    case 0x0e:
      return Key::down;
    case 0x10:
      return Key::up;
    case 0x12:
      return Key::search;
    case 0x15:
      return Key::delete_to_start;
    case 0x17:
      return Key::delete_word_left;
    case 0x19:
      return Key::yank;
    case 0x1a:
      return Key::suspend;
    default:
      return std::nullopt;
  }
}

// After an Escape that began no longer sequence: Alt and a key.
std::optional<Key> alt_key(char byte) {
  switch (byte) {
    case 'b':
    case 'B':
      return Key::word_left;
    case 'f':
    case 'F':
      return Key::word_right;
    case 'd':
    case 'D':
      return Key::delete_word_right;
    case 0x08:
    case 0x7f:
      return Key::delete_word_left;
    case '\r':
    case '\n':
      return Key::new_line;
    default:
      return std::nullopt;
  }
}

// "CSI parameters final": arrows and their like, with Ctrl or Alt ("1;5C") by word.
std::optional<Key> sequence_key(std::string_view parameters, char final) {
  const bool by_word = parameters.ends_with(";5") || parameters.ends_with(";3");
  switch (final) {
    case 'A':
      return Key::up;
    case 'B':
      return Key::down;
    case 'C':
      return by_word ? Key::word_right : Key::right;
    case 'D':
      return by_word ? Key::word_left : Key::left;
    case 'H':
      return Key::home;
    case 'F':
      return Key::end;
    case 'u':  // "CSI 13;2u": Enter with a modifier, of terminals that tell it
      return parameters.starts_with("13;") ? std::optional(Key::new_line) : std::nullopt;
    case '~':
      if (parameters == "1" || parameters == "7") return Key::home;
      if (parameters == "4" || parameters == "8") return Key::end;
      if (parameters == "3") return Key::delete_next;
      if (parameters == "3;5" || parameters == "3;3") return Key::delete_word_right;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::size_t character_bytes(unsigned char first) {
  return first >= 0xf8 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
}

// Whether all bytes but the first may belong to a character.
bool goes_on(std::string_view bytes) {
  return std::all_of(bytes.begin() + 1, bytes.end(),
                     [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; });
}

// Terminals send line ends as carriage returns; what else is no text is left out, so that nothing pasted acts.
std::string pasted_text(std::string_view bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (byte == '\r') {
      text += '\n';
      if (i + 1 < bytes.size() && bytes[i + 1] == '\n') ++i;
    } else if (byte >= 0x20 ? byte != 0x7f : byte == '\n' || byte == '\t') {
      text += bytes[i];
    }
  }
  return replace_invalid_utf8(text);
}

}  // namespace

std::vector<KeyPress> KeyDecoder::feed(std::string_view bytes) {
  std::vector<KeyPress> presses;
  held_ += bytes;
  std::size_t done = 0;
  while (done < held_.size()) {
    const std::size_t taken = take(std::string_view(held_).substr(done), presses);
    if (taken == 0) break;
    done += taken;
  }
  held_.erase(0, done);
  return presses;
}

std::vector<KeyPress> KeyDecoder::flush() {
  std::vector<KeyPress> presses;
  if (pasting_) {
    presses.push_back({Key::text, pasted_text(pasted_ + held_)});
    pasted_.clear();
    pasting_ = false;
  } else if (held_.starts_with('\x1b'))
    presses.push_back({Key::escape});
  else if (!held_.empty())
    presses.push_back({Key::text, replace_invalid_utf8(held_)});
  held_.clear();
  return presses;
}

// How many bytes were understood; 0: more are needed.
std::size_t KeyDecoder::take(std::string_view bytes, std::vector<KeyPress>& presses) {
  if (pasting_) return take_paste(bytes, presses);
  const auto first = static_cast<unsigned char>(bytes[0]);
  if (first == 0x1b) return take_sequence(bytes, presses);
  if (const std::optional<Key> key = control_key(bytes[0])) {
    presses.push_back({*key});
    return 1;
  }
  if (first < 0x20) return 1;
  const std::size_t size = character_bytes(first);
  if (bytes.size() < size && goes_on(bytes)) return 0;
  const std::string_view character = bytes.substr(0, std::min(size, bytes.size()));
  const bool whole = character.size() == size && find_invalid_utf8(character) == std::string_view::npos;
  presses.push_back({Key::text, whole ? std::string(character) : "\xef\xbf\xbd"});
  return whole ? size : 1;
}

std::size_t KeyDecoder::take_paste(std::string_view bytes, std::vector<KeyPress>& presses) {
  if (const std::size_t end = bytes.find(kPasteEnds); end != std::string_view::npos) {
    pasted_ += bytes.substr(0, end);
    presses.push_back({Key::text, pasted_text(pasted_)});
    pasted_.clear();
    pasting_ = false;
    return end + kPasteEnds.size();
  }
  // The mark may be cut in two.
  const std::size_t certain = bytes.size() - std::min(bytes.size(), kPasteEnds.size() - 1);
  pasted_ += bytes.substr(0, certain);
  if (pasted_.size() > kLongestPaste) presses.push_back({Key::text, pasted_text(std::exchange(pasted_, {}))});
  return certain;
}

std::size_t KeyDecoder::take_sequence(std::string_view bytes, std::vector<KeyPress>& presses) {
  if (bytes.size() == 1) return 0;
  if (bytes.starts_with(kPasteBegins)) {
    pasting_ = true;
    return kPasteBegins.size();
  }
  if (bytes[1] == 'O') {  // SS3: function keys, and arrows of some terminals
    if (bytes.size() < 3) return 0;
    if (const std::optional<Key> key = sequence_key("", bytes[2])) presses.push_back({*key});
    return 3;
  }
  if (bytes[1] == '[') {
    const std::size_t most = std::min(bytes.size(), kLongestSequence);
    std::size_t end = 2;
    while (end < most && static_cast<unsigned char>(bytes[end]) >= 0x20 &&
           static_cast<unsigned char>(bytes[end]) < 0x40)
      ++end;
    if (end == kLongestSequence) return end;
    if (end == bytes.size()) return 0;
    if (const std::optional<Key> key = sequence_key(bytes.substr(2, end - 2), bytes[end])) presses.push_back({*key});
    return end + 1;
  }
  if (const std::optional<Key> key = alt_key(bytes[1])) {
    presses.push_back({*key});
    return 2;
  }
  presses.push_back({Key::escape});
  return 1;
}

}  // namespace nibble
