// SPDX-License-Identifier: Apache-2.0
//
// The bundled model was not taught to talk: a template makes lines of a conversation. What is tested is what becomes of
// messages, not what the model says to them.
#include <cstdio>
#include <fstream>

#include "cli/chat/chat_command.h"
#include "command.h"

namespace nibble {
namespace {

using cli::ChatAction;

class Chat : public testing::Test {
 protected:
  void SetUp() override {
    write("lines.jinja",
          "{% if messages[0].content == 'forbidden' %}{{ raise_exception('no such question') }}{% endif %}"
          "{{ bos_token if add_generation_prompt }}"
          "{% for m in messages %}{{ m.role }}{{ mark | default(':') }} {{ m.content }}\n{% endfor %}"
          "{% if add_generation_prompt %}assistant:{% endif %}");
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(scratch / name) << text; }
  CommandResult run(const std::string& arguments) {
    return nibble_command(scratch, arguments + " --template lines.jinja -t 1");
  }
  ScratchDirectory scratch;
};

TEST_F(Chat, RunAnswersAMessage) {
  const auto told = run("run " + kTale + " --chat -p Once -n 8 --json --system Short.").json();
  const std::string prompt = told["prompt"];
  EXPECT_TRUE(prompt.ends_with(">system: Short.\nuser: Once\nassistant:")) << prompt;  // behind a begin token
  EXPECT_EQ(told["generated_tokens"], 8);
  EXPECT_EQ(told["stop"], "length");
  const CommandResult plain = run("run " + kTale + " --chat -p Once -n 8 -q --system Short.");
  EXPECT_EQ(plain.code, 0);
  EXPECT_EQ(plain.out, told["text"].get<std::string>() + "\n");
  // As the rendered text goes on.
  const auto same =
      nibble_command(scratch, "run " + kTale + " -t 1 -n 8 --json -p 'system: Short.\nuser: Once\nassistant:'");
  EXPECT_EQ(same.json()["text"], told["text"]);
}

TEST_F(Chat, TheVerbAnswersOnceWithoutATerminal) {
  const std::string arguments = " chat " + kTale + " --template lines.jinja -t 1 -n 8 --temperature 0";
  const CommandResult by_option = nibble_command(scratch, arguments + " -p Once");
  EXPECT_EQ(by_option.code, 0) << by_option.error;
  EXPECT_EQ(by_option.error,
            "nibble: note: the answer was cut after 8 tokens; --tokens and --context give more room\n");
  EXPECT_GT(by_option.out.size(), 4U);
  FILE* const pipe =
      popen(("cd '" + scratch.path().string() + "' && echo Once | '" NIBBLE_BINARY "'" + arguments).c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string piped;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) piped += static_cast<char>(c);
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(piped, by_option.out);
}

TEST_F(Chat, TheTemplateIsToldWhatItAsksFor) {
  const std::string prompt =
      run("run " + kTale + " --chat -p Hi -n 1 --json --template-option mark=!").json()["prompt"];
  EXPECT_TRUE(prompt.ends_with("user! Hi\nassistant:")) << prompt;
  const CommandResult bad = run("run " + kTale + " --chat -p Hi --template-option mark");
  EXPECT_EQ(bad.code, 2);
  EXPECT_NE(bad.error.find("KEY=VALUE"), std::string::npos) << bad.error;
}

TEST_F(Chat, ComplaintsOfTemplatesAreShown) {
  const CommandResult refused = run("run " + kTale + " --chat -p forbidden");
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.error.find("no such question"), std::string::npos) << refused.error;
  const CommandResult missing = nibble_command(scratch, "chat " + kTale + " -p Hi");
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.error.find("has no chat template"), std::string::npos) << missing.error;
  EXPECT_NE(missing.error.find("--template FILE"), std::string::npos) << missing.error;
  const CommandResult idle = nibble_command(scratch, "run " + kTale + " -p Hi --system x");
  EXPECT_EQ(idle.code, 2);
  EXPECT_NE(idle.error.find("without --chat"), std::string::npos) << idle.error;
}

