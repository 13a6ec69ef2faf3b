// SPDX-License-Identifier: Apache-2.0
//
// Chats as a person has them. The bundled model was not taught to talk: what it says is not looked at.
#include <fstream>

#include "command.h"
#include "terminal_command.h"

namespace nibble {
namespace {

class ChatOnATerminal : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(scratch / "lines.jinja") << "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                                              "{% if add_generation_prompt %}assistant:{% endif %}";
  }
  std::vector<std::string> chat(std::vector<std::string> further) {
    std::vector<std::string> words = {"chat", kTale, "--template", "lines.jinja", "-t", "1", "--temperature", "0"};
    words.insert(words.end(), further.begin(), further.end());
    return words;
  }
  ScratchDirectory scratch;
};

TEST_F(ChatOnATerminal, MessagesAreAnsweredTakenBackSavedAndLoaded) {
  std::ofstream(scratch / "notes.txt") << "my notes";
  TerminalCommand command(scratch, chat({"-n", "8", "--system", "Short."}));
  ASSERT_TRUE(command.works());
  command.expect("/? for help");
  command.expect(">>> ");
  command.type("Once upon a time\r");
  command.expect("ends after 8 tokens");
  command.type("/stats\r");
  command.expect("all 1 answers");
  command.type("/save notes.txt\r");
  command.expect("exists and holds no conversation");
  command.type("/save talk.json\r");
  command.expect("3 messages in talk.json");
  command.type("/regen\r");
  command.expect("ends after 8 tokens");
  command.type("/undo\r");
  command.expect("taken back");
  command.type("/undo\r");
  command.expect("no message to take back");
  command.type("/load talk.json\r");
  command.expect("3 messages");
  command.type("/set system\r");
  command.expect("no system message");
  command.type("/show messages\r");
  command.expect("[user] Once upon a time");
  command.type("/nonsense\r");
  command.expect("there is no command /nonsense");
  command.type("\"\"\"one\rtwo\"\"\"\r");
  command.expect("ends after 8 tokens");
  command.type("/show messages\r");
  command.expect("[user] one\r\ntwo");
  command.type("/bye\r");
  EXPECT_EQ(command.wait(), 0);
  EXPECT_EQ(read_text(scratch / "notes.txt"), "my notes");
  EXPECT_NE(read_text(scratch / "nibble/chat_history").find("Once upon a time\n"), std::string::npos);
}

TEST_F(ChatOnATerminal, NothingIsLeftOutUnasked) {
  TerminalCommand command(scratch, chat({"-n", "8", "--context", "100"}));
  ASSERT_TRUE(command.works());
  const std::string message = "Tom had a big red ball and a small dog and they went to the park to play with it";
  int asked = 0;
  for (int i = 0; i < 5; ++i) {
    command.expect(">>> ");
    command.type(message + " " + std::to_string(i) + "\r");
    if (!command.expect_either("[Y/n] ", "ends after 8 tokens")) continue;
    ++asked;
    command.type("\r");
    command.expect("ends after 8 tokens");
  }
  EXPECT_GE(asked, 2);
  for (int i = 0; i < 5; ++i) {
    command.expect(">>> ");
    command.type("/undo\r");
    command.expect("taken back");
  }
  command.type("/undo\r");
  command.expect("there is no message to take back");
  command.type("Hi\r");
  command.expect("ends after 8 tokens");
  command.expect(">>> ");
  command.type("\x04");
  EXPECT_EQ(command.wait(), 0);
}

TEST_F(ChatOnATerminal, AnInterruptStopsTheAnswerAndNotTheChat) {
  TerminalCommand command(scratch, chat({"-n", "400", "--context", "500"}));
  ASSERT_TRUE(command.works());
  command.expect(">>> ");
  command.type("typed");
  command.expect("typed");
  command.interrupt();  // when there is nothing to stop
  command.expect(">>> ");
  command.expect("typed");  // stays
  bool stopped = false;
  for (int i = 0; i < 20 && !stopped; ++i) {  // an answer may be faster than the signal
    command.type("\x15Once upon a time\r");
    command.expect("time\r");
    command.interrupt();
    stopped = command.expect_either("stopped", "ends ");
    command.expect(">>> ");
  }
  EXPECT_TRUE(stopped);
  command.type("/bye\r");
  EXPECT_EQ(command.wait(), 0);
}

}  // namespace
}  // namespace nibble
