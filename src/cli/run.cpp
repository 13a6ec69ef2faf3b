// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/elapsed.h"
#include "cli/chat/chat_options.h"
#include "cli/chat/loaded_chat.h"
#include "cli/interrupt.h"
#include "cli/net_command.h"
#include "cli/option_checks.h"
#include "cli/sampling_options.h"
#include "cli/verbs.h"
#include "engine/generate.h"
#include "nibble/error.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, prompt, prompt_file;
  GenerateOptions generate;
  ChatOptions chat;
  bool quiet = false, plain = false, answers = false;
  NetArguments net;
  std::vector<std::string> inputs;  // of a net
  bool by_reference = false;        // a net
  std::string output;
};

void judge_options(const CLI::App& verb, const Options& options) {
  if (verb.count("--prompt") != 0 && verb.count("--prompt-file") != 0)
    throw Error(ErrorKind::invalid_argument, "-p and --prompt-file both give a prompt; leave out one of the two");
  refuse_without_effect(verb, "--force-text", !options.prompt_file.empty(), "without a file (--prompt-file)");
  if (verb.count("--prompt") + verb.count("--prompt-file") != 1)
    throw Error(ErrorKind::invalid_argument, "give a prompt: -p TEXT, or --prompt-file FILE ('-' for standard input)");
  refuse_without_effect(verb, "--quiet", verb.count("--json") == 0, "beside --json");
  judge_sampling(verb, options.generate);
  for (const char* const option : {"--system", "--tools", "--template", "--template-option", "--no-think"})
    refuse_without_effect(verb, option, options.answers, "without --chat");
  for (const char* const option : {"--no-special", "--ignore-end"})
    refuse_without_effect(verb, option, !options.answers, "beside --chat");
}

// Why a model that was taught to answer in turns did not do what was expected of it; empty: nothing to say.
std::string advice_for(const Tokenizer& tokenizer, std::size_t special, const Generated& made) {
  std::string text;
  if (made.tokens.empty() && made.reason == StopReason::end_token)
    text = "the model's first choice was its end token, so there is no answer; --ignore-end goes on past it";
  if (made.tokens.empty() && made.reason == StopReason::max_tokens) text = "no tokens were asked for (-n 0)";
  if (tokenizer.chat_template().empty() || special > 0) return text;
  text += text.empty() ? "" : "; ";
  return text + "this model was taught to answer in turns, and the prompt is plain text; --chat makes a message of it";
}

void answer(Options& options, const std::string& prompt, Session& session) {
  OneAnswer asked{begin_conversation(options.chat), options.generate, options.quiet};
  asked.conversation.messages.push_back({{"role", "user"}, {"content", prompt}});
  LoadedChat loaded(options.model, options.chat, session);
  answer_once(loaded, asked, session);
}

void run_net(const CLI::App& verb, const Options& options, Session& session) {
  for (const CLI::Option* const option : verb.get_options()) {
    const std::string name = option->get_name();
    constexpr std::array kOfNets = {"model",    "--shape", "--constant", "--simplify", "--input",
                                    "--output", "--json",  "--threads",  "--help",     "--reference"};
    if (std::ranges::find(kOfNets, name) == kOfNets.end()) refuse_without_effect(verb, name, false, "of nets");
  }
  if (options.inputs.empty()) throw Error(ErrorKind::invalid_argument, "give the net's inputs: --input x.npy");
  run_net_files(options.model, net_options(options.net), options.inputs,
                options.by_reference ? NetArithmetic::reference : NetArithmetic::compiled, options.output, session);
}

