// SPDX-License-Identifier: Apache-2.0
//
// Parts of a quantization as a scheduler starts them.
#include "cli/command.h"

namespace nibble {
namespace {

TEST(PartsCommand, ByXargsThenAssembled) {
  const ScratchDirectory scratch;
  const std::string command = "quantize '" + kTale + "' -f q4_k";
  ASSERT_EQ(nibble_command(scratch, command + " -o one.gguf").code, 0);
  const std::string line = "cd '" + scratch.path().string() + "' && seq 1 4 | xargs -P 2 -I% '" NIBBLE_BINARY "' " +
                           command + " -o out.gguf --part %/4 >/dev/null";
  ASSERT_EQ(std::system(line.c_str()), 0);
  const CommandResult again = nibble_command(scratch, command + " -o out.gguf --part 2/4 --json");
  EXPECT_EQ(again.code, 0) << again.error;
  EXPECT_EQ(again.json()["part"], "2/4");
  EXPECT_EQ(again.json()["pieces"], again.json()["pieces_found"]);
  EXPECT_EQ(again.json()["directory"], "out.gguf.work");
  const CommandResult whole = nibble_command(scratch, command + " -o out.gguf --assemble");
  EXPECT_EQ(whole.code, 0) << whole.error;
  EXPECT_EQ(read_text(scratch / "out.gguf"), read_text(scratch / "one.gguf"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "out.gguf.work"));
}

TEST(PartsCommand, WrongUsesAreToldBeforeAnyWork) {
  const ScratchDirectory scratch;
  scratch.write("text.txt", "Some text.\n");
  const std::string command = "quantize '" + kTale + "' -o out.gguf ";
  struct Case {
    const char *options, *message;
    int code;
  };
  for (const Case& which : std::initializer_list<Case>{
           {"-f q4_k --part 9/8", "a part is which of how many", 2},
           {"-f q4_k --part 1/8 --assemble", "--part makes pieces, --assemble the output of them", 2},
           {"-f q4_k --part 1/8 --dry-run", "--part", 2},
           {"-f q4_k --part 1/8 --verify text.txt", "--verify", 2},
           {"-f q4_k --method gptq --text text.txt --part 1/8", "--part: a part does not know what text becomes", 2},
           {"-f q4_k --method gptq --part 1/8", "--text FILE, --stats FILE", 2},
           {"--bpw 4.5 --text text.txt --part 1/8", "--part goes with a format or a recipe", 2},
           {"-f q4_k --assemble", "there is nothing to assemble", 1}}) {
    const CommandResult result = nibble_command(scratch, command + which.options);
    EXPECT_EQ(result.code, which.code) << which.options;
    EXPECT_NE(result.error.find(which.message), std::string::npos) << which.options << ": " << result.error;
    EXPECT_FALSE(std::filesystem::exists(scratch / "out.gguf.work")) << which.options;
    EXPECT_FALSE(std::filesystem::exists(scratch / "out.gguf")) << which.options;
  }
}

}  // namespace
}  // namespace nibble
