// SPDX-License-Identifier: Apache-2.0
//
// Training that is killed between two changes of its files, and taken up by the same command.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/traced_command.h"

namespace nibble {

// arguments: of a run whose output is what follows. Killed once in each of so many parts of its work.
inline void expect_same_bytes_where_killed(const ScratchDirectory& scratch, std::vector<std::string> arguments,
                                           std::uint64_t moments) {
  arguments.emplace_back("-o");
  const auto run = [&](const std::string& output, std::uint64_t kill_before) {
    std::vector<std::string> all = arguments;
    all.push_back(output);
    return run_traced(scratch.path(), NIBBLE_BINARY, all, {.kill_before = kill_before});
  };
  const TracedRun whole = run("whole", 0);
  ASSERT_TRUE(whole.started) << "the system does not let a process trace its child";
  ASSERT_EQ(whole.code, 0);
  std::mt19937_64 random(7);
  for (std::uint64_t moment = 0; moment < moments; ++moment) {
    const std::uint64_t part = whole.changes / moments, at = 1 + moment * part + random() % part;
    ASSERT_TRUE(run("out", at).killed) << at;
    EXPECT_EQ(run("out", 0).code, 0) << at;
    for (const char* const file : {"model.safetensors", "nibble_manifest.json"})
      EXPECT_TRUE(read_text(scratch / "out" / file) == read_text(scratch / "whole" / file))
          << "killed before change " << at << " of " << whole.changes;
    EXPECT_FALSE(std::filesystem::exists(scratch / "out.training"));
    std::filesystem::remove_all(scratch / "out");
  }
}

}  // namespace nibble
