// SPDX-License-Identifier: Apache-2.0
//
// Runs the command as a user would, through a shell.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "base/scratch_directory.h"

namespace nibble {

struct CommandResult {
  int code = -1;
  std::string out, error;
  nlohmann::json json() const { return nlohmann::json::parse(out, nullptr, false); }
};

// `arguments` as in a shell, in the scratch directory.
inline CommandResult nibble_command(const ScratchDirectory& scratch, const std::string& arguments,
                                    const std::string& environment = "") {
  const std::string line = "cd '" + scratch.path().string() + "' && " + environment + " '" NIBBLE_BINARY "' " +
                           arguments + " >stdout.txt 2>stderr.txt </dev/null";
  const int status = std::system(line.c_str());
  CommandResult result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.out = read_text(scratch / "stdout.txt");
  result.error = read_text(scratch / "stderr.txt");
  std::filesystem::remove(scratch / "stdout.txt");
  std::filesystem::remove(scratch / "stderr.txt");
  return result;
}

inline const std::string kGrouped = NIBBLE_SOURCE_DIR "/tests/data/tiny_gqa_llama3rope";
inline const std::string kTale = NIBBLE_SOURCE_DIR "/tests/data/tale-4M";  // has a tokenizer
inline const std::string kTied = NIBBLE_SOURCE_DIR "/tests/data/tiny_tied";

}  // namespace nibble