void run(const CLI::App& verb, Options& options, Session& session) {
  if (is_net(options.model)) return run_net(verb, options, session);
  refuse_net_options(verb);
  for (const char* const option : {"--input", "--output"})
    refuse_without_effect(verb, option, false, "of models other than nets (.onnx, .tflite)");
  judge_options(verb, options);
  session.running_kernels();
  const std::string prompt = options.prompt_file.empty() ? options.prompt : session.read_corpus(options.prompt_file);
  session.machine();
  if (options.answers) return answer(options, prompt, session);
  const auto start = std::chrono::steady_clock::now();
  const SourceModel checkpoint = SourceModel::open(options.model);
  const Tokenizer& tokenizer = checkpoint.tokenizer();
  Decoder decoder(checkpoint, {session.running_kernels(), session.kv(), session.progress()}, session.machine());
  const double load_seconds = seconds_since(start);
  session.note_reading(checkpoint);
  session.note_unused_activations(options.model, checkpoint);
  const std::vector<std::int32_t> ids = tokenizer.encode(prompt, {.parse_special = !options.plain});
  const std::size_t special = options.plain ? 0 : tokenizer.count_special(prompt);
  bool prompted =
      session.json() || options.quiet;  // the prompt is shown with the first text: not before all of it is known to fit
  const auto show = [&](std::string_view piece) {
    if (!std::exchange(prompted, true)) session.print(prompt);
    if (!session.json()) session.print(piece);
    return !interrupted();
  };
  const Generated made = generate(decoder, tokenizer, ids, options.generate, show);
  show({});
  const double prefill = token_rate(made.prompt_tokens, made.prompt_seconds),
               decode = token_rate(made.decode_tokens, made.decode_seconds);
  if (made.reason == StopReason::caller) session.set_exit_code(130);
  if (session.json())
    return session.print_json({{"prompt", prompt},
                               {"text", made.text},
                               {"stop", stop_reason_name(made.reason)},
                               {"prompt_tokens", made.prompt_tokens},
                               {"special_tokens", special},
                               {"generated_tokens", made.tokens.size()},
                               {"load_seconds", load_seconds},
                               {"first_token_seconds", load_seconds + made.prompt_seconds},
                               {"prefill_tokens_per_second", prefill},
                               {"decode_tokens_per_second", decode}});
  session.print("\n");
  const auto pace = [](double tokens_per_second) {
    return tokens_per_second > 0 ? fmt::format(" at {} tok/s", speed_text(tokens_per_second)) : "";
  };
  if (!options.quiet)
    session.note(fmt::format("loaded in {:.2f} s; {} prompt tokens{}{}, {} new ones{} ({})", load_seconds,
                             made.prompt_tokens, special == 0 ? "" : fmt::format(" ({} special)", special),
                             pace(prefill), made.tokens.size(), pace(decode), stop_reason_name(made.reason)));
  if (!options.quiet)
    if (const std::string advice =
            advice_for(tokenizer, options.plain ? tokenizer.count_special(prompt) : special, made);
        !advice.empty())
      session.note("note: " + advice);
  if (made.reason == StopReason::caller) throw Error(ErrorKind::cancelled, "interrupted");
}

}  // namespace

void add_run(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand("run", "Let a model continue a text");
  verb->footer(
      "Examples:\n  nibble run fable.gguf -p \"Once upon a time\"\n  nibble run fable.gguf -p \"Tom\" -n 200 "
      "--temperature 0.8 --seed 7\n"
      "  echo \"Once\" | nibble run fable.gguf --prompt-file -\n"
      "  nibble run mnist.onnx --input digit.npy -o logits.npy\n"
      "  nibble run small.gguf --chat -p \"Why is the sky blue?\" -n 200 --json");
  verb->add_option("model", options->model, "Hugging Face directory or .gguf; or a net (.onnx, .tflite)")->required();
  verb->add_option("-p,--prompt", options->prompt,
                   "Text to continue; the text of control tokens (<|im_start|>) is taken for these tokens");
  verb->add_flag("--chat", options->answers,
                 "The prompt is a message in a conversation, by the model's chat template; prints the answer");
  add_chat_options(*verb, options->chat);
  verb->add_flag("--no-special", options->plain, "Take the text of control tokens for plain text");
  verb->add_option("--prompt-file", options->prompt_file, "File with the text to continue ('-': standard input)");
  session.add_force_text(*verb);
  verb->add_option("-n,--tokens", options->generate.max_tokens, "At most this many new tokens")
      ->check(count_within(0, std::uint64_t{1} << 31))
      ->capture_default_str();
  add_sampling(*verb, options->generate);
  verb->add_option("--context", options->generate.context,
                   "Room for prompt and answer in tokens (default: what is needed)")
      ->check(count_within(1, std::uint64_t{1} << 31));
  verb->add_flag("--ignore-end", options->generate.ignore_end, "Go on past the end token");
  verb->add_flag("-q,--quiet", options->quiet, "Print the new text only");
  verb->add_option("--input", options->inputs, "Of a net: an input, FILE.npy, NAME=FILE.npy or FILE.npz")
      ->allow_extra_args(false);
  verb->add_option("-o,--output", options->output, "Of a net: where its outputs are written, .npz or (of one) .npy");
  verb->add_flag("--reference", options->by_reference,
                 "Of a net: by the reference arithmetic, sums in f64, operation by operation");
  add_net_options(*verb, options->net);
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([options, verb, &session] { run(*verb, *options, session); });
}

}  // namespace nibble::cli
