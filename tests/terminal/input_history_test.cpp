// SPDX-License-Identifier: Apache-2.0
#include "terminal/input_history.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "base/scratch_directory.h"

namespace nibble {
namespace {

using Texts = std::vector<std::string>;

TEST(InputHistory, IsThereTheNextTime) {
  const ScratchDirectory scratch;
  const std::filesystem::path file = scratch / "state/nibble/chat_history";
  InputHistory first(file);
  first.add("one\ntwo \\n three");
  first.add("one\ntwo \\n three");  // not twice in a row
  first.add("");
  first.add("four");
  EXPECT_EQ(InputHistory(file).entries(), (Texts{"one\ntwo \\n three", "four"}));
  struct stat status{};
  ASSERT_EQ(stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST(InputHistory, WithoutAFileItIsInMemoryOnly) {
  InputHistory history;
  history.add("x");
  EXPECT_EQ(history.entries(), Texts{"x"});
}

TEST(InputHistory, AFileThatCannotBeUsedIsLeftAlone) {
  const ScratchDirectory scratch;
  std::filesystem::create_directory(scratch / "folder");
  InputHistory history(scratch / "folder");
  history.add("x");
  EXPECT_EQ(history.entries(), Texts{"x"});
  std::ofstream(scratch / "bytes") << "\xff\xfe\n";
  InputHistory of_bytes(scratch / "bytes");
  of_bytes.add("x");
  EXPECT_EQ(of_bytes.entries(), Texts{"x"});
  EXPECT_EQ(read_text(scratch / "bytes"), "\xff\xfe\n");
  std::ofstream(scratch / "long") << std::string(100'000, 'a') << "\nb\n";
  EXPECT_EQ(InputHistory(scratch / "long").entries(), Texts{"b"});
}

TEST(InputHistory, AFileThatHasGrownLongIsCut) {
  const ScratchDirectory scratch;
  {
    std::ofstream file(scratch / "history");
    for (int i = 0; i < 2500; ++i) file << i << '\n';
  }
  EXPECT_EQ(InputHistory(scratch / "history").entries().front(), "1500");
  EXPECT_EQ(InputHistory(scratch / "history").entries().size(), 1000U);
  EXPECT_TRUE(read_text(scratch / "history").starts_with("1500\n"));
}

TEST(InputHistory, FindsTheLatestFirst) {
  InputHistory history;
  for (const char* const text : {"alpha", "beta", "alphabet"}) history.add(text);
  EXPECT_EQ(history.find_before(3, "alpha"), 2U);
  EXPECT_EQ(history.find_before(2, "alpha"), 0U);
  EXPECT_EQ(history.find_before(0, "alpha"), std::nullopt);
  EXPECT_EQ(history.find_before(99, "gamma"), std::nullopt);
}

TEST(InputHistory, LiesWhereTheSystemKeepsState) {
  setenv("XDG_STATE_HOME", "/somewhere", 1);
  EXPECT_EQ(default_history_file("chat_history"), "/somewhere/nibble/chat_history");
  unsetenv("XDG_STATE_HOME");
  setenv("HOME", "/elsewhere", 1);
  EXPECT_EQ(default_history_file("chat_history"), "/elsewhere/.local/state/nibble/chat_history");
}

}  // namespace
}  // namespace nibble
