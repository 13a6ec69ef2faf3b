// SPDX-License-Identifier: Apache-2.0
//
// The files that make up a tokenizer: their names, and who reads which. Pure functions, safe from many threads.
//
//   TokenizerParts parts = read_directory({path, [&](const std::string& name) { return read(path / name); }});
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "model/tokenizer/parts.h"

namespace nibble::tokenizing {

// Files of directories. One of a foreign tokenizer is read in no way here, but told, so that nobody misses a tokenizer
// later.
enum class FileRole { vocabulary, foreign, settings };
struct NamedFile {
  const char* name;
  FileRole role;
};
std::span<const NamedFile> named_files();

// Where they lie and how they are read.
struct TokenizerFiles {
  std::filesystem::path directory;
  std::function<std::optional<std::string>(const std::string& name)> read;  // a file in it; nullopt: absent
};

// The best vocabulary that is there, with the files beside it.
TokenizerParts read_directory(const TokenizerFiles& files);
// A vocabulary in one file, by its content: tokenizer.json or tekken.json where it is JSON, else a SentencePiece model
// or tiktoken's ranks. `source` names the file in messages.
TokenizerParts read_vocabulary(std::string_view text, bool is_json, const SideFiles& sides, const std::string& source);

}  // namespace nibble::tokenizing
