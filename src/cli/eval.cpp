// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/verbs.h"
#include "evaluate/divergence.h"
#include "model/tokenizer/tokenizer.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, against, text, protocol = "llama.cpp";
  std::size_t context = 0, windows = 0;
};

std::string describe(const char* label, const Perplexity& p) {
  return fmt::format("{:<12} {:.4f} +/- {:.4f}\n", label, p.perplexity, p.standard_error);
}

std::string protocol_line(const Perplexity& p) {
  return fmt::format("protocol     {}: {} windows of {} tokens, {} tokens scored\n", protocol_name(p.protocol), p.windows, p.context,
                     p.tokens_scored);
}

std::string describe(const Divergence& d) {
  return protocol_line(d.candidate) + describe("perplexity", d.candidate) + describe("original", d.original) +
         fmt::format("ratio        {:.5f} +/- {:.5f} ({})\n", d.perplexity_ratio, d.perplexity_ratio_standard_error,
                     signed_percent_text(d.perplexity_ratio - 1)) +
         fmt::format("KL mean      {} +/- {} nats\n", significant_text(d.kl_mean, 4), significant_text(d.kl_standard_error, 2)) +
         fmt::format("KL 99.9 %    {}\n", significant_text(d.kl_p999, 4)) + fmt::format("same top-1   {}\n", percent_text(d.top1_agreement, 2));
}

void evaluate(const Options& options, Session& session) {
  const WindowOptions window_options{parse_protocol(options.protocol), options.context, options.windows};
  const std::string text = read_text(options.text);
  const Checkpoint checkpoint = Checkpoint::open(options.model);
  std::optional<Checkpoint> original;
  if (!options.against.empty()) original = Checkpoint::open(options.against);
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
  if (original) require_same_tokens(Tokenizer::from_checkpoint(*original), tokenizer, text);
  const std::vector<std::int32_t> ids = tokenizer.encode(text);

  const DecoderOptions decoder_options{session.kernels(), session.kv(), session.progress()};
  const EvaluateOptions evaluate_options{session.progress()};
  Decoder decoder(checkpoint, decoder_options, session.pool());
  if (!original) {
    const Windows windows = cut_windows(ids, bos_of(tokenizer), decoder.config().context, window_options);
    const Perplexity p = measure_perplexity(decoder, windows, evaluate_options, session.pool());
    return session.json() ? session.print_json(to_json(p)) : session.print(protocol_line(p) + describe("perplexity", p));
  }
  Decoder reference(*original, decoder_options, session.pool());
  const std::size_t context = std::min(decoder.config().context, reference.config().context);
  const Windows windows = cut_windows(ids, bos_of(tokenizer), context, window_options);
  const Divergence d = measure_divergence(reference, decoder, windows, evaluate_options, session.pool());
  session.json() ? session.print_json(to_json(d)) : session.print(describe(d));
}

}  // namespace

void add_eval(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand("eval", "Perplexity of a model on a text, and what quantization changed");
  verb->footer(
      "Examples:\n  nibble eval models/tale-4M --text models/tale-4M/heldout.txt\n"
      "  nibble eval tale.gguf --against models/tale-4M --text models/tale-4M/heldout.txt\n"
      "  nibble eval tale.gguf --text wiki.txt --protocol paper --context 2048 --json\n\n"
      "Protocols: llama.cpp (windows of 512, the second half scored), paper (windows of 2048, every token but the first scored).");
  verb->add_option("model", options->model, "Model to judge: Hugging Face directory or .gguf")->required();
  verb->add_option("--text", options->text, "Text file ('-': standard input)")->required();
  verb->add_option("--against", options->against, "The original: adds KL divergence, top-1 agreement, perplexity ratio, in one pass");
  verb->add_option("--protocol", options->protocol, "llama.cpp or paper")->capture_default_str();
  verb->add_option("--context", options->context, "Tokens in a window (default: the protocol's)");
  verb->add_option("--windows", options->windows, "Use only the first N windows");
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([options, &session] { evaluate(*options, session); });
}

}  // namespace nibble::cli