TEST_F(Chat, ConversationsAreTexts) {
  std::string lines;
  for (int i = 0; i < 40; ++i)
    lines += "{\"messages\": [{\"role\": \"user\", \"content\": \"Tell me of Tom and his " + std::to_string(i) +
             " dogs.\"}, {\"role\": \"assistant\", \"content\": \"Once upon a time Tom had dogs. They were big.\"}]}\n";
  write("chats.jsonl", lines);
  std::string same;
  for (int i = 0; i < 40; ++i)
    same += "user: Tell me of Tom and his " + std::to_string(i) +
            " dogs.\nassistant: Once upon a time Tom had dogs. They were big.\n";
  write("same.txt", same);
  const auto read = run("eval " + kTale + " --chat chats.jsonl --context 128 --json").json();
  const auto plain = nibble_command(scratch, "eval " + kTale + " --text same.txt --context 128 --json -t 1").json();
  ASSERT_TRUE(read["perplexity"].is_number()) << read.dump();
  EXPECT_EQ(read["perplexity"], plain["perplexity"]);
  const CommandResult calibrated =
      run("calibrate " + kTale + " --chat chats.jsonl -o s.safetensors --samples 2 --length 64");
  EXPECT_EQ(calibrated.code, 0) << calibrated.error;
  EXPECT_NE(calibrated.error.find("40 conversations"), std::string::npos) << calibrated.error;
  write("bad.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"forbidden\"}]}\n");
  const CommandResult refused = run("calibrate " + kTale + " --chat bad.jsonl -o t.safetensors");
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.error.find("bad.jsonl: conversation 1"), std::string::npos) << refused.error;
  EXPECT_FALSE(std::filesystem::exists(scratch / "t.safetensors"));
}

TEST(ChatCommand, IsAWordBehindASlash) {
  EXPECT_TRUE(cli::is_chat_command("/clear"));
  EXPECT_TRUE(cli::is_chat_command("/nonsense x"));
  EXPECT_TRUE(cli::is_chat_command("/?"));
  EXPECT_FALSE(cli::is_chat_command("/etc/passwd is a file"));
  EXPECT_FALSE(cli::is_chat_command("/clear\nand more"));
  EXPECT_FALSE(cli::is_chat_command("1/2"));
  EXPECT_FALSE(cli::is_chat_command("/"));
  EXPECT_EQ(cli::parse_chat_command("/new").action, ChatAction::clear);
  EXPECT_TRUE(cli::is_chat_command("/Clear"));
  EXPECT_EQ(cli::parse_chat_command("/Clear").action, ChatAction::clear);
  EXPECT_EQ(cli::parse_chat_command("/exit").action, ChatAction::leave);
  EXPECT_EQ(cli::parse_chat_command("/bye now").argument, "now");
  EXPECT_EQ(cli::parse_chat_command("/nonsense").action, ChatAction::unknown);
}

TEST(ChatCommand, MessagesMayHaveSeveralLines) {
  EXPECT_TRUE(cli::is_open_message("\"\"\"one"));
  EXPECT_TRUE(cli::is_open_message("\"\"\""));
  EXPECT_FALSE(cli::is_open_message("\"\"\"one\ntwo\"\"\""));
  EXPECT_FALSE(cli::is_open_message("one"));
  EXPECT_EQ(cli::message_text("\"\"\"one\ntwo\"\"\""), "one\ntwo");
  EXPECT_EQ(cli::message_text("  one "), "one");
}

TEST(ChatCommand, IsCompleted) {
  EXPECT_EQ(cli::complete_chat_command("/cl"), std::vector<std::string>{"/clear"});
  EXPECT_EQ(cli::complete_chat_command("/s").size(), 4U);  // save, set, show, stats
  EXPECT_TRUE(cli::complete_chat_command("hello").empty());
  const ScratchDirectory scratch;
  std::ofstream(scratch / "talk.json") << "x";
  const std::string begun = "/load " + (scratch / "ta").string();
  EXPECT_EQ(cli::complete_chat_command(begun), std::vector<std::string>{"/load " + (scratch / "talk.json").string()});
}

}  // namespace
}  // namespace nibble
