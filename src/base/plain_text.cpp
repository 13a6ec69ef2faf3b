// SPDX-License-Identifier: Apache-2.0
#include "base/plain_text.h"

#include <algorithm>

#include "base/file_signature.h"
#include "base/utf8.h"

namespace nibble {
namespace {

constexpr std::size_t kLooked = std::size_t{1} << 20;  // at the start, which tells

// Zeros in every other place, and hardly any in the places between, are 16-bit units of which few need their upper
// half.
bool is_utf16(std::string_view bytes) {
  std::size_t zeros[2] = {0, 0};
  for (std::size_t i = 0; i < bytes.size(); ++i) zeros[i % 2] += bytes[i] == '\0' ? 1 : 0;
  const auto [few, many] = std::minmax(zeros[0], zeros[1]);
  return many * 4 > bytes.size() && few * 20 < many;
}

constexpr std::string_view kBlanks = " \t\r\n";

// The first of the text's first lines that are not empty.
std::string_view next_line(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end);
  while (!line.empty() && kBlanks.find(line.back()) != std::string_view::npos) line.remove_suffix(1);
  return line;
}

bool is_json_object(std::string_view line, bool is_cut) {
  return line.starts_with('{') && (is_cut || line.ends_with('}')) && line.find("\":") != std::string_view::npos;
}

// The first lines are an object each.
bool is_json_lines(std::string_view text, bool is_cut) {
  std::size_t objects = 0;
  for (; objects < 3; ++objects) {
    const std::string_view line = next_line(text);
    if (line.empty()) break;
    if (!is_json_object(line, is_cut && text.empty())) return false;
  }
  return objects > 0;
}

// One object or a list of them, over however many lines.
bool is_json(std::string_view text, bool is_cut) {
  std::string start;
  for (const char c : text.substr(0, 4096))
    if (kBlanks.find(c) == std::string_view::npos && start.size() < 2) start += c;
  const std::size_t last = text.find_last_not_of(kBlanks);
  const char end = last == std::string_view::npos ? ' ' : text[last];
  return (start == "{\"" && (is_cut || end == '}')) || ((start == "[{" || start == "[\"") && (is_cut || end == ']'));
}

// Signs that no text has, beyond the odd one: a share of control characters, or a zero.
bool is_binary(std::string_view bytes) {
  std::size_t controls = 0;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) return true;
    controls +=
        byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t' && byte != '\f' && byte != '\v' && byte != 0x1b ? 1
                                                                                                                    : 0;
  }
  return controls * 50 > bytes.size();
}

}  // namespace

std::string foreign_bytes_kind(std::string_view bytes) {
  if (const FileSignature* const known = find_signature(bytes); known != nullptr && !known->as_text.empty())
    return std::string(known->what).append(known->as_text);
  const std::string_view start = bytes.substr(0, kLooked);
  if (is_lfs_pointer(start))
    return "a Git LFS pointer, not the file that it stands for; fetch that with 'git lfs pull'";
  if (is_web_page(start)) return "a web page, which a failed download often is; give a file of text";
  if (has_safetensors_start(start)) return "a safetensors file, which holds weights; give a file of text";
  if (start.size() >= 4 && is_utf16(start)) return "UTF-16 text; convert it to UTF-8";
  if (is_binary(start)) return "binary data; give a file of text";
  return {};
}

std::string foreign_text_kind(std::string_view bytes) {
  if (std::string kind = foreign_bytes_kind(bytes); !kind.empty()) return kind;
  const std::string_view start = bytes.substr(0, kLooked);
  const bool is_cut = start.size() < bytes.size();
  if (is_json_lines(start, is_cut)) return "JSON lines; write the text that they hold to a text file";
  if (is_json(start, is_cut)) return "JSON; write the text that it holds to a text file";
  return {};
}

bool drop_byte_order_mark(std::string& text) {
  if (!text.starts_with("\xef\xbb\xbf")) return false;
  text.erase(0, 3);
  return true;
}

std::size_t count_invalid_utf8(std::string_view text) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  if (find_invalid_utf8(text) == std::string_view::npos) return 0;
  const auto count = [&](std::string_view in) {
    std::size_t found = 0;
    for (std::size_t at = in.find(kReplacement); at != std::string_view::npos;
         at = in.find(kReplacement, at + kReplacement.size()))
      ++found;
    return found;
  };
  // Those that the text has of its own are not of its making.
  return count(replace_invalid_utf8(text)) - count(text);
}

}  // namespace nibble
