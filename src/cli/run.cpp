// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>

#include "cli/interrupt.h"
#include "cli/verbs.h"
#include "model/generate.h"
#include "nibble/error.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, prompt, prompt_file;
  GenerateOptions generate;
  bool quiet = false;
};

const char* reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::end_token:
      return "end";
    case StopReason::stop_text:
      return "stop";
    case StopReason::max_tokens:
      return "length";
    case StopReason::context_full:
      return "context";
    case StopReason::caller:
      return "interrupted";
  }
  return "";
}

double rate(std::size_t tokens, double seconds) { return seconds > 0 ? static_cast<double>(tokens) / seconds : 0; }

void run(Options& options, Session& session) {
  if (options.prompt.empty() == options.prompt_file.empty())
    throw Error(ErrorKind::invalid_argument, "give a prompt: -p TEXT, or --prompt-file FILE ('-' for standard input)");
  const std::string prompt = options.prompt.empty() ? read_text(options.prompt_file) : options.prompt;
  session.pool();
  const auto start = std::chrono::steady_clock::now();
  const Checkpoint checkpoint = Checkpoint::open(options.model);
  session.note_unused_activations(options.model, checkpoint);
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
  Decoder decoder(checkpoint, {session.running_kernels(), session.kv(), session.progress()}, session.pool());
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!session.json() && !options.quiet) session.print(prompt);
  const Generated made = generate(decoder, tokenizer, tokenizer.encode(prompt), options.generate, [&](std::string_view piece) {
    if (!session.json()) session.print(piece);
    return !interrupted();
  });
  const double prefill = rate(made.prompt_tokens, made.prompt_seconds), decode = rate(made.decode_tokens, made.decode_seconds);
  if (session.json())
    return session.print_json({{"prompt", prompt},
                               {"text", made.text},
                               {"stop", reason_name(made.reason)},
                               {"prompt_tokens", made.prompt_tokens},
                               {"generated_tokens", made.tokens.size()},
                               {"load_seconds", load_seconds},
                               {"first_token_seconds", load_seconds + made.prompt_seconds},
                               {"prefill_tokens_per_second", prefill},
                               {"decode_tokens_per_second", decode}});
  session.print("\n");
  if (!options.quiet)
    session.note(fmt::format("loaded in {:.2f} s; {} prompt tokens at {} tok/s, {} new ones at {} tok/s ({})", load_seconds, made.prompt_tokens,
                             speed_text(prefill), made.tokens.size(), speed_text(decode), reason_name(made.reason)));
  if (made.reason == StopReason::caller) throw Error(ErrorKind::cancelled, "interrupted");
}

}  // namespace

void add_run(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  SamplerOptions& sampler = options->generate.sampler;
  CLI::App* const verb = app.add_subcommand("run", "Let a model continue a text");
  verb->footer(
      "Examples:\n  nibble run tale.gguf -p \"Once upon a time\"\n  nibble run tale.gguf -p \"Tom\" -n 200 --temperature 0.8 --seed 7\n"
      "  echo \"Once\" | nibble run tale.gguf --prompt-file -");
  verb->add_option("model", options->model, "Hugging Face directory or .gguf")->required();
  verb->add_option("-p,--prompt", options->prompt, "Text to continue");
  verb->add_option("--prompt-file", options->prompt_file, "File with the text to continue ('-': standard input)");
  verb->add_option("-n,--tokens", options->generate.max_tokens, "At most this many new tokens")->capture_default_str();
  verb->add_option("--temperature", sampler.temperature, "0: always the most probable token")->capture_default_str();
  verb->add_option("--top-k", sampler.top_k, "Choose among the k most probable (0: all)")->capture_default_str();
  verb->add_option("--top-p", sampler.top_p, "Choose among the fewest tokens that reach this probability")->capture_default_str();
  verb->add_option("--min-p", sampler.min_p, "Drop tokens below this share of the most probable")->capture_default_str();
  verb->add_option("--repetition-penalty", sampler.repetition_penalty, "Above 1: discourage tokens seen lately")->capture_default_str();
  verb->add_option("--seed", sampler.seed, "Seed of the random choice")->capture_default_str();
  verb->add_option("--stop", options->generate.stop, "Stop before this text (may be given several times)");
  verb->add_option("--context", options->generate.context, "Room for prompt and answer in tokens (default: what is needed)");
  verb->add_flag("--ignore-end", options->generate.ignore_end, "Go on past the end token");
  verb->add_flag("-q,--quiet", options->quiet, "Print the new text only");
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([options, &session] { run(*options, session); });
}

}  // namespace nibble::cli
