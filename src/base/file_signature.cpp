// SPDX-License-Identifier: Apache-2.0
#include "base/file_signature.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/letter_case.h"

namespace nibble {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kUnpack = "; unpack it first";
constexpr std::string_view kConvert = "; convert the model to safetensors or GGUF first";
constexpr std::string_view kConvertAgain = "; convert the original model again";
constexpr std::string_view kSave = "; save the weights as safetensors first";
constexpr std::string_view kPyTorch =
    ", as PyTorch's .bin, .pt and .pth files are; save the weights as safetensors first";
constexpr std::string_view kOldPyTorch =
    ", as PyTorch's older .bin and .pt files are; save the weights as safetensors first";
constexpr std::string_view kKeras = ", as Keras and TensorFlow write; convert the model to safetensors or GGUF first";
constexpr std::string_view kDownload = "; download the model again";
constexpr std::string_view kWriteText = "; write its text to a text file";
constexpr std::string_view kGiveText = "; give a file of text";
constexpr std::string_view kRecode = "; convert it to UTF-8";

// The longer of two that begin alike stands first. What is all letters is no sign of anything where text is wanted.
// clang-format off
constexpr std::array kSignatures = {
    FileSignature{0, "PK\x03\x04"sv, "a ZIP archive", kUnpack, kPyTorch},
    FileSignature{0, "PK\x05\x06"sv, "an empty ZIP archive", kGiveText, kUnpack},
    FileSignature{0, "\x80\x02"sv, "a Python pickle", kGiveText, kOldPyTorch},
    FileSignature{0, "\x80\x03"sv, "a Python pickle", kGiveText, kSave},
    FileSignature{0, "\x80\x04"sv, "a Python pickle", kGiveText, kSave},
    FileSignature{0, "\x80\x05"sv, "a Python pickle", kGiveText, kSave},
    FileSignature{0, "\x1f\x8b"sv, "a gzip archive", kUnpack, kUnpack},
    FileSignature{0, "\x28\xb5\x2f\xfd"sv, "a Zstandard archive", kUnpack, kUnpack},
    FileSignature{0, "\xfd" "7zXZ\x00"sv, "an xz archive", kUnpack, kUnpack},
    FileSignature{0, "BZh"sv, "a bzip2 archive", kUnpack, kUnpack},
    FileSignature{0, "7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive", kUnpack, kUnpack},
    FileSignature{0, "Rar!"sv, "a RAR archive", {}, kUnpack},
    FileSignature{257, "ustar"sv, "a tar archive", kUnpack, kUnpack},
    FileSignature{0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file", kWriteText, kKeras},
    FileSignature{0, "\x93NUMPY"sv, "a NumPy array", kWriteText, kConvert},
    FileSignature{4, "TFL3"sv, "a TensorFlow Lite model", {}, kConvert},
    FileSignature{0, "lmgg"sv, "a GGML file from before GGUF", {}, kConvertAgain},
    FileSignature{0, "fmgg"sv, "a GGML file (GGMF) from before GGUF", {}, kConvertAgain},
    FileSignature{0, "tjgg"sv, "a GGML file (GGJT) from before GGUF", {}, kConvertAgain},
    FileSignature{0, "GGUF"sv, "a GGUF file, which holds weights", kGiveText, {}},
    FileSignature{0, "%PDF"sv, "a PDF document", "; extract its text first", kDownload},
    FileSignature{0, "PAR1"sv, "a Parquet file", "; write its text column to a text file", kDownload},
    FileSignature{0, "ARROW1"sv, "an Arrow file", "; write its text column to a text file", kDownload},
    FileSignature{0, "SQLite format 3"sv, "an SQLite database", kWriteText, kDownload},
    FileSignature{0, "\x7f" "ELF"sv, "a program", kGiveText, kDownload},
    FileSignature{0, "\xff\xfe\x00\x00"sv, "UTF-32 text", kRecode, {}},
    FileSignature{0, "\x00\x00\xfe\xff"sv, "UTF-32 text", kRecode, {}},
    FileSignature{0, "\xff\xfe"sv, "UTF-16 text", kRecode, {}},
    FileSignature{0, "\xfe\xff"sv, "UTF-16 text", kRecode, {}},
};
// clang-format on

}  // namespace

const FileSignature* find_signature(std::string_view start) noexcept {
  const auto found = std::ranges::find_if(kSignatures, [start](const FileSignature& signature) {
    return start.size() > signature.offset && start.substr(signature.offset).starts_with(signature.bytes);
  });
  return found != kSignatures.end() ? &*found : nullptr;
}

bool has_safetensors_start(std::string_view start) noexcept {
  return start.size() > 8 && start.substr(4, 5) == "\0\0\0\0{"sv;
}

bool is_lfs_pointer(std::string_view start) noexcept {
  return start.starts_with("version https://git-lfs.github.com/spec/");
}

bool is_web_page(std::string_view start) {
  const std::string head = lower_case(start.substr(0, 64));
  return head.starts_with("<!doctype html") || head.starts_with("<html");
}

}  // namespace nibble
