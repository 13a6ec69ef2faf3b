// SPDX-License-Identifier: Apache-2.0
#include "io/foreign_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "io/message_text.h"

namespace nibble {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kUnpack = "unpack it first";
constexpr std::string_view kConvert = "convert the model to safetensors or GGUF first";
constexpr std::string_view kSave = "save the weights as safetensors first";

struct Signature {
  std::size_t offset;
  std::string_view bytes, what, advice;
};

constexpr std::array kSignatures = {
    Signature{0, "PK\x03\x04"sv, "a ZIP archive, as PyTorch's .bin, .pt and .pth files are", kSave},
    Signature{0, "PK\x05\x06"sv, "an empty ZIP archive", kUnpack},
    Signature{0, "\x80\x02"sv, "a Python pickle, as PyTorch's older .bin and .pt files are", kSave},
    Signature{0, "\x80\x03"sv, "a Python pickle", kSave},
    Signature{0, "\x80\x04"sv, "a Python pickle", kSave},
    Signature{0, "\x80\x05"sv, "a Python pickle", kSave},
    Signature{0, "\x1f\x8b"sv, "a gzip archive", kUnpack},
    Signature{0, "\x28\xb5\x2f\xfd"sv, "a Zstandard archive", kUnpack},
    Signature{0, "\xfd"sv "7zXZ\x00"sv, "an xz archive", kUnpack},
    Signature{0, "BZh"sv, "a bzip2 archive", kUnpack},
    Signature{0, "7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive", kUnpack},
    Signature{0, "Rar!"sv, "a RAR archive", kUnpack},
    Signature{257, "ustar"sv, "a tar archive", kUnpack},
    Signature{0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file, as Keras and TensorFlow write", kConvert},
    Signature{0, "\x93NUMPY"sv, "a NumPy array", kConvert},
    Signature{4, "TFL3"sv, "a TensorFlow Lite model", kConvert},
    Signature{0, "lmgg"sv, "a GGML file from before GGUF", "convert the original model again"},
    Signature{0, "fmgg"sv, "a GGML file (GGMF) from before GGUF", "convert the original model again"},
    Signature{0, "tjgg"sv, "a GGML file (GGJT) from before GGUF", "convert the original model again"},
    Signature{0, "%PDF"sv, "a PDF document", "download the model again"},
};

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lower;
}

bool is_text(std::string_view start) {
  return std::ranges::all_of(start, [](char c) { return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t'; });
}

}  // namespace

std::optional<std::string> describe_foreign_text(std::string_view start) {
  if (start.starts_with("version https://git-lfs.github.com/spec/"))
    return "a Git LFS pointer, not the file that it stands for; fetch that with 'git lfs pull', or download it again";
  const std::size_t begin = start.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  if (begin == std::string_view::npos) return std::nullopt;
  const std::string head = lower_case(start.substr(begin, 64));
  for (const std::string_view tag : {"<!doctype", "<html", "<head", "<?xml", "<error", "<!--"})
    if (head.starts_with(tag)) return "a web page in place of the file, which servers send for a wrong address or without a login; download it again";
  return std::nullopt;
}

std::optional<std::string> describe_foreign_weights(std::string_view start) {
  constexpr std::size_t kLeastText = 12, kShown = 60;
  start = start.substr(0, kForeignStart);
  if (start.empty()) return "an empty file; download it again";
  if (auto text = describe_foreign_text(start)) return text;
  for (const Signature& signature : kSignatures)
    if (start.size() > signature.offset && start.substr(signature.offset).starts_with(signature.bytes))
      return fmt::format("{}; {}", signature.what, signature.advice);
  if (start.size() >= kLeastText && std::ranges::all_of(start, [](char c) { return c == 0; }))
    return "a file that begins with nothing but zeros, as a download that was cut off does; download it again";
  if (start.size() < kLeastText || !is_text(start)) return std::nullopt;
  return fmt::format("text in place of weights, perhaps a server's message; download the file again: {}", quote_name(start.substr(0, kShown)));
}

}  // namespace nibble
