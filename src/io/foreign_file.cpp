// SPDX-License-Identifier: Apache-2.0
#include "io/foreign_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/file_signature.h"
#include "base/letter_case.h"
#include "io/message_text.h"

namespace nibble {
namespace {

bool is_text(std::string_view start) {
  return std::ranges::all_of(start,
                             [](char c) { return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t'; });
}

}  // namespace

std::optional<std::string> describe_foreign_text(std::string_view start) {
  if (is_lfs_pointer(start))
    return "a Git LFS pointer, not the file that it stands for; fetch that with 'git lfs pull', or download it again";
  const std::size_t begin = start.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  if (begin == std::string_view::npos) return std::nullopt;
  const std::string head = lower_case(start.substr(begin, 64));
  const auto begins = [&](std::string_view tag) { return head.starts_with(tag); };
  constexpr std::array<std::string_view, 5> kOthers = {"<!doctype", "<head", "<?xml", "<error",
                                                       "<!--"};  // which a text may begin with
  if (is_web_page(head) || std::ranges::any_of(kOthers, begins))
    return "a web page in place of the file, which servers send for a wrong address or without a login; download it "
           "again";
  return std::nullopt;
}

std::optional<std::string> describe_foreign_weights(std::string_view start) {
  constexpr std::size_t kLeastText = 12, kShown = 60;
  start = start.substr(0, kForeignStart);
  if (start.empty()) return "an empty file; download it again";
  if (auto text = describe_foreign_text(start)) return text;
  if (const FileSignature* const known = find_signature(start); known != nullptr && !known->as_weights.empty())
    return fmt::format("{}{}", known->what, known->as_weights);
  if (start.size() >= kLeastText && std::ranges::all_of(start, [](char c) { return c == 0; }))
    return "a file that begins with nothing but zeros, as a download that was cut off does; download it again";
  if (start.size() < kLeastText || !is_text(start)) return std::nullopt;
  return fmt::format("text in place of weights, perhaps a server's message; download the file again: {}",
                     quote_name(start.substr(0, kShown)));
}

}  // namespace nibble
